"""Covers local/gateway/connections.py, with unmodified boto3 clients."""

import asyncio
import urllib.parse
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from support.gateways import OK, PATIENCE, Event, Rig, closing, eventually, serving
from types_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient

from local.gateway import connections
from local.gateway.connections import (
    FORBIDDEN,
    GONE,
    INTERNAL,
    LIMIT_EXCEEDED,
    PAYLOAD_TOO_LARGE,
    ApiError,
)
from local.gateway.http_connection import HttpRequest
from local.invocation import Result

ONCE = Config(retries={"total_max_attempts": 1})


async def post(client: ApiGatewayManagementApiClient, connection_id: str, data: bytes) -> None:
    await asyncio.to_thread(client.post_to_connection, ConnectionId=connection_id, Data=data)


async def refusal(client: ApiGatewayManagementApiClient, rig: Rig, data: bytes = b"x") -> str:
    """Post, expect to be refused, and return the error's code."""
    with pytest.raises(ClientError) as caught:
        await post(client, rig.connection_id(), data)
    return str(caught.value.response["Error"]["Code"])


def test_boto3_posts_to_a_connection() -> None:
    """An unmodified client with its default settings reaches the WebSocket, text unchanged."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws:
            client = rig.boto3()
            for text in ("hello", "é 漢字 \U0001f600", "", "x" * 32 * 1024):
                await post(client, rig.connection_id(), text.encode())
                assert await ws.recv() == text
            client.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("stage", ["", "/local", "/prod", "/prod/"])
def test_the_path_may_start_with_any_stage_or_none(stage: str) -> None:
    """The stage is a part of the endpoint URL of the client."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws:
            client = rig.boto3(stage)
            await post(client, rig.connection_id(), b"hello")
            assert await ws.recv() == "hello"
            client.close()

    asyncio.run(scenario())


def test_boto3_describes_a_connection() -> None:
    """GetConnection returns when it was opened, when it was last active, and its identity."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect(user_agent_header="a user agent") as ws:
            client = rig.boto3()
            rig.gateway._sockets[rig.connection_id()].active -= 1  # a second ago
            before = await asyncio.to_thread(
                client.get_connection, ConnectionId=rig.connection_id()
            )
            await ws.send("hi")
            await eventually(lambda: len(rig.of("MESSAGE")) == 1)
            after = await asyncio.to_thread(client.get_connection, ConnectionId=rig.connection_id())
            client.close()

            connected = rig.of("CONNECT")[0]["requestContext"]["connectedAt"]
            assert int(after["ConnectedAt"].timestamp() * 1000) == connected
            assert after["Identity"] == {"SourceIp": "127.0.0.1", "UserAgent": "a user agent"}
            assert after["LastActiveAt"] > before["LastActiveAt"]
            assert datetime.now(UTC) - after["LastActiveAt"] < timedelta(seconds=PATIENCE)

    asyncio.run(scenario())


def test_boto3_deletes_a_connection() -> None:
    """DeleteConnection closes the WebSocket; from then on it is gone."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws:
            client = rig.boto3()
            await asyncio.to_thread(client.delete_connection, ConnectionId=rig.connection_id())

            assert (await closing(ws))[0] == 1000
            assert (await rig.disconnected())["disconnectStatusCode"] == 1000
            with pytest.raises(client.exceptions.GoneException):
                await asyncio.to_thread(client.delete_connection, ConnectionId=rig.connection_id())
            client.close()

    asyncio.run(scenario())


def test_a_gone_connection_is_gone() -> None:
    """Post and get raise boto3's own GoneException, for closed and for unknown connections."""

    async def scenario() -> None:
        async with serving() as rig:
            async with rig.connect():
                pass
            await rig.disconnected()
            client = rig.boto3()
            for connection_id in (rig.connection_id(), "L0SM9cOFvHcCIhw=", "no/such", "é"):
                with pytest.raises(client.exceptions.GoneException) as caught:
                    await post(client, connection_id, b"x")
                metadata = caught.value.response["ResponseMetadata"]
                assert metadata["HTTPStatusCode"] == 410
                assert metadata["RetryAttempts"] == 0
                with pytest.raises(client.exceptions.GoneException):
                    await asyncio.to_thread(client.get_connection, ConnectionId=connection_id)
            client.close()

    asyncio.run(scenario())


def test_a_closing_connection_is_gone() -> None:
    """Posting fails from the first close frame on, although TCP is still open."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect():
            connection = rig.gateway._sockets[rig.connection_id()]
            connection._ws.send_close(1000)  # queued, but not sent yet
            client = rig.boto3()
            assert await refusal(client, rig) == "GoneException"
            client.close()

    asyncio.run(scenario())


def test_posting_inside_connect_is_gone() -> None:
    """The connection exists only after `$connect` was accepted."""
    codes: list[str] = []

    async def handler(event: Event) -> Result:
        if event["requestContext"]["eventType"] == "CONNECT":
            client = rigs[0].boto3()
            codes.append(await refusal(client, rigs[0]))
            client.close()
        return OK

    rigs: list[Rig] = []

    async def scenario() -> None:
        async with serving(handler) as rig:
            rigs.append(rig)
            async with rig.connect() as ws:
                client = rig.boto3()
                await post(client, rig.connection_id(), b"now")
                client.close()
                assert await ws.recv() == "now"

    asyncio.run(scenario())
    assert codes == ["GoneException"]


@pytest.mark.parametrize("size", [32 * 1024 + 1, 128 * 1024, 128 * 1024 + 1, 2 * 1024 * 1024])
def test_a_post_over_32_kb_is_too_large(size: int) -> None:
    """More than one frame can hold raises boto3's own class, and nothing is sent."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws:
            client = rig.boto3()
            with pytest.raises(client.exceptions.PayloadTooLargeException):
                await post(client, rig.connection_id(), b"x" * size)
            await post(client, rig.connection_id(), b"next")
            client.close()
            assert await ws.recv() == "next"

    asyncio.run(scenario())


def test_invalid_utf8_is_refused() -> None:
    """Bytes that cannot be a text frame are reported, not sent."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect():
            client = rig.boto3()
            assert await refusal(client, rig, b"\xff") == "BadRequestException"
            client.close()

    asyncio.run(scenario())


def test_a_post_to_a_client_that_does_not_read_is_limited() -> None:
    """With a full buffer a post gets 429, and succeeds again after the client has read."""

    async def scenario() -> None:
        async with serving(client_buffer=64 * 1024, kernel_buffer=4096) as rig:
            ws = await rig.connect(max_queue=1)
            client = rig.boto3(config=ONCE)
            posted: list[bytes] = []

            async def fill() -> None:
                while len(posted) < 1000:
                    await post(client, rig.connection_id(), b"x" * 32 * 1024)
                    posted.append(b"x" * 32 * 1024)

            with pytest.raises(client.exceptions.LimitExceededException):
                await fill()
            assert [await ws.recv(decode=False) for _ in posted] == posted
            await post(client, rig.connection_id(), b"again")
            assert await ws.recv() == "again"
            client.close()
            await ws.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("fault", [GONE, FORBIDDEN, PAYLOAD_TOO_LARGE, LIMIT_EXCEEDED])
def test_faults_can_be_injected(fault: ApiError) -> None:
    """A test can have the next posts refused; boto3 raises the modelled class."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws:
            client = rig.boto3(config=ONCE)
            calls: list[str] = []

            def faults(connection_id: str) -> ApiError | None:
                calls.append(connection_id)
                return fault if len(calls) == 1 else None

            rig.gateway.connections.post_faults = faults
            with pytest.raises(getattr(client.exceptions, fault.type)) as caught:
                await post(client, rig.connection_id(), b"lost")
            assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == fault.status
            await post(client, rig.connection_id(), b"delivered")
            client.close()

            assert calls == [rig.connection_id()] * 2
            assert await ws.recv() == "delivered"

    asyncio.run(scenario())


def test_a_server_error_is_retried_by_boto3() -> None:
    """A 500 looks to an unmodified client like one of AWS's: it tries again by itself."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws:
            faults: list[ApiError | None] = [INTERNAL]
            rig.gateway.connections.post_faults = lambda _id: faults.pop() if faults else None
            client = rig.boto3()
            await post(client, rig.connection_id(), b"delivered")
            client.close()
            assert await ws.recv() == "delivered"
            assert faults == []

    asyncio.run(scenario())


def test_a_delayed_post_finds_a_connection_that_closed_meanwhile_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`post_delay` delays a post; the connection is looked up after it."""

    async def scenario() -> None:
        async with serving() as rig:
            ws = await rig.connect()
            delays: list[float] = []
            delay_is_over = asyncio.Event()

            async def sleep(seconds: float) -> None:
                delays.append(seconds)
                await delay_is_over.wait()

            monkeypatch.setattr(connections, "asyncio", SimpleNamespace(sleep=sleep))
            rig.gateway.connections.post_delay = 0.1
            client = rig.boto3()
            posting = asyncio.ensure_future(refusal(client, rig))
            await eventually(lambda: delays == [0.1])
            await ws.close()
            await rig.disconnected()
            delay_is_over.set()
            assert await posting == "GoneException"
            client.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "OPTIONS"])
def test_other_methods_are_forbidden(method: str) -> None:
    """The API has POST, GET and DELETE only."""

    async def scenario() -> Any:
        async with serving() as rig, rig.connect():
            target = "/@connections/" + urllib.parse.quote(rig.connection_id())
            request = HttpRequest(method, target, "1.1", (), b"", "127.0.0.1")
            return await rig.gateway.connections.handle(request)

    answer = asyncio.run(scenario())
    assert answer.status == 403
    assert ("x-amzn-ErrorType", "ForbiddenException") in answer.headers

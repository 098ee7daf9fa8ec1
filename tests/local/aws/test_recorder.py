"""Covers local/aws/recorder.py: what it records, and that it forwards everything unchanged."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from local.aws.permissions import Request
from local.aws.recorder import recording

SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=K/20260131/us-east-1/bedrock/aws4_request"}
PATIENCE = 60.0


@dataclass
class Rig:
    """A recorder in front of a service, and a client of the recorder."""

    url: str
    recorded: list[Request]
    client: aiohttp.ClientSession


@asynccontextmanager
async def recorder(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[Rig]:
    app = web.Application()
    app.router.add_route("*", "/base/{path:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    recorded: list[Request] = []
    base = f"http://127.0.0.1:{runner.addresses[0][1]}/base"
    try:
        async with (
            recording({"bedrock": base}, recorded.append) as url,
            aiohttp.ClientSession() as client,
            asyncio.timeout(PATIENCE),
        ):
            yield Rig(url, recorded, client)
    finally:
        await runner.cleanup()


def test_requests_and_responses_are_forwarded_unchanged() -> None:
    """Path and query as they were escaped, headers and bodies, in both directions."""
    received: list[tuple[str, str, str, bytes]] = []

    async def service(request: web.Request) -> web.Response:
        body = await request.read()
        received.append((request.raw_path, request.headers["Host"], request.headers["X-One"], body))
        return web.Response(status=418, body=b"tea", headers={"X-Two": "2", "ETag": "x"})

    async def scenario() -> tuple[int, bytes, str, list[Request]]:
        async with recorder(service) as rig:
            url = URL(f"{rig.url}/a%3Ab/c%2Fd?e=%2F", encoded=True)
            headers = {**SIGNED, "Host": "bedrock.example", "X-One": "1"}
            async with rig.client.put(url, data=b"\x00body", headers=headers) as answer:
                return answer.status, await answer.read(), answer.headers["X-Two"], rig.recorded

    status, body, header, [request] = asyncio.run(scenario())

    assert [("/base/a%3Ab/c%2Fd?e=%2F", "bedrock.example", "1", b"\x00body")] == received
    assert (418, b"tea", "2") == (status, body, header)
    assert ("PUT", "/a%3Ab/c%2Fd", b"\x00body") == (request.method, request.path, request.body)
    assert ("us-east-1", "bedrock") == request.scope


def test_a_stream_is_forwarded_as_it_arrives() -> None:
    """The service sends the second half only after the client has received the first."""

    async def scenario() -> tuple[bytes, bytes]:
        arrived = asyncio.Event()

        async def service(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"first")
            await arrived.wait()
            await response.write(b"second")
            return response

        async with recorder(service) as rig, rig.client.get(rig.url, headers=SIGNED) as answer:
            first = await answer.content.readany()
            arrived.set()
            return first, await answer.content.read()

    assert (b"first", b"second") == asyncio.run(scenario())


def test_a_client_that_disconnects_ends_the_request_to_the_service() -> None:
    """The service notices that the client has disconnected."""

    async def scenario() -> None:
        gone = asyncio.Event()

        async def service(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"first")
            try:
                await asyncio.Event().wait()
            finally:
                gone.set()
            return response

        async with recorder(service) as rig:
            answer = await rig.client.get(rig.url, headers=SIGNED)
            await answer.content.readany()
            answer.close()
            await gone.wait()

    asyncio.run(scenario())


def test_a_response_that_is_cut_off_is_cut_off_for_the_client() -> None:
    """An aborted response never looks like a complete one."""

    async def service(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        assert request.transport is not None
        request.transport.abort()
        return response

    async def scenario() -> None:
        async with recorder(service) as rig, rig.client.get(rig.url, headers=SIGNED) as answer:
            await answer.read()

    with pytest.raises(aiohttp.ClientPayloadError):
        asyncio.run(scenario())


def test_a_request_without_an_endpoint_is_recorded_and_refused() -> None:
    """No call goes unrecorded, whatever service it is for."""

    async def service(_request: web.Request) -> web.Response:
        raise AssertionError

    async def scenario() -> tuple[int, list[Request]]:
        async with recorder(service) as rig:
            headers = {"Authorization": SIGNED["Authorization"].replace("bedrock", "s3")}
            async with rig.client.get(f"{rig.url}/bucket", headers=headers) as answer:
                return answer.status, rig.recorded

    status, [request] = asyncio.run(scenario())

    assert 501 == status
    assert ("us-east-1", "s3") == request.scope

"""Covers local/gateway/server.py."""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest
from support.gateways import OK, PATIENCE, Event, Rig, accept, eventually, serving
from websockets.exceptions import InvalidStatus, NegotiationError

from local.gateway.api import Api, Integration, Principal, Route
from local.gateway.api import Event as ConnectEvent
from local.gateway.authorization import RefusedError
from local.gateway.http_connection import HttpRequest
from local.gateway.limits import AWS_QUOTAS
from local.gateway.server import Gateway, error_frame
from local.gateway.vtl import Template
from local.invocation import Result

CRASH = Result(b'{"errorType": "KeyError"}', "Unhandled")
PROXY = {key: Route(key, Integration.PROXY) for key in ("$connect", "$disconnect", "$default")}


def kind(event: Event) -> str:
    return str(event["requestContext"]["eventType"])


def responding(connect: Mapping[str, Any] | bytes, error: str | None = None) -> Any:
    """Make a function that returns this for $connect, and 200 for everything else."""
    payload = connect if isinstance(connect, bytes) else json.dumps(connect).encode()

    async def handler(event: Event) -> Result:
        return Result(payload, error) if kind(event) == "CONNECT" else OK

    return handler


async def refused(rig: Rig, **options: Any) -> tuple[int, bytes]:
    """Connect, expect to be refused, and return the HTTP status and the body."""
    with pytest.raises(InvalidStatus) as caught:
        await rig.connect(**options)
    return caught.value.response.status_code, bytes(caught.value.response.body)


def message_context(rig: Rig) -> dict[str, Any]:
    return dict(rig.of("MESSAGE")[-1]["requestContext"])


def test_an_error_frame_has_api_gateways_bytes() -> None:
    """Byte for byte, spaces included."""
    frame = error_frame("Internal server error", "a=", "b=")

    expected = b'{"message": "Internal server error", "connectionId":"a=", "requestId":"b="}'
    assert expected == frame


def test_the_events_of_a_connection_belong_together() -> None:
    """CONNECT, MESSAGE and DISCONNECT have the same connection and different request ids."""

    async def scenario() -> None:
        async with serving() as rig:
            async with rig.connect("/any/path?session_id=s1") as ws:
                await ws.send('{"action": "chat", "body": "hi"}')
                await eventually(lambda: len(rig.of("MESSAGE")) == 1)
            await rig.disconnected()

            contexts = [event["requestContext"] for event in rig.events]
            assert [c["routeKey"] for c in contexts] == ["$connect", "chat", "$disconnect"]
            for field in ("connectionId", "connectedAt", "domainName", "stage", "apiId"):
                assert len({c[field] for c in contexts}) == 1
            assert len({c["requestId"] for c in contexts}) == 3
            assert contexts[0]["domainName"] == f"127.0.0.1:{rig.port}"
            assert rig.events[0]["queryStringParameters"] == {"session_id": "s1"}
            assert rig.events[1]["body"] == '{"action": "chat", "body": "hi"}'

    asyncio.run(scenario())


def test_a_client_cannot_choose_the_domain_name() -> None:
    """A forged Host header does not become the address to which a function posts."""

    async def scenario() -> None:
        async with serving() as rig:
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
            writer.write(
                b"GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            assert (await reader.readline()).startswith(b"HTTP/1.1 101")
            writer.close()

            assert rig.events[-1]["headers"]["Host"] == "evil.example"
            domain = rig.events[-1]["requestContext"]["domainName"]
            assert domain == f"127.0.0.1:{rig.port}"

    asyncio.run(scenario())


# $connect


def test_the_handshake_waits_for_connect() -> None:
    """The upgrade is answered after `$connect` has run, and not before."""
    accept = asyncio.Event()

    async def handler(event: Event) -> Result:
        if kind(event) == "CONNECT":
            await accept.wait()
        return OK

    async def scenario() -> None:
        async with serving(handler) as rig:
            opening = asyncio.ensure_future(rig.connect().__aenter__())
            await eventually(lambda: len(rig.events) == 1)
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            await reader.read()  # the gateway has served another request meanwhile
            writer.close()
            assert not opening.done()
            accept.set()
            ws = await opening
            await ws.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("status", [301, 400, 401, 403, 429, 500, 599])
def test_connect_may_refuse_with_any_status(status: int) -> None:
    """A status other than 2xx is the client's HTTP status, and no `$disconnect` follows."""

    async def scenario() -> None:
        async with serving(responding({"statusCode": status})) as rig:
            received, body = await refused(rig)

            context = rig.events[0]["requestContext"]
            assert received == status
            assert json.loads(body)["connectionId"] == context["connectionId"]
            assert json.loads(body)["requestId"] == context["requestId"]
            await eventually(lambda: not rig.gateway._http_connections and not rig.gateway._tasks)
            assert rig.of("DISCONNECT") == []

    asyncio.run(scenario())


@pytest.mark.parametrize("status", [200, 201, 204])
def test_connect_accepts_with_any_2xx(status: int) -> None:
    """Every 2xx opens the connection."""

    async def scenario() -> None:
        async with serving(responding({"statusCode": status})) as rig, rig.connect() as ws:
            await ws.send('{"action": "ping"}')
            assert await ws.recv() == '{"type": "pong"}'

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b'{"statusCode": 200}', "Unhandled"),
        (b'{"statusCode": 200}', "Runtime.ExitError"),
        (b"null", None),
        (b"not json", None),
        (b"[]", None),
        (b"{}", None),
        (b'{"statusCode": "x"}', None),
        (b'{"statusCode": 101}', None),
        (b'{"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": "a\\r\\nX: y"}}', None),
    ],
)
def test_a_failing_connect_is_a_bad_gateway(payload: bytes, error: str | None) -> None:
    """A function that fails, or returns an invalid proxy response, gives 502."""

    async def scenario() -> None:
        async with serving(responding(payload, error)) as rig:
            status, body = await refused(rig)

            assert status == 502
            assert b'{"message": "Internal server error", "connectionId":"' in body

    asyncio.run(scenario())


def test_a_connect_that_takes_too_long_is_a_gateway_timeout() -> None:
    """The integration timeout applies to `$connect`, too: 504."""

    async def handler(_event: Event) -> Result:
        await asyncio.Event().wait()
        return OK

    async def scenario() -> None:
        async with serving(handler, integration=0.05) as rig:
            status, body = await refused(rig)

            assert status == 504
            assert b"Endpoint request timed out" in body

    asyncio.run(scenario())


def test_a_subprotocol_needs_the_functions_echo() -> None:
    """The handshake names a subprotocol only if `$connect` returned it."""

    async def scenario() -> None:
        echo = {"statusCode": 200, "headers": {"sec-websocket-protocol": "chat.v1"}}
        async with (
            serving(responding(echo)) as rig,
            rig.connect(subprotocols=["chat.v1", "token"]) as ws,
        ):
            assert ws.subprotocol == "chat.v1"
        async with serving() as rig, rig.connect(subprotocols=["chat.v1"]) as ws:
            assert ws.subprotocol is None
        async with serving(responding(echo)) as rig:
            with pytest.raises(NegotiationError):
                await rig.connect()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "Unauthorized"), (403, "Forbidden"), (500, "Internal server error")],
)
def test_an_authorizer_refuses_before_the_function_is_invoked(status: int, message: str) -> None:
    """The client gets its status."""

    async def authorizer(_request: HttpRequest, _event: ConnectEvent) -> Principal:
        raise RefusedError(status)

    async def scenario() -> None:
        async with serving(authorizer=authorizer) as rig:
            received, body = await refused(rig)

            assert received == status
            assert json.loads(body)["message"] == message
            assert rig.events == []

    asyncio.run(scenario())


def test_a_url_that_is_too_long_is_refused() -> None:
    """Before the authorizer and the function are invoked."""

    async def scenario() -> None:
        async with serving(url=100) as rig:
            rest = 100 - len(f"wss://127.0.0.1:{rig.port}/")
            async with rig.connect("/" + "x" * rest):
                pass
            await rig.disconnected()
            count = len(rig.events)
            with pytest.raises(InvalidStatus) as caught:
                await rig.connect("/" + "x" * (rest + 1))
            assert caught.value.response.status_code == 414
            assert len(rig.events) == count

    asyncio.run(scenario())


def test_the_principal_is_in_every_event_of_the_connection() -> None:
    """The authorizer receives the event of the handshake, with the same ids and no principal."""
    received: list[Mapping[str, Any]] = []

    async def authorizer(request: HttpRequest, event: ConnectEvent) -> Principal:
        assert request.target == "/?token=t"
        assert request.header("Origin") == "https://app.example"
        received.append(event.content["requestContext"])
        return Principal({"userArn": "arn:alice"}, {"principalId": "alice", "tier": 1})

    async def scenario() -> None:
        async with serving(authorizer=authorizer) as rig:
            async with rig.connect("/?token=t", origin="https://app.example") as ws:
                await ws.send("hi")
                await eventually(lambda: len(rig.of("MESSAGE")) == 1)
            await rig.disconnected()

            contexts = [event["requestContext"] for event in rig.events]
            assert [kind(event) for event in rig.events] == ["CONNECT", "MESSAGE", "DISCONNECT"]
            for context in contexts:
                assert context["authorizer"] == {"principalId": "alice", "tier": 1}
                assert context["identity"]["userArn"] == "arn:alice"
                assert context["identity"]["sourceIp"] == "127.0.0.1"
            [seen] = received
            assert "authorizer" not in seen
            assert "userArn" not in seen["identity"]
            for field in ("requestId", "connectionId", "requestTimeEpoch"):
                assert contexts[0][field] == seen[field]

    asyncio.run(scenario())


def test_without_an_authorizer_events_have_no_principal() -> None:
    """The fields are missing, not empty."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect():
            context = rig.of("CONNECT")[0]["requestContext"]
            assert "authorizer" not in context
            assert set(context["identity"]) == {"sourceIp", "userAgent"}

    asyncio.run(scenario())


def test_an_api_without_connect_accepts_every_client() -> None:
    """`$connect` and `$disconnect` are optional routes."""

    async def scenario() -> None:
        api = Api({"ping": Route("ping", Integration.MOCK, Template("pong"), replies=True)})
        async with serving(api=api) as rig:
            async with rig.connect() as ws:
                await ws.send('{"action": "ping"}')
                assert await ws.recv() == "pong"
            assert rig.events == []

    asyncio.run(scenario())


def test_compression_is_declined() -> None:
    """Although clients offer permessage-deflate."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect(compression="deflate") as ws:
            assert ws.response is not None
            assert "Sec-WebSocket-Extensions" not in ws.response.headers

    asyncio.run(scenario())


# Messages


def test_ping_is_answered_without_the_function() -> None:
    """A mock route sends its response template, byte for byte."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws:
            await ws.send('{"action":"ping"}')
            assert await ws.recv(decode=False) == b'{"type": "pong"}'
            assert rig.of("MESSAGE") == []
            assert rig.queued == []

    asyncio.run(scenario())


def test_an_asynchronous_route_invokes_and_sends_nothing() -> None:
    """The client gets no frame for it, and the function is not waited for."""

    async def scenario() -> None:
        async with serving(api=Api.load()) as rig, rig.connect() as ws:
            await ws.send("it's $me")
            await ws.send('{"action":"ping"}')
            assert await ws.recv() == '{"type": "pong"}'  # and no frame before it

            assert [e["body"] for e in rig.queued] == ["aXQncyAkbWU="]
            assert rig.queued[0]["requestContext"]["connectionId"] == rig.connection_id()
            assert rig.of("MESSAGE") == []

    asyncio.run(scenario())


def test_a_failing_asynchronous_invocation_gives_the_error_frame(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If Lambda does not accept the event."""

    def broken(_event: bytes) -> None:
        raise RuntimeError("no queue")

    async def invoke(_event: bytes) -> Result:
        return OK

    async def scenario() -> None:
        gateway = Gateway(Api.load(), invoke, broken)
        rig = Rig(accept, Api.load(), AWS_QUOTAS, port=await gateway.start())
        async with rig.connect() as ws:
            await ws.send("hi")
            assert str(await ws.recv()).startswith('{"message": "Internal server error", ')
        await gateway.close()

    asyncio.run(scenario())
    assert "no queue" in caplog.text


def test_a_template_that_produces_no_json_gives_the_error_frame(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And the function is not invoked."""

    async def scenario() -> None:
        api = Api({"$default": Route("$default", Integration.ASYNC, Template("{"))})
        async with serving(api=api) as rig, rig.connect() as ws:
            await ws.send("hi")
            assert str(await ws.recv()).startswith('{"message": "Internal server error", ')
            assert rig.queued == []

    asyncio.run(scenario())
    assert "$default" in caplog.text


def test_the_response_of_a_proxy_route_is_dropped() -> None:
    """Without a route response neither body nor status is sent to the client."""

    async def handler(_event: Event) -> Result:
        return Result(b'{"statusCode": 200, "body": "unseen"}')

    async def scenario() -> None:
        async with serving(handler) as rig, rig.connect() as ws:
            await ws.send("hi")
            await eventually(lambda: len(rig.of("MESSAGE")) == 1)
            await ws.send('{"action":"ping"}')
            assert await ws.recv() == '{"type": "pong"}'

    asyncio.run(scenario())


@pytest.mark.parametrize("payload", [b'{"statusCode": 500}', b"null", b"", b"not json", b"[1]"])
def test_the_status_of_a_message_is_ignored(payload: bytes) -> None:
    """The result of a message is ignored, even an error status or an invalid response."""

    async def handler(event: Event) -> Result:
        return Result(payload) if kind(event) == "MESSAGE" else OK

    async def scenario() -> None:
        async with serving(handler) as rig, rig.connect() as ws:
            await ws.send("hi")
            await eventually(lambda: len(rig.of("MESSAGE")) == 1)
            await ws.send('{"action":"ping"}')
            assert await ws.recv() == '{"type": "pong"}'

    asyncio.run(scenario())


def test_a_route_response_sends_the_body() -> None:
    """With a route response the returned body is a frame; without a body there is none."""

    async def handler(event: Event) -> Result:
        if event.get("body") == "no body":
            return OK
        return Result(json.dumps({"statusCode": 200, "body": "é"}).encode())

    async def scenario() -> None:
        routes = PROXY | {"$default": Route("$default", Integration.PROXY, replies=True)}
        async with serving(handler, Api(routes)) as rig, rig.connect() as ws:
            await ws.send("no body")
            await eventually(lambda: len(rig.of("MESSAGE")) == 1)
            await ws.send("body")
            assert await ws.recv() == "é"

    asyncio.run(scenario())


@pytest.mark.parametrize("error", ["Unhandled", "Runtime.ExitError", "TooManyRequests"])
def test_a_failing_message_gives_the_error_frame(error: str) -> None:
    """In API Gateway's bytes, and the connection stays open."""

    async def handler(event: Event) -> Result:
        return Result(b"{}", error) if kind(event) == "MESSAGE" else OK

    async def scenario() -> None:
        async with serving(handler) as rig, rig.connect() as ws:
            await ws.send("hi")
            frame = await ws.recv(decode=False)

            context = message_context(rig)
            expected = (
                '{"message": "Internal server error", "connectionId":"'
                + context["connectionId"]
                + '", "requestId":"'
                + context["requestId"]
                + '"}'
            ).encode()
            assert expected == frame
            await ws.send('{"action":"ping"}')
            assert await ws.recv() == '{"type": "pong"}'

    asyncio.run(scenario())


def test_an_invocation_that_raises_gives_the_error_frame(caplog: pytest.LogCaptureFixture) -> None:
    """And the exception is logged."""

    async def handler(event: Event) -> Result:
        if kind(event) == "MESSAGE":
            raise OSError("no runtime")
        return OK

    async def scenario() -> None:
        async with serving(handler) as rig, rig.connect() as ws:
            await ws.send("hi")
            assert str(await ws.recv()).startswith('{"message": "Internal server error", ')

    asyncio.run(scenario())
    assert "no runtime" in caplog.text


def test_a_slow_message_gives_the_timeout_frame_while_the_function_runs_on() -> None:
    """API Gateway stops waiting after its timeout; the function is not stopped by that."""
    may_finish, finished = asyncio.Event(), asyncio.Event()

    async def handler(event: Event) -> Result:
        if kind(event) == "MESSAGE":
            await may_finish.wait()
            finished.set()
        return OK

    async def scenario() -> None:
        async with serving(handler, integration=0.05) as rig, rig.connect() as ws:
            await ws.send("hi")
            frame = await ws.recv(decode=False)

            context = message_context(rig)
            expected = error_frame(
                "Endpoint request timed out", context["connectionId"], context["requestId"]
            )
            assert expected == frame
            may_finish.set()
            await asyncio.wait_for(finished.wait(), PATIENCE)

    asyncio.run(scenario())


def test_a_message_without_a_route_is_forbidden() -> None:
    """Without `$default` it gets the Forbidden frame, and the connection stays open."""

    async def scenario() -> None:
        api = Api({"$connect": PROXY["$connect"]})
        async with serving(api=api) as rig, rig.connect() as ws:
            for _ in range(2):
                await ws.send("hi")
                frame = await ws.recv(decode=False)
                assert frame.startswith(
                    f'{{"message": "Forbidden", "connectionId":"{rig.connection_id()}", '.encode()
                )
                assert json.loads(frame)["requestId"]

    asyncio.run(scenario())


def test_messages_of_one_connection_run_concurrently() -> None:
    """A second message does not wait for the first."""
    both = asyncio.Barrier(2)

    async def handler(event: Event) -> Result:
        if kind(event) == "MESSAGE":
            await asyncio.wait_for(both.wait(), PATIENCE)
        return OK

    async def scenario() -> None:
        async with serving(handler) as rig, rig.connect() as ws:
            await ws.send("one")
            await ws.send("two")
            await eventually(lambda: len(rig.of("MESSAGE")) == 2)
            await ws.send('{"action":"ping"}')
            assert await ws.recv() == '{"type": "pong"}'

    asyncio.run(scenario())
    assert both.n_waiting == 0


def test_an_empty_frame_is_a_message() -> None:
    """An empty text frame goes to `$default` with an empty body."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws:
            await ws.send("")
            await eventually(lambda: len(rig.of("MESSAGE")) == 1)
            assert rig.of("MESSAGE")[0]["body"] == ""

    asyncio.run(scenario())


# $disconnect and the rest


def test_a_failing_disconnect_has_no_effect(caplog: pytest.LogCaptureFixture) -> None:
    """`$disconnect` is best effort: its result is ignored."""

    async def handler(event: Event) -> Result:
        return CRASH if kind(event) == "DISCONNECT" else OK

    async def scenario() -> None:
        async with serving(handler) as rig:
            for count in (1, 2):
                async with rig.connect():
                    pass
                await rig.disconnected(count)

    with caplog.at_level(logging.ERROR):
        asyncio.run(scenario())
    assert caplog.text == ""


def test_every_event_is_recorded() -> None:
    """`record` is called with each event that the function receives, of all kinds."""
    seen: list[Mapping[str, Any]] = []

    async def invoke(_event: bytes) -> Result:
        return OK

    async def scenario() -> None:
        gateway = Gateway(Api.load(), invoke, lambda _event: None, record=seen.append)
        rig = Rig(accept, Api.load(), AWS_QUOTAS, port=await gateway.start())
        async with rig.connect() as ws:
            await ws.send("hi")
        await eventually(lambda: len(seen) == 3)
        await gateway.close()

    asyncio.run(scenario())
    keys = [event["requestContext"]["routeKey"] for event in seen]
    assert keys == ["$connect", "$default", "$disconnect"]


def test_closing_the_gateway_closes_its_connections() -> None:
    """Clients get a close frame, and invocations in progress are cancelled."""

    async def handler(event: Event) -> Result:
        if kind(event) == "MESSAGE":
            await asyncio.Event().wait()
        return OK

    async def scenario() -> None:
        async with serving(handler) as rig:
            ws = await rig.connect()
            await ws.send("hi")
            await eventually(lambda: len(rig.of("MESSAGE")) == 1)
            await asyncio.wait_for(rig.gateway.close(), PATIENCE)
            await ws.wait_closed()

            assert ws.close_code == 1001
            with pytest.raises(OSError, match="Connect call failed"):
                await rig.connect()

    asyncio.run(scenario())


def test_a_gateway_that_was_not_started_can_be_closed() -> None:
    """Closing is safe at any time."""
    asyncio.run(Rig(accept, Api.load(), AWS_QUOTAS).gateway.close())


def test_hundreds_of_connections_are_served_at_once() -> None:
    """Each of 300 clients gets its own responses and its own `$disconnect`."""

    async def handler(event: Event) -> Result:
        return Result(json.dumps({"statusCode": 200, "body": event.get("body")}).encode())

    async def client(rig: Rig, name: str) -> None:
        async with rig.connect(open_timeout=60) as ws:
            for turn in range(3):
                await ws.send(f"{name}/{turn}")
                assert await ws.recv() == f"{name}/{turn}"

    async def scenario() -> None:
        routes = PROXY | {"$default": Route("$default", Integration.PROXY, replies=True)}
        async with serving(handler, Api(routes)) as rig:
            await asyncio.gather(*(client(rig, str(n)) for n in range(300)))
            await rig.disconnected(300)

            ids = [e["requestContext"]["connectionId"] for e in rig.of("DISCONNECT")]
            assert len(set(ids)) == len(ids) == 300
            assert not rig.gateway._sockets
            assert not rig.gateway._http_connections

    asyncio.run(scenario())

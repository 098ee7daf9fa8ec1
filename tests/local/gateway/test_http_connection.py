"""Covers local/gateway/http_connection.py, and the HTTP responses of the gateway."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.gateways import OK, PATIENCE, Event, Handler, Rig, eventually, serving

from local.gateway.http_connection import HttpConnection, HttpRequest, HttpResponse
from local.invocation import Result

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
# What a client may send along with the handshake: a masked text frame, "hi".
EARLY = b"\x81\x82\0\0\0\0hi"


class Client:
    """A client that writes bytes and reads HTTP responses, no more."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def response(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(PATIENCE):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
            return int(first.split(" ")[1]), headers, body

    async def send(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        self.writer.write(data)
        return await self.response()

    async def ended(self) -> bool:
        """Wait for the server to close, and return whether it sent nothing more."""
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read() == b""


@asynccontextmanager
async def raw(rig: Rig) -> AsyncIterator[Client]:
    client = Client(*await asyncio.open_connection("127.0.0.1", rig.port))
    try:
        yield client
    finally:
        client.writer.close()


def accepting_after(accept: asyncio.Event) -> Handler:
    """A function whose `$connect` waits for the event."""

    async def handler(event: Event) -> Result:
        if event["requestContext"]["eventType"] == "CONNECT":
            await accept.wait()
        return OK

    return handler


def post(rig: Rig, body: bytes, *headers: bytes, length: bool = True) -> bytes:
    """Write a POST to the newest connection."""
    lines = [f"POST /@connections/{quote(rig.connection_id())} HTTP/1.1".encode(), b"Host: x"]
    if length:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, *headers, b"", body])


def test_one_connection_serves_many_requests() -> None:
    """Keep-alive: requests are handled in order, even if all were sent at once."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws, raw(rig) as client:
            client.writer.write(b"".join(post(rig, b"%d" % n) for n in range(20)))
            for n in range(20):
                status, headers, body = await client.response()
                assert (status, body) == (200, b"")
                assert headers["x-amzn-requestid"]
                assert await ws.recv() == str(n)

    asyncio.run(scenario())


def test_a_connection_closes_at_the_clients_request() -> None:
    """`Connection: close` and HTTP/1.0 are honoured."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect():
            async with raw(rig) as client:
                status, _, _ = await client.send(post(rig, b"x", b"Connection: close"))
                assert status == 200
                assert await client.ended()
            async with raw(rig) as client:
                await client.send(post(rig, b"x").replace(b"HTTP/1.1", b"HTTP/1.0"))
                assert await client.ended()

    asyncio.run(scenario())


def test_a_chunked_body_is_assembled() -> None:
    """Also if each byte arrives in a packet of its own."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws, raw(rig) as client:
            chunks = b"2\r\nhe\r\n3;ext=1\r\nllo\r\n0\r\nTrailer: x\r\n\r\n"
            request = post(rig, chunks, b"Transfer-Encoding: chunked", length=False)
            for i in range(len(request)):
                client.writer.write(request[i : i + 1])
                await asyncio.sleep(0)
            assert (await client.response())[0] == 200
            assert await ws.recv() == "hello"

    asyncio.run(scenario())


def test_a_huge_body_is_read_and_not_stored() -> None:
    """Past the limit a body is discarded, so that no client fills the memory."""
    sizes: list[int] = []

    async def handler(request: HttpRequest) -> HttpResponse:
        sizes.append(len(request.body))
        return HttpResponse(200)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        open_: set[HttpConnection] = set()

        def accept() -> HttpConnection:
            connection = HttpConnection(handler, open_.discard, 1000)
            open_.add(connection)
            return connection

        server = await loop.create_server(accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
        assert (await client.send(head % 10_000_000 + b"x" * 10_000_000))[0] == 200
        assert (await client.send(head % 1000 + b"x" * 1000))[0] == 200
        client.writer.close()
        server.close()
        await eventually(lambda: not open_)

    asyncio.run(scenario())
    assert 1000 < sizes[0] < 1_000_000
    assert sizes[1] == 1000


def test_a_client_that_expects_100_continue_receives_it() -> None:
    """Before it sends its body."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws, raw(rig) as client:
            request = post(rig, b"hello", b"Expect: 100-continue")
            head, _, body = request.partition(b"\r\n\r\n")
            status, _, _ = await client.send(head + b"\r\n\r\n")
            assert status == 100
            assert (await client.send(body))[0] == 200
            assert await ws.recv() == "hello"

    asyncio.run(scenario())


def test_errors_have_the_shape_of_aws() -> None:
    """The type is in `x-amzn-ErrorType`; Gone has no body."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect(), raw(rig) as client:
            status, headers, body = await client.send(
                b"POST /@connections/gone%3D HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
            )
            assert (status, headers["x-amzn-errortype"], body) == (410, "GoneException", b"")
            status, headers, body = await client.send(post(rig, b"x" * 40_000))
            assert (status, headers["x-amzn-errortype"]) == (413, "PayloadTooLargeException")
            assert json.loads(body) == {"message": "Payload too large"}

    asyncio.run(scenario())


def test_responses_without_a_body_keep_the_connection_open() -> None:
    """HEAD and 204 have no body, and the next request is served."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect(), raw(rig) as client:
            path = f"/local/@connections/{quote(rig.connection_id())}".encode()
            client.writer.write(b"HEAD " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 403")
            status, headers, _ = await client.send(
                b"DELETE " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n"
            )
            assert status == 204
            assert "content-length" not in headers
            assert (await client.send(post(rig, b"x")))[0] == 410

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("request_line", "status", "text"),
    [
        (b"GET / HTTP/1.1", 426, b"WebSocket"),
        (b"GET /@connections HTTP/1.1", 426, b"WebSocket"),
        (b"GET /a/b/@connections/x HTTP/1.1", 426, b"WebSocket"),
        (b"POST / HTTP/1.1", 405, b"WebSocket"),
        (b"GET / HTTP/1.0", 405, b"WebSocket"),
    ],
)
def test_a_request_that_is_no_handshake_learns_what_the_endpoint_is(
    request_line: bytes, status: int, text: bytes
) -> None:
    """A browser that opens the address shows that it is a WebSocket endpoint."""

    async def scenario() -> None:
        async with serving() as rig, raw(rig) as client:
            got, _, body = await client.send(request_line + b"\r\nHost: x\r\n\r\n")
            assert got == status
            assert text in body
            assert await client.ended()
            assert rig.events == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 8"),
        (b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", b"Sec-WebSocket-Key: short"),
        (b"Sec-WebSocket-Key", b"X-Key"),
        (b"Upgrade: websocket", b"Upgrade: h2c"),
    ],
)
def test_an_invalid_handshake_never_reaches_the_function(before: bytes, after: bytes) -> None:
    """It is refused before `$connect` is invoked."""

    async def scenario() -> None:
        async with serving() as rig, raw(rig) as client:
            status, _, _ = await client.send(UPGRADE.replace(before, after))
            assert 400 <= status < 500
            assert await client.ended()
            assert rig.events == []

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\nHo st: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: no\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000,
    ],
)
def test_malformed_http_is_refused(data: bytes) -> None:
    """It gets a 4xx and the connection is closed; the gateway continues to serve."""

    async def scenario() -> None:
        async with serving() as rig:
            async with raw(rig) as client:
                assert (await client.send(data))[0] in {400, 431}
                assert await client.ended()
            async with rig.connect():
                assert len(rig.of("CONNECT")) == 1

    asyncio.run(scenario())


@settings(max_examples=20, deadline=None)
@given(st.binary(min_size=1, max_size=200) | st.just(UPGRADE + b"\xff" * 99))
def test_no_bytes_break_the_gateway(data: bytes) -> None:
    """After any input and any disconnect, the next client is served."""

    async def scenario() -> None:
        errors: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: errors.append(context))
        async with serving() as rig:
            async with raw(rig) as client:
                client.writer.write(data)
                client.writer.write_eof()
                async with asyncio.timeout(PATIENCE):
                    await client.reader.read()
            async with rig.connect() as ws:
                await ws.send('{"action":"ping"}')
                assert await ws.recv() == '{"type": "pong"}'
            await eventually(lambda: not rig.gateway._http_connections)
        assert errors == []

    asyncio.run(scenario())


def test_frames_sent_with_the_handshake_are_not_lost() -> None:
    """Frames that arrive before the 101 are handled once the connection is accepted."""
    accept = asyncio.Event()

    async def scenario() -> None:
        async with serving(accepting_after(accept)) as rig, raw(rig) as client:
            client.writer.write(UPGRADE + EARLY)
            await eventually(lambda: len(rig.of("CONNECT")) == 1)
            client.writer.write(EARLY)
            await client.writer.drain()
            accept.set()
            assert (await client.response())[0] == 101
            await eventually(lambda: [e["body"] for e in rig.of("MESSAGE")] == ["hi", "hi"])

    asyncio.run(scenario())


def test_a_client_that_disconnects_during_connect_gets_one_disconnect() -> None:
    """If `$connect` accepts it afterwards, `$disconnect` follows, once."""
    accept = asyncio.Event()

    async def scenario() -> None:
        async with serving(accepting_after(accept)) as rig:
            async with raw(rig) as client:
                client.writer.write(UPGRADE)
                await eventually(lambda: len(rig.of("CONNECT")) == 1)
            accept.set()
            assert (await rig.disconnected())["disconnectStatusCode"] == 1006
            await eventually(lambda: not rig.gateway._tasks)
            assert len(rig.of("DISCONNECT")) == 1
            assert not rig.gateway._sockets

    asyncio.run(scenario())


def test_idle_http_connections_are_closed() -> None:
    """Without a request, or with an incomplete one."""

    async def scenario() -> None:
        async with serving(http_idle=0.1) as rig:
            for data in (
                b"",
                b"GET / HT",
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx",
            ):
                async with raw(rig) as client:
                    client.writer.write(data)
                    assert await client.ended()

    asyncio.run(scenario())


def test_a_connection_with_a_request_in_progress_is_not_idle() -> None:
    """However long the handler takes."""
    accept = asyncio.Event()

    async def scenario() -> None:
        async with serving(accepting_after(accept)) as rig, raw(rig) as client:
            client.writer.write(UPGRADE)
            await eventually(lambda: len(rig.of("CONNECT")) == 1)
            (connection,) = rig.gateway._http_connections
            connection.enforce(time.time() + 1000, idle=1)
            accept.set()
            assert (await client.response())[0] == 101

    asyncio.run(scenario())

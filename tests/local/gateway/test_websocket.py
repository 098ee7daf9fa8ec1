"""Covers local/gateway/websocket.py, through the gateway."""

import asyncio
import base64
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from support.gateways import PATIENCE, Rig, closing, eventually, serving
from websockets.asyncio.client import ClientConnection
from websockets.frames import CloseCode

from local.gateway.websocket import Socket

FRAME = 32 * 1024
MESSAGE = 128 * 1024

MASK = b"\0\0\0\0"
PING_125 = bytes([0x89, 0x80 | 125]) + MASK + b"p" * 125


async def pong(ws: ClientConnection) -> None:
    """Check that the connection is alive and that nothing else was waiting to be read."""
    await ws.send('{"action":"ping"}')
    assert await asyncio.wait_for(ws.recv(), PATIENCE) == '{"type": "pong"}'


def bodies(rig: Rig) -> list[str]:
    return [event["body"] for event in rig.of("MESSAGE")]


@asynccontextmanager
async def unread(rig: Rig) -> AsyncIterator[socket.socket]:
    """Open a connection whose client reads nothing after the handshake, with a small buffer."""
    loop = asyncio.get_running_loop()
    key = base64.b64encode(os.urandom(16)).decode()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", rig.port))
        request = (
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        )
        await loop.sock_sendall(client, request.encode())
        assert (await loop.sock_recv(client, 4096)).startswith(b"HTTP/1.1 101")
        yield client


# Sizes


def test_a_frame_may_have_32_kb() -> None:
    """A frame of exactly 32 KB is delivered."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws:
            await ws.send("x" * FRAME)
            await eventually(lambda: bodies(rig) == ["x" * FRAME])

    asyncio.run(scenario())


def test_a_larger_frame_closes_with_1009() -> None:
    """One byte more closes the connection, and `$disconnect` has the code and reason."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws:
            await ws.send("x" * (FRAME + 1))

            code, reason = await closing(ws)
            assert code == 1009
            context = await rig.disconnected()
            assert context["disconnectStatusCode"] == 1009
            assert context["disconnectReason"] == reason != ""
            assert bodies(rig) == []

    asyncio.run(scenario())


def test_a_message_may_have_128_kb_in_frames_of_32() -> None:
    """Four full frames make one message of exactly 128 KB."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws:
            await ws.send(["x" * FRAME] * 4)
            await eventually(lambda: bodies(rig) == ["x" * MESSAGE])

    asyncio.run(scenario())


def test_a_larger_message_closes_with_1009() -> None:
    """The size of all its frames together is limited, too."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws:
            await ws.send(["x" * FRAME] * 4 + ["x"])

            assert (await closing(ws))[0] == 1009
            assert (await rig.disconnected())["disconnectStatusCode"] == 1009
            assert bodies(rig) == []

    asyncio.run(scenario())


# Content


def test_fragments_become_one_message() -> None:
    """Even if a character is split between two, and a ping is sent between them."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws:
            text = "né 漢字 \U0001f600".encode()

            async def pieces() -> AsyncIterator[bytes]:
                for i in range(len(text)):
                    yield text[i : i + 1]
                    await ws.ping()

            await ws.send(pieces(), text=True)
            await eventually(lambda: bodies(rig) == [text.decode()])
            await pong(ws)

    asyncio.run(scenario())


@pytest.mark.parametrize("data", [b"", b"bytes", b"x" * FRAME])
def test_a_binary_frame_closes_with_1003(data: bytes) -> None:
    """API Gateway supports text only."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws:
            await ws.send(data)

            assert (await closing(ws))[0] == 1003
            assert (await rig.disconnected())["disconnectStatusCode"] == 1003
            assert bodies(rig) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("data", [b"\xff", b"a\xc3", b"\xed\xa0\x80"])
def test_text_that_is_not_utf8_closes_with_1007(data: bytes) -> None:
    """Invalid UTF-8, an incomplete character and a lone surrogate never become an event."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws:
            await ws.send(data, text=True)

            assert (await closing(ws))[0] == 1007
            assert (await rig.disconnected())["disconnectStatusCode"] == 1007
            assert bodies(rig) == []

    asyncio.run(scenario())


def test_messages_after_a_violation_are_discarded() -> None:
    """Even if they arrive in the same packet."""

    async def scenario() -> None:
        async with serving() as rig, unread(rig) as client:
            text, binary, bad = (bytes([op, 0x81]) + MASK for op in (0x81, 0x82, 0x81))
            data = text + b"1" + binary + b"2" + bad + b"\xff" + text + b"3"
            await asyncio.get_running_loop().sock_sendall(client, data)

            assert (await rig.disconnected())["disconnectStatusCode"] == 1003
            assert bodies(rig) == ["1"]

    asyncio.run(scenario())


def test_a_message_right_before_the_close_is_delivered() -> None:
    """Even if both arrive in the same packet."""

    async def scenario() -> None:
        async with serving() as rig, unread(rig) as client:
            data = b"\x81\x81" + MASK + b"1" + b"\x88\x82" + MASK + b"\x03\xe8"
            await asyncio.get_running_loop().sock_sendall(client, data)

            assert (await rig.disconnected())["disconnectStatusCode"] == 1000
            assert bodies(rig) == ["1"]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "data", [b"\x81\x01x", b"\xf1\x80" + MASK, b"\x80\x80" + MASK, b"\xff" * 64]
)
def test_a_protocol_error_closes_with_1002(data: bytes) -> None:
    """Unmasked frames, reserved bits and stray continuations close that connection only."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws, unread(rig) as client:
            await asyncio.get_running_loop().sock_sendall(client, data)

            assert (await rig.disconnected())["disconnectStatusCode"] == 1002
            await pong(ws)

    asyncio.run(scenario())


# Ends


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (1000, "", ""),
        (1000, "done", "done"),
        (1001, "", "Going away"),
        (4000, "mine", "mine"),
    ],
)
def test_disconnect_has_the_clients_code_and_reason(code: int, reason: str, expected: str) -> None:
    """Once, as in the client's close frame."""

    async def scenario() -> None:
        async with serving() as rig:
            ws = await rig.connect()
            await ws.close(code, reason)

            context = await rig.disconnected()
            await eventually(lambda: not rig.gateway._tasks)
            assert context["disconnectStatusCode"] == code
            assert context["disconnectReason"] == expected
            assert len(rig.of("DISCONNECT")) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("data", "code", "reason"),
    [
        (b"\x88\x80" + MASK, 1005, "Client-side close frame status not set"),
        (b"", 1006, ""),
        (b"\x81", 1006, ""),
    ],
)
def test_disconnect_has_1005_or_1006_without_a_close_code(
    data: bytes, code: int, reason: str
) -> None:
    """1005 for a close frame without a code; 1006 for a connection that just ends."""

    async def scenario() -> None:
        async with serving() as rig:
            async with unread(rig) as client:
                await asyncio.get_running_loop().sock_sendall(client, data)
            context = await rig.disconnected()
            assert (context["disconnectStatusCode"], context["disconnectReason"]) == (code, reason)

    asyncio.run(scenario())


def test_a_connection_reset_is_1006() -> None:
    """It is disconnected once, like any other."""

    async def scenario() -> None:
        async with serving() as rig:
            ws = await rig.connect()
            ws.transport.abort()
            assert (await rig.disconnected())["disconnectStatusCode"] == 1006
            await eventually(lambda: not rig.gateway._tasks)
            assert len(rig.of("DISCONNECT")) == 1

    asyncio.run(scenario())


def test_idle_connections_are_closed_with_1001() -> None:
    """After ten minutes (here: less) without a frame."""

    async def scenario() -> None:
        async with serving(idle=0.1) as rig, rig.connect(ping_interval=None) as ws:
            assert await closing(ws) == (1001, "Going away")
            context = await rig.disconnected()
            assert context["disconnectStatusCode"] == 1001
            assert context["disconnectReason"] == "Going away"

    asyncio.run(scenario())


@pytest.mark.parametrize("traffic", ["message", "ping", "post"])
def test_traffic_resets_the_idle_time(traffic: str) -> None:
    """Messages, protocol pings and posts all count as activity."""

    async def scenario() -> None:
        async with serving(idle=600) as rig, rig.connect(ping_interval=None) as ws:
            connection = rig.gateway._sockets[rig.connection_id()]
            now = time.time()
            connection.active = now - 500
            if traffic == "message":
                await ws.send("hi")
            elif traffic == "ping":
                await ws.ping()
            else:
                connection.send(b"hello")
            await eventually(lambda: connection.active >= now)
            connection.enforce(now + 599)
            assert connection.open
            connection.enforce(connection.active + 601)
            assert not connection.open

    asyncio.run(scenario())


def test_a_connection_is_closed_after_two_hours() -> None:
    """(Here: less.) However busy it is."""

    async def scenario() -> None:
        async with serving(life=0.2) as rig, rig.connect(ping_interval=0.02) as ws:
            assert (await closing(ws))[0] == 1001
            assert (await rig.disconnected())["disconnectStatusCode"] == 1001

    asyncio.run(scenario())


def test_a_client_that_does_not_answer_the_close_is_dropped() -> None:
    """After a grace period; the code is still the server's."""

    async def scenario() -> None:
        async with serving(idle=0.05, closing=0.1) as rig, unread(rig):
            assert (await rig.disconnected())["disconnectStatusCode"] == 1001
            assert not rig.gateway._sockets

    asyncio.run(scenario())


# Back-pressure


async def fill(connection: Socket) -> None:
    """Send until the client's buffer is full."""
    async with asyncio.timeout(PATIENCE):
        while not connection.congested:
            connection.send(b"x" * 8192)
            await asyncio.sleep(0)


def test_the_buffer_of_a_client_that_does_not_read_is_bounded() -> None:
    """A connection is congested once its buffer is full, and recovers when the client reads."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with (
            serving(client_buffer=64 * 1024, kernel_buffer=4096) as rig,
            unread(rig) as client,
        ):
            connection = rig.gateway._sockets[rig.connection_id()]
            await fill(connection)

            async def read_all() -> None:
                while await loop.sock_recv(client, 65536):
                    pass

            reading = asyncio.create_task(read_all())
            await eventually(lambda: not connection.congested)
            await loop.sock_sendall(client, b"\x81\x82" + MASK + b"hi")
            await eventually(lambda: bodies(rig) == ["hi"])
            reading.cancel()

    asyncio.run(scenario())


def test_the_kernels_buffer_is_bounded_too() -> None:
    """Without this limit the kernel would buffer megabytes for a client."""

    async def scenario() -> int:
        async with serving(kernel_buffer=10_000) as rig, rig.connect():
            transport = rig.gateway._sockets[rig.connection_id()]._transport
            peer = transport.get_extra_info("socket")
            return int(peer.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))

    assert asyncio.run(scenario()) in {10_000, 20_000}  # Linux doubles it for its own records


def test_a_flood_of_pings_is_not_read_faster_than_its_pongs() -> None:
    """A client that pings and never reads uses bounded memory, and delays no other client."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        limit = 64 * 1024
        async with (
            serving(client_buffer=limit, kernel_buffer=4096) as rig,
            rig.connect() as other,
            unread(rig) as client,
        ):
            connection = rig.gateway._sockets[rig.connection_id()]
            flood = PING_125 * 100_000  # 13 MB
            sending = asyncio.ensure_future(loop.sock_sendall(client, flood))
            await eventually(lambda: not connection._transport.is_reading())
            await pong(other)
            sending.cancel()

            # Pongs to one more read of at most 256 KB may come on top of the limit.
            assert limit < connection._transport.get_write_buffer_size() < limit + 256 * 1024
            assert connection.open

    asyncio.run(scenario())


def test_an_idle_congested_client_is_dropped() -> None:
    """A client that neither reads nor answers is closed, although its buffer is full."""

    async def scenario() -> None:
        async with (
            serving(client_buffer=1024, kernel_buffer=4096, idle=600, closing=0.1) as rig,
            unread(rig),
        ):
            connection = rig.gateway._sockets[rig.connection_id()]
            await fill(connection)
            connection.active -= 601
            context = await rig.disconnected()
            assert context["disconnectStatusCode"] == CloseCode.GOING_AWAY

    asyncio.run(scenario())

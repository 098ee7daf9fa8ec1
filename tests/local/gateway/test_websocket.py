import asyncio
import base64
import os
import socket
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
    """A frame of exactly 32 KB goes through."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws:
            await ws.send("x" * FRAME)
            await eventually(lambda: bodies(rig) == ["x" * FRAME])

    asyncio.run(scenario())


def test_a_larger_frame_closes_with_1009() -> None:
    """One byte more ends the connection, and `$disconnect` says why."""

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
    """The frames together count, too."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws:
            await ws.send(["x" * FRAME] * 4 + ["x"])

            assert (await closing(ws))[0] == 1009
            assert (await rig.disconnected())["disconnectStatusCode"] == 1009
            assert bodies(rig) == []

    asyncio.run(scenario())


# Content


def test_fragments_become_one_message() -> None:
    """Fragments are joined, also when a character is cut in two and a ping comes between."""

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
    """API Gateway takes text only."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws:
            await ws.send(data)

            assert (await closing(ws))[0] == 1003
            assert (await rig.disconnected())["disconnectStatusCode"] == 1003
            assert bodies(rig) == []

    asyncio.run(scenario())


@pytest.mark.parametrize("data", [b"\xff", b"a\xc3", b"\xed\xa0\x80"])
def test_text_that_is_not_utf8_closes_with_1007(data: bytes) -> None:
    """Invalid UTF-8, a cut character and a lone surrogate never become an event."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws:
            await ws.send(data, text=True)

            assert (await closing(ws))[0] == 1007
            assert (await rig.disconnected())["disconnectStatusCode"] == 1007
            assert bodies(rig) == []

    asyncio.run(scenario())


def test_nothing_counts_after_a_violation() -> None:
    """Messages that arrive together with a violation, but after it, are not delivered."""

    async def scenario() -> None:
        async with serving() as rig, unread(rig) as client:
            text, binary, bad = (bytes([op, 0x81]) + MASK for op in (0x81, 0x82, 0x81))
            data = text + b"1" + binary + b"2" + bad + b"\xff" + text + b"3"
            await asyncio.get_running_loop().sock_sendall(client, data)

            assert (await rig.disconnected())["disconnectStatusCode"] == 1003
            assert bodies(rig) == ["1"]

    asyncio.run(scenario())


def test_a_message_right_before_the_close_counts() -> None:
    """What a client said before it left, even in the same packet, is delivered."""

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
def test_garbage_closes_with_1002(data: bytes) -> None:
    """Unmasked frames, reserved bits and stray continuations end that connection and no other."""

    async def scenario() -> None:
        async with serving() as rig, rig.connect() as ws, unread(rig) as client:
            await asyncio.get_running_loop().sock_sendall(client, data)

            assert (await rig.disconnected())["disconnectStatusCode"] == 1002
            await pong(ws)

    asyncio.run(scenario())


# Ends


@pytest.mark.parametrize(
    ("code", "reason", "told"),
    [
        (1000, "", ""),
        (1000, "done", "done"),
        (1001, "", "Going away"),
        (4000, "mine", "mine"),
    ],
)
def test_disconnect_tells_the_clients_code(code: int, reason: str, told: str) -> None:
    """The client's close code and reason reach `$disconnect`, once."""

    async def scenario() -> None:
        async with serving() as rig:
            ws = await rig.connect()
            await ws.close(code, reason)

            context = await rig.disconnected()
            await asyncio.sleep(0.05)
            assert context["disconnectStatusCode"] == code
            assert context["disconnectReason"] == told
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
def test_disconnect_tells_a_careless_end(data: bytes, code: int, reason: str) -> None:
    """A close frame without a code is 1005; a connection that just ends is 1006."""

    async def scenario() -> None:
        async with serving() as rig:
            async with unread(rig) as client:
                await asyncio.get_running_loop().sock_sendall(client, data)
            context = await rig.disconnected()
            assert (context["disconnectStatusCode"], context["disconnectReason"]) == (code, reason)

    asyncio.run(scenario())


def test_a_client_that_resets_is_1006() -> None:
    """A reset connection is disconnected once, like any other."""

    async def scenario() -> None:
        async with serving() as rig:
            ws = await rig.connect()
            ws.transport.abort()
            assert (await rig.disconnected())["disconnectStatusCode"] == 1006
            await asyncio.sleep(0.05)
            assert len(rig.of("DISCONNECT")) == 1

    asyncio.run(scenario())


def test_idle_connections_are_closed() -> None:
    """Ten minutes (here: less) without a frame, and the connection is closed with 1001."""

    async def scenario() -> None:
        async with serving(idle=0.1) as rig, rig.connect(ping_interval=None) as ws:
            assert await closing(ws) == (1001, "Going away")
            context = await rig.disconnected()
            assert context["disconnectStatusCode"] == 1001
            assert context["disconnectReason"] == "Going away"

    asyncio.run(scenario())


@pytest.mark.parametrize("traffic", ["message", "ping", "post"])
def test_traffic_keeps_a_connection_open(traffic: str) -> None:
    """Messages, protocol pings and what is posted all count as activity, each by itself."""

    async def scenario() -> None:
        async with serving(idle=0.3) as rig, rig.connect(ping_interval=None) as ws:
            connection = rig.gateway._sockets[rig.connection_id()]
            for _ in range(6):
                await asyncio.sleep(0.1)
                if traffic == "message":
                    await ws.send("hi")
                elif traffic == "ping":
                    await ws.ping()
                else:
                    connection.send(b"hello")
            assert connection.open

    asyncio.run(scenario())


def test_a_connection_has_a_longest_life() -> None:
    """Two hours (here: less), and the connection is closed however busy it is."""

    async def scenario() -> None:
        async with serving(life=0.2) as rig, rig.connect(ping_interval=0.02) as ws:
            assert (await closing(ws))[0] == 1001
            assert (await rig.disconnected())["disconnectStatusCode"] == 1001

    asyncio.run(scenario())


def test_a_client_that_does_not_answer_the_close_is_dropped() -> None:
    """After a grace period the connection is cut; its code is still the server's."""

    async def scenario() -> None:
        async with serving(idle=0.05, closing=0.1) as rig, unread(rig):
            assert (await rig.disconnected())["disconnectStatusCode"] == 1001
            assert not rig.gateway._sockets

    asyncio.run(scenario())


# Back-pressure


async def fill(connection: Socket) -> None:
    """Send until the connection says that its client does not read."""
    async with asyncio.timeout(PATIENCE):
        while not connection.congested:
            connection.send(b"x" * 8192)
            await asyncio.sleep(0)


def test_the_buffer_of_a_client_that_does_not_read_is_bounded() -> None:
    """A connection is congested once its client leaves more than its buffer; it recovers."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with (
            serving(client_buffer=64 * 1024, kernel_buffer=4096) as rig,
            unread(rig) as client,
        ):
            connection = rig.gateway._sockets[rig.connection_id()]
            await fill(connection)

            async def read_on() -> None:
                while await loop.sock_recv(client, 65536):
                    pass

            reading = asyncio.create_task(read_on())
            await eventually(lambda: not connection.congested)
            await loop.sock_sendall(client, b"\x81\x82" + MASK + b"hi")
            await eventually(lambda: bodies(rig) == ["hi"])
            reading.cancel()

    asyncio.run(scenario())


def test_the_kernels_buffer_is_bounded_too() -> None:
    """What the kernel holds for a client is our choice, not megabytes."""

    async def scenario() -> int:
        async with serving(kernel_buffer=10_000) as rig, rig.connect():
            transport = rig.gateway._sockets[rig.connection_id()]._transport
            peer = transport.get_extra_info("socket")
            return int(peer.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF))

    assert asyncio.run(scenario()) in {10_000, 20_000}  # Linux doubles it for its own records


def test_a_flood_of_pings_is_not_read_faster_than_its_pongs() -> None:
    """A client that pings and never reads is stopped, costs bounded memory, and hurts nobody."""

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
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(loop.sock_sendall(client, flood), 0.5)
            await pong(other)

            # Pongs to one more read of at most 256 KB may come on top of the limit.
            assert limit < connection._transport.get_write_buffer_size() < limit + 256 * 1024
            assert connection.open

    asyncio.run(scenario())


def test_a_dead_congested_client_is_dropped() -> None:
    """A client that neither reads nor answers is closed as idle, although its buffer is full."""

    async def scenario() -> None:
        async with (
            serving(client_buffer=1024, kernel_buffer=4096, idle=0.1, closing=0.1) as rig,
            unread(rig),
        ):
            connection = rig.gateway._sockets[rig.connection_id()]
            await fill(connection)
            context = await rig.disconnected()
            assert context["disconnectStatusCode"] == CloseCode.GOING_AWAY

    asyncio.run(scenario())

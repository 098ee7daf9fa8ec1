"""Covers bedrock_chat/connection.py, against real servers on loopback with scripted behaviour."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import chain, repeat

import pytest
from support.e2e_clients import PATIENCE, text
from support.reference_server import Frame, Server
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from bedrock_chat import connection, protocol
from bedrock_chat.connection import (
    AccessDeniedError,
    Connection,
    ConnectionLostError,
    Endpoint,
)
from bedrock_chat.protocol import Exchange

DONE = {"type": "done", "stop_reason": "end_turn"}
SHORT_PAUSES = (0.0, 0.01, 0.01, 0.01)

Behaviour = Callable[[ServerConnection, Server], Awaitable[None]]


@dataclass
class Site:
    """A server's URL, how many connections it had, and the statuses that its client reported."""

    url: str
    server: Server
    connections: int = 0
    statuses: list[str] = field(default_factory=list)

    async def ask(self) -> list[Frame]:
        """Ask one question; return the frames that the client delivers."""
        client = Connection(Endpoint(url=self.url), self.statuses.append, SHORT_PAUSES)
        async with asyncio.timeout(PATIENCE):
            try:
                return [each async for each in client.stream(Exchange(protocol.chat("?", "s")))]
            finally:
                await client.close()


def answers(count: int = 99) -> Behaviour:
    """Answer, and close the connection after so many frames."""

    async def behave(socket: ServerConnection, server: Server) -> None:
        left = count
        async for message in socket:
            for frame in server.answer(json.loads(message)):
                if left == 0:
                    return
                await socket.send(json.dumps(frame))
                left -= 1

    return behave


async def closes(socket: ServerConnection, _server: Server) -> None:
    """Close the connection at the first message, before the server has seen it."""
    await socket.recv()


@asynccontextmanager
async def site(*behaviours: Behaviour, words: int = 9) -> AsyncIterator[Site]:
    """A server that gives each connection the next behaviour, and all further ones the last."""
    found = Site("", Server([f"{n} " for n in range(words)], DONE))
    next_behaviour: Iterator[Behaviour] = chain(behaviours, repeat(behaviours[-1]))

    async def connected(socket: ServerConnection) -> None:
        found.connections += 1
        await next(next_behaviour)(socket, found.server)

    async with serve(connected, "127.0.0.1", 0) as running:
        found.url = f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}"
        yield found


@pytest.mark.parametrize("counts", [[1] * 10, [0, 3, 0, 0, 2], [5], [0, 0, 0], []])
def test_connections_that_break(counts: list[int]) -> None:
    """After any number of frames: the answer is complete, and the question is accepted once."""

    async def scenario() -> tuple[Site, list[Frame]]:
        async with site(*map(answers, counts), answers()) as there:
            return there, await there.ask()

    there, frames = asyncio.run(scenario())
    assert "".join(there.server.words) == text(frames)
    assert there.server.frames == frames
    assert (1, len(counts) + 1) == (there.server.accepted, there.connections)
    assert bool(counts) == any(there.statuses)
    assert "" == (there.statuses or [""])[-1]  # connected again


def test_a_connection_that_always_breaks() -> None:
    """It is given up after as many attempts as there are pauses, with a sentence."""

    async def scenario() -> Site:
        async with site(closes) as there:
            with pytest.raises(ConnectionLostError, match="The connection was lost"):
                await there.ask()
            return there

    assert len(SHORT_PAUSES) == asyncio.run(scenario()).connections


def test_a_server_that_is_gone(closed_port: int) -> None:
    """It is given up after as many attempts, too."""
    gone = Site(f"ws://127.0.0.1:{closed_port}", Server([], DONE))
    with pytest.raises(ConnectionLostError, match=r"lost: cannot reach .*: Connection refused"):
        asyncio.run(gone.ask())
    assert len(SHORT_PAUSES) - 1 == len(gone.statuses)


@pytest.fixture
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silence is noticed soon; a pong may take as long as this machine needs."""
    monkeypatch.setattr(connection, "SILENT_SECONDS", 0.05)
    monkeypatch.setattr(connection, "PONG_SECONDS", PATIENCE)


async def stalls(socket: ServerConnection, server: Server) -> None:
    """A function that crashed after two frames; a resume returns the rest."""
    frames = server.answer(json.loads(await socket.recv()))
    for frame in frames[:2]:
        await socket.send(json.dumps(frame))
    await answers()(socket, server)


@pytest.mark.usefixtures("short_silence")
def test_a_silent_answer_is_resumed() -> None:
    """On the same connection, if it answers a ping."""

    async def scenario() -> tuple[Site, list[Frame]]:
        async with site(stalls, answers()) as there:
            return there, await there.ask()

    there, frames = asyncio.run(scenario())
    assert there.server.frames == frames
    assert 1 == there.connections


@pytest.mark.usefixtures("short_silence")
def test_a_dead_connection_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is open and carries nothing, as after a laptop's sleep, does not answer a ping."""
    monkeypatch.setattr(connection, "PONG_SECONDS", 0.05)

    async def is_dead(socket: ServerConnection, server: Server) -> None:
        await socket.send(json.dumps(server.answer(json.loads(await socket.recv()))[0]))
        async for _ in socket:
            pass

    async def lives(socket: ServerConnection, server: Server) -> None:
        monkeypatch.setattr(connection, "PONG_SECONDS", PATIENCE)
        await answers()(socket, server)

    async def scenario() -> tuple[Site, list[Frame]]:
        async with site(is_dead, lives) as there:
            return there, await there.ask()

    there, frames = asyncio.run(scenario())
    assert there.server.frames == frames
    assert 2 == there.connections


@pytest.mark.usefixtures("short_silence")
def test_an_answer_that_never_continues_is_given_up() -> None:
    """Even if the server answers every ping."""

    async def only_pongs(socket: ServerConnection, _server: Server) -> None:
        async for message in socket:
            if json.loads(message)["action"] == "ping":
                await socket.send('{"type":"pong"}')

    async def scenario() -> None:
        async with site(only_pongs) as there:
            with pytest.raises(ConnectionLostError, match="has stopped arriving"):
                await there.ask()

    asyncio.run(scenario())


STATUSES: Sequence[tuple[int, type[Exception], str]] = [
    (400, ConnectionLostError, "returned status 400: this is not a chat endpoint"),
    (401, AccessDeniedError, "with status 401"),
    (403, AccessDeniedError, "--sign .* or --token"),
    (404, ConnectionLostError, "not a chat endpoint"),
    (429, ConnectionLostError, "returned status 429"),
    (500, ConnectionLostError, "returned status 500"),
    (503, ConnectionLostError, "returned status 503"),
]


@pytest.mark.parametrize(("status", "error", "message"), STATUSES)
def test_a_handshake_that_fails(status: int, error: type[Exception], message: str) -> None:
    """Only a transient failure is retried; a refusal is reported at once."""
    attempts = 0

    def refuse(socket: ServerConnection, _request: Request) -> Response:
        nonlocal attempts
        attempts += 1
        return socket.respond(HTTPStatus(status), "no")

    async def unreachable(_: ServerConnection) -> None:
        raise AssertionError

    async def scenario() -> None:
        async with serve(unreachable, "127.0.0.1", 0, process_request=refuse) as running:
            port = running.sockets[0].getsockname()[1]
            with pytest.raises(error, match=message):
                await Site(f"ws://127.0.0.1:{port}", Server([], DONE)).ask()

    asyncio.run(scenario())
    assert (len(SHORT_PAUSES) if status in (429, 500, 503) else 1) == attempts


def test_a_stop_without_a_connection() -> None:
    """It is sent as soon as there is one."""

    async def scenario() -> Server:
        async with site(answers()) as there:
            client, exchange = (
                Connection(Endpoint(url=there.url)),
                Exchange(protocol.chat("?", "s")),
            )
            await client.stop(exchange)
            async for _ in client.stream(exchange):
                pass
            await client.close()
            return there.server

    assert asyncio.run(scenario()).stopped


@pytest.mark.parametrize(
    "url",
    [
        "ws://",
        "ws://host:abc",
        "ws://host:99999",
        "ws://a..b",
        "wss://h/#x",
        "ws://[::1",
        "http://h",
    ],
)
def test_an_invalid_url(url: str) -> None:
    """It is rejected before an attempt to connect; its query is not shown."""
    full = url if "#" in url else f"{url}?secret"
    error = Endpoint(url=full).validation_error()
    assert error.startswith(f"'{url}' is not a valid ws:// or wss:// URL: ")
    assert "secret" not in error


@pytest.mark.parametrize("token", ["Bearer ey.J", "ey J", "eyJ=", "eyJ\n", "é"])
def test_an_invalid_token(token: str) -> None:
    """It is rejected, too, and never shown."""
    error = Endpoint(url="ws://h", token=token).validation_error()
    assert error.startswith("The token contains a character that cannot be sent")
    assert token.strip() not in error


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:3001", "ws://[::1]:1/a?b=c", "wss://é.example/live"]
)
def test_a_valid_endpoint(url: str) -> None:
    """It has no validation error, with a token or without."""
    endpoints = [Endpoint(url=url, token=token) for token in ("", "eyJ.a-b_c.d")]
    assert ["", ""] == [each.validation_error() for each in endpoints]


def test_pauses_grow_to_a_minute() -> None:
    """In total; the first attempt is immediate."""
    assert 0 == connection.PAUSES[0]
    assert list(connection.PAUSES) == sorted(connection.PAUSES)
    assert 55 <= sum(connection.PAUSES) <= 65

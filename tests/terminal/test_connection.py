"""Covers bedrock_chat/connection.py, against real servers on loopback that do as a test wants."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

import pytest
from support.e2e_clients import PATIENCE, free_port, text
from support.reference_server import Frame, Server
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from bedrock_chat import connection, protocol
from bedrock_chat.connection import Door, Link, LostError, RefusedError
from bedrock_chat.protocol import Exchange

DONE = {"type": "done", "stop_reason": "end_turn"}
QUICK = (0.0, 0.01, 0.01, 0.01)

Behaviour = Callable[[ServerConnection, Server], Awaitable[None]]


@dataclass
class Place:
    """Where a server is, what it did with each connection, and what the client was told of it."""

    url: str
    server: Server
    connections: int = 0
    noticed: list[str] = field(default_factory=list)

    async def told(self) -> list[Frame]:
        """What a client hears of one question."""
        link = Link(Door(url=self.url), self.noticed.append, QUICK)
        async with asyncio.timeout(PATIENCE):
            try:
                return [each async for each in link.talk(Exchange(protocol.chat("?", "s")))]
            finally:
                await link.close()


def says(count: int = 99) -> Behaviour:
    """Answers, and hangs up after so many frames."""

    async def behave(socket: ServerConnection, server: Server) -> None:
        left = count
        async for asked in socket:
            for frame in server.answer(json.loads(asked)):
                if left == 0:
                    return
                await socket.send(json.dumps(frame))
                left -= 1

    return behave


async def hangs_up(socket: ServerConnection, _server: Server) -> None:
    """As a network does that is in trouble: nothing was heard, and it is over."""
    await socket.recv()


@asynccontextmanager
async def place(behaviours: Iterator[Behaviour], words: int = 9) -> AsyncIterator[Place]:
    """A server that does with each connection as the next of these says."""
    found = Place("", Server([f"{n} " for n in range(words)], DONE))

    async def connected(socket: ServerConnection) -> None:
        found.connections += 1
        await next(behaviours)(socket, found.server)

    async with serve(connected, "127.0.0.1", 0) as running:
        found.url = f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}"
        yield found


@pytest.mark.parametrize("behaviours", [[1] * 10, [0, 3, 0, 0, 2], [5], [0, 0, 0], []])
def test_connections_that_break(behaviours: list[int]) -> None:
    """After however many frames: the answer is whole, and the question was taken once."""

    async def scenario() -> tuple[Place, list[Frame]]:
        async with place(iter([*map(says, behaviours), says()])) as there:
            return there, await there.told()

    there, told = asyncio.run(scenario())
    assert "".join(there.server.words) == text(told)
    assert there.server.frames == told
    assert (1, len(behaviours) + 1) == (there.server.taken, there.connections)
    assert bool(behaviours) == any(there.noticed)
    assert "" == (there.noticed or [""])[-1]  # connected again


def test_a_connection_that_always_breaks() -> None:
    """Is given up after as many tries as there are pauses, with a sentence."""

    async def scenario() -> Place:
        async with place(iter([hangs_up] * 99)) as there:
            with pytest.raises(LostError, match="The connection is lost"):
                await there.told()
            return there

    assert len(QUICK) == asyncio.run(scenario()).connections


def test_nobody_answers_any_more() -> None:
    """The same where there is nobody to connect to."""
    nowhere = Place(f"ws://127.0.0.1:{free_port()}", Server([], DONE))
    with pytest.raises(LostError, match=r"lost: .* cannot be reached: Connection refused"):
        asyncio.run(nowhere.told())
    assert len(QUICK) - 1 == len(nowhere.noticed)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SILENT_SECONDS", 0.2)
    monkeypatch.setattr(connection, "PONG_SECONDS", 0.2)


async def goes_silent(socket: ServerConnection, server: Server) -> None:
    """A server whose function crashed after two frames; it tells the rest to whoever asks."""
    told = server.answer(json.loads(await socket.recv()))
    for frame in told[:2]:
        await socket.send(json.dumps(frame))
    await says()(socket, server)


async def is_dead(socket: ServerConnection, server: Server) -> None:
    """A connection that is open and carries nothing any more, as after a laptop's sleep."""
    await socket.send(json.dumps(server.answer(json.loads(await socket.recv()))[0]))
    async for _ in socket:
        pass


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("first", "connections"), [(goes_silent, 1), (is_dead, 2)])
def test_silence(first: Behaviour, connections: int) -> None:
    """A server that lives is asked again, and a connection that is dead is left."""

    async def scenario() -> tuple[Place, list[Frame]]:
        async with place(iter([first, says()])) as there:
            return there, await there.told()

    there, told = asyncio.run(scenario())
    assert there.server.frames == told
    assert connections == there.connections


@pytest.mark.usefixtures("impatient")
def test_silence_for_ever() -> None:
    """A server that only says that it is there is left in the end."""

    async def only_pong(socket: ServerConnection, _server: Server) -> None:
        async for asked in socket:
            if json.loads(asked)["action"] == "ping":
                await socket.send('{"type":"pong"}')

    async def scenario() -> None:
        async with place(iter([only_pong])) as there:
            with pytest.raises(LostError, match="says nothing more"):
                await there.told()

    asyncio.run(scenario())


STATUSES: Sequence[tuple[int, type[Exception], str]] = [
    (400, LostError, "answers 400: that is no chat"),
    (401, RefusedError, "answered 401"),
    (403, RefusedError, "--sign or --token"),
    (404, LostError, "that is no chat"),
    (429, LostError, "answers 429"),
    (500, LostError, "answers 500"),
    (503, LostError, "answers 503"),
]


@pytest.mark.parametrize(("status", "error", "said"), STATUSES)
def test_a_handshake_that_fails(status: int, error: type[Exception], said: str) -> None:
    """Only what may pass is tried again; who is not let in hears so at once."""
    tried = 0

    def refuse(socket: ServerConnection, _request: Request) -> Response:
        nonlocal tried
        tried += 1
        return socket.respond(HTTPStatus(status), "no")

    async def scenario() -> None:
        async with serve(_never, "127.0.0.1", 0, process_request=refuse) as running:
            port = running.sockets[0].getsockname()[1]
            with pytest.raises(error, match=said):
                await Place(f"ws://127.0.0.1:{port}", Server([], DONE)).told()

    asyncio.run(scenario())
    assert (len(QUICK) if status in (429, 500, 503) else 1) == tried


async def _never(_: ServerConnection) -> None:
    """Nobody comes so far."""


def test_a_stop_while_there_is_no_connection() -> None:
    """Is asked as soon as there is one."""

    async def scenario() -> Server:
        async with place(iter([says()])) as there:
            link, exchange = Link(Door(url=there.url)), Exchange(protocol.chat("?", "s"))
            await link.stop(exchange)
            async for _ in link.talk(exchange):
                pass
            await link.close()
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
def test_what_is_no_url(url: str) -> None:
    """Is known before it is tried; what follows `?` is not shown."""
    said = Door(url=f"{url}?secret").mistake() if "#" not in url else Door(url=url).mistake()
    assert said.startswith(f"'{url}' is not a ws:// or wss:// URL: ")
    assert "secret" not in said


@pytest.mark.parametrize("token", ["Bearer ey.J", "ey J", "eyJ=", "eyJ\n", "é"])
def test_what_is_no_token(token: str) -> None:
    """Is known, too, and never shown."""
    said = Door(url="ws://h", token=token).mistake()
    assert said.startswith("The token has a character that cannot be sent")
    assert token.strip() not in said


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:3001", "ws://[::1]:1/a?b=c", "wss://é.example/live"]
)
def test_what_may_be_opened(url: str) -> None:
    """Is no mistake, with a token or without."""
    assert ["", ""] == [Door(url=url, token=token).mistake() for token in ("", "eyJ.a-b_c.d")]


def test_pauses_grow_to_a_minute() -> None:
    """Together; the first try is at once, and silent."""
    assert 0 == connection.PAUSES[0]
    assert list(connection.PAUSES) == sorted(connection.PAUSES)
    assert 55 <= sum(connection.PAUSES) <= 65

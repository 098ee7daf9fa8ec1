"""The connection to the server: one at a time, and another when it breaks.

Rules
- Whoever is not let in hears so at once; what may pass is tried again, later and later, with a
  little chance in it so that many clients do not come at once, and not for ever.
- Between questions a connection may go: API Gateway closes one that was idle for ten minutes, and
  any after two hours. The next question opens another one and says nothing of it.
- Where an answer goes silent, the connection is tested with the protocol's own `ping`, which API
  Gateway answers by itself, and the request is asked for again: a server that crashed in the middle
  is found out in no other way (docs/reliability.md).
- A signature is made anew for each connection, for it lasts only minutes.

Does not know what is said, or how it is shown.
"""

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.headers import validate_subprotocols
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from bedrock_chat.disarm import disarm
from bedrock_chat.protocol import PING, Exchange, Frame, fragments, read, written
from bedrock_chat.signing import UrlError, own_credentials, presigned, region_of

OPEN_SECONDS = 30.0  # a cold start of the authorizer and of the function, one after the other
CLOSE_SECONDS = 1.0
SIGNED_SECONDS = 60  # a signature is used at once

# Before each try to connect, up to this and at least half of it: a minute in all. The first is at
# once, and silent: that a connection has gone is a matter of course.
PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0)

# An answer is silent while the model is; the server waits for it for a minute (STALL_SECONDS).
SILENT_SECONDS = 20.0
PONG_SECONDS = 10.0
# A resume may wait 35 s for a crashed function's lease; nothing is worth waiting for longer.
MOST_SILENCES = 6

TRANSIENT = (408, 425, 429)
REFUSALS = (401, 403)


class RefusedError(Exception):
    """The server lets this person not in. The message says so."""


class LostError(Exception):
    """There is no connection to be had. The message says why."""


class _NotNowError(Exception):
    """It may work later. The message says what happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where to connect, and how to be let in. `region`: of `url`, where that does not tell it."""

    url: str
    token: str = ""
    sign: bool = False
    region: str = ""
    profile: str | None = None

    async def open(self) -> ClientConnection:
        """A connection. Raises RefusedError, LostError where it will never work, _NotNowError."""
        try:
            return await connect(
                await asyncio.to_thread(self._signed) if self.sign else self.url,
                subprotocols=self._protocols() or None,
                open_timeout=OPEN_SECONDS,
                close_timeout=CLOSE_SECONDS,
                compression=None,  # a frame's size is then what it takes on the wire
                ping_interval=None,  # see the rules; API Gateway documents no answer to ping frames
            )
        except UrlError as error:
            raise RefusedError(str(error)) from None
        except InvalidStatus as error:
            raise _refusal(self, error.response.status_code) from None
        except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as error:
            raise _NotNowError(f"{self.place} cannot be reached: {_said(error)}") from None

    @property
    def place(self) -> str:
        """The URL as it may be shown: a token or a signature may be in the rest."""
        return self.url.partition("?")[0]

    def mistake(self) -> str:
        """Why it can never be opened, in a sentence that shows no token; empty where it may be."""
        try:
            parse_uri(self.url).host.encode("idna")  # as the look-up of its address will
        except (InvalidURI, ValueError) as error:
            why = error.msg if isinstance(error, InvalidURI) else error
            return f"{self.place!r} is not a ws:// or wss:// URL: {why}."
        try:
            validate_subprotocols(self._protocols())
        except ValueError:
            return (
                "The token has a character that cannot be sent, such as a blank or a line feed. "
                "Give the token alone, without the word Bearer."
            )
        return ""

    def _protocols(self) -> list[Subprotocol]:
        names = ("chat.v1", f"bearer.{self.token}") if self.token else ()
        return [Subprotocol(name) for name in names]

    def _signed(self) -> str:
        region = self.region or region_of(self.url)
        return presigned(self.url, own_credentials(self.profile), region, expires=SIGNED_SECONDS)


def _refusal(door: Door, status: int) -> Exception:
    if status in REFUSALS:
        means = "token" if door.token else "signature" if door.sign else "request"
        without = "" if door.token or door.sign else " --sign or --token may be what it wants."
        return RefusedError(f"You are not let in: the {means} was answered {status}.{without}")
    said = f"{door.place} answers {status}"
    if status >= 500 or status in TRANSIENT:
        return _NotNowError(said)
    return LostError(f"{said}: that is no chat.")


def _said(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {OPEN_SECONDS:.0f} s"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return disarm(str(error)) or type(error).__name__  # it may quote what was answered


class Link:
    """A link to the server, that is opened when it is needed. `notice` is told how it fares."""

    def __init__(
        self,
        door: Door,
        notice: Callable[[str], None] = lambda _: None,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self.notice = notice
        self._door = door
        self._pauses = pauses
        self._socket: ClientConnection | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection now."""
        return self._socket is not None and self._socket.state is State.OPEN

    async def open(self) -> None:
        """Connects, in one try. Raises RefusedError, LostError."""
        try:
            self._socket = await self._door.open()
        except _NotNowError as error:
            raise LostError(f"{error}.") from None

    async def close(self) -> None:
        """Hangs up."""
        if self._socket is not None:
            await self._socket.close()

    async def stop(self, exchange: Exchange) -> None:
        """Asks for the answer to end, now or as soon as there is a connection."""
        frames = exchange.stop()
        if self._socket is not None and self.is_open:
            with suppress(ConnectionClosed):
                await self._send(self._socket, frames)

    async def talk(self, exchange: Exchange) -> AsyncGenerator[Frame, None]:
        """The request's frames, each once. Raises RefusedError, LostError."""
        fruitless = 0
        while not exchange.over:
            socket = await self._connected(fruitless)
            try:
                async with aclosing(self._frames(socket, exchange)) as frames:
                    async for frame in frames:
                        fruitless = 0
                        yield frame
            except ConnectionClosed:
                fruitless += 1

    async def _connected(self, fruitless: int) -> ClientConnection:
        """The connection, or a new one; `fruitless`: how many before it broke and told nothing."""
        if self._socket is not None and self.is_open:
            return self._socket
        why = "the connection broke each time"
        for tried, pause in list(enumerate(self._pauses))[fruitless:]:
            if pause:
                self.notice(f"reconnecting, {tried} of {len(self._pauses) - 1} …")
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            try:
                self._socket = await self._door.open()
            except _NotNowError as error:
                why = str(error)
            else:
                self.notice("")
                return self._socket
        raise LostError(f"The connection is lost: {why}.")

    async def _frames(
        self, socket: ClientConnection, exchange: Exchange
    ) -> AsyncGenerator[Frame, None]:
        """What comes of the request on this connection. Raises ConnectionClosed, LostError."""
        await self._send(socket, exchange.ask())
        silences, waiting = 0, False  # for a sign of life
        while not exchange.over:
            try:
                async with asyncio.timeout(PONG_SECONDS if waiting else SILENT_SECONDS):
                    frame = read(await socket.recv())
            except TimeoutError:
                silences += 1
                if silences >= MOST_SILENCES:
                    raise LostError("The server is there, and says nothing more.") from None
                if waiting:
                    await socket.close()  # and so the next `recv` says
                else:
                    await self._send(socket, [PING, *exchange.ask()])
                waiting = True
                continue
            waiting = False
            due, asked = exchange.hear(frame)
            await self._send(socket, asked)
            for each in due:
                silences = 0
                yield each

    async def _send(self, socket: ClientConnection, frames: Sequence[Frame]) -> None:
        for frame in frames:
            text = fragments(written(frame))
            await socket.send(text if len(text) > 1 else text[0])

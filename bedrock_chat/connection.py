"""A WebSocket connection to the server that reconnects when it breaks.

Rules
- One socket at a time. A handshake that is refused for authentication fails at once; a transient
  failure is retried a limited number of times, with growing, randomized pauses so that many clients
  do not reconnect at the same moment.
- Between questions the connection may close: API Gateway closes one that was idle for ten minutes,
  and any after two hours. The next question opens a new one without a message.
- When an answer is silent for too long, the connection is tested with the protocol's `ping`, which
  API Gateway answers itself, and the request is sent again: this is the only way to detect a
  function that crashed in the middle of an answer (docs/reliability.md).
- Each connection gets a new signature, because one is valid for minutes only; and a token that is
  still valid, where the user signed in.

Does not know what the frames mean or how they are shown.
"""

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.headers import validate_subprotocols
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from bedrock_chat.issuer import SignInError
from bedrock_chat.json_requests import UnreachableError
from bedrock_chat.protocol import PING, Exchange, Frame, decode, encode, fragments
from bedrock_chat.sanitize import sanitize
from bedrock_chat.signing import UrlError, own_credentials, presigned, region_of

if TYPE_CHECKING:
    from bedrock_chat.sign_in import SignIn

OPEN_SECONDS = 30.0  # cold starts of the authorizer and of the function, one after the other
CLOSE_SECONDS = 1.0
SIGNATURE_SECONDS = 60  # a signature is used immediately

# The longest pause before each connection attempt; the shortest is half of it. About a minute in
# all. The first attempt is immediate and without a message: a closed connection is normal.
PAUSES = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0)

# While the model is silent, so is the answer; the server waits a minute for it (STALL_SECONDS).
SILENT_SECONDS = 20.0
PONG_SECONDS = 10.0
# A resume may wait up to 35 s until a crashed function's lease expires; this is well above it.
MAX_SILENCES = 6

TRANSIENT_STATUSES = (408, 425, 429)  # and every 5xx
AUTHENTICATION_STATUSES = (401, 403)
AUTHENTICATE = (
    "Use --sign (IAM) or --token (JWT) to authenticate, or sign in: the URL is then that of the "
    "server's web page."
)


class AccessDeniedError(Exception):
    """The server refused the credentials, or there are none. The message says which."""


class ConnectionLostError(Exception):
    """There is no connection, and no further attempt is made. The message says why."""


class _TransientError(Exception):
    """A connection attempt failed, and another may succeed. The message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A server's URL and the credentials for it.

    `region` is needed with `sign` where the URL's host name does not contain it; `token` is a token
    of the user's own, `sign_in` where to get one.
    """

    url: str
    token: str = ""
    sign_in: "SignIn | None" = None
    sign: bool = False
    region: str = ""
    profile: str | None = None

    async def connect(self) -> ClientConnection:
        """Open a socket. Raises AccessDeniedError, ConnectionLostError, _TransientError."""
        try:
            token = await asyncio.to_thread(self.sign_in.token) if self.sign_in else self.token
            socket = await connect(
                await asyncio.to_thread(self._signed_url) if self.sign else self.url,
                subprotocols=_subprotocols(token) or None,
                open_timeout=OPEN_SECONDS,
                close_timeout=CLOSE_SECONDS,
                compression=None,  # a frame's size is then its size on the wire
                ping_interval=None,  # API Gateway does not document that it answers ping frames
            )
        except (UrlError, SignInError) as error:
            raise AccessDeniedError(str(error)) from None
        except UnreachableError as error:
            raise _TransientError(str(error).rstrip(".")) from None
        except InvalidStatus as error:
            raise _handshake_error(self, error.response.status_code) from None
        except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as error:
            raise _TransientError(f"cannot reach {self.display_url}: {_reason(error)}") from None
        if self.sign_in:
            self.sign_in.accepted()
        return socket

    @property
    def display_url(self) -> str:
        """The URL without its query, which may contain a token or a signature."""
        return self.url.partition("?")[0]

    def validation_error(self) -> str:
        """Return why this endpoint is invalid, without showing the token; empty if it is valid."""
        try:
            parse_uri(self.url).host.encode("idna")  # as name resolution will
        except (InvalidURI, ValueError) as error:
            reason = error.msg if isinstance(error, InvalidURI) else error
            return f"{self.display_url!r} is not a valid ws:// or wss:// URL: {reason}."
        try:
            validate_subprotocols(_subprotocols(self.token))
        except ValueError:
            return (
                "The token contains a character that cannot be sent, such as a space or a line "
                "feed. Pass the token alone, without the prefix Bearer."
            )
        return ""

    def _signed_url(self) -> str:
        region = self.region or region_of(self.url)
        return presigned(self.url, own_credentials(self.profile), region, expires=SIGNATURE_SECONDS)


def _subprotocols(token: str) -> list[Subprotocol]:
    names = ("chat.v1", f"bearer.{token}") if token else ()
    return [Subprotocol(name) for name in names]


def _handshake_error(endpoint: Endpoint, status: int) -> Exception:
    if status in AUTHENTICATION_STATUSES:
        has_token = endpoint.token or endpoint.sign_in
        refused = "token" if has_token else "signature" if endpoint.sign else "request"
        hint = "" if has_token or endpoint.sign else f" {AUTHENTICATE}"
        return AccessDeniedError(
            f"Not authenticated: the server rejected the {refused} with status {status}.{hint}"
        )
    message = f"{endpoint.display_url} returned status {status}"
    if status >= 500 or status in TRANSIENT_STATUSES:
        return _TransientError(message)
    return ConnectionLostError(f"{message}: this is not a chat endpoint.")


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no response within {OPEN_SECONDS:.0f} s"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return sanitize(str(error)) or type(error).__name__  # it may quote the server's response


class Connection:
    """A connection that opens when it is needed. `on_status` is called with its state changes."""

    def __init__(
        self,
        endpoint: Endpoint,
        on_status: Callable[[str], None] = lambda _: None,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self.on_status = on_status
        self._endpoint = endpoint
        self._pauses = pauses
        self._socket: ClientConnection | None = None

    @property
    def is_open(self) -> bool:
        """Whether the socket is open now."""
        return self._socket is not None and self._socket.state is State.OPEN

    async def open(self) -> None:
        """Connect in one attempt. Raises AccessDeniedError, ConnectionLostError."""
        try:
            self._socket = await self._endpoint.connect()
        except _TransientError as error:
            raise ConnectionLostError(f"The connection failed: {error}.") from None

    async def close(self) -> None:
        """Close the socket, if there is one."""
        if self._socket is not None:
            await self._socket.close()

    async def stop(self, exchange: Exchange) -> None:
        """Request that the answer end, now or as soon as there is a connection."""
        frames = exchange.stop()
        if self._socket is not None and self.is_open:
            with suppress(ConnectionClosed):
                await self._send(self._socket, frames)

    async def stream(self, exchange: Exchange) -> AsyncGenerator[Frame, None]:
        """Yield the request's frames, each once. Raises AccessDeniedError, ConnectionLostError."""
        broken = 0
        while not exchange.finished:
            socket = await self._connected(broken)
            try:
                async with aclosing(self._frames(socket, exchange)) as frames:
                    async for frame in frames:
                        broken = 0
                        yield frame
            except ConnectionClosed:
                broken += 1

    async def _connected(self, broken: int) -> ClientConnection:
        """Return the open socket, or a new one.

        `broken` is how many sockets in a row closed before they delivered a frame.
        """
        if self._socket is not None and self.is_open:
            return self._socket
        reason = "each connection closed before it delivered a frame"
        for attempt, pause in list(enumerate(self._pauses))[broken:]:
            if pause:
                self.on_status(f"reconnecting, {attempt} of {len(self._pauses) - 1} …")
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
            try:
                self._socket = await self._endpoint.connect()
            except _TransientError as error:
                reason = str(error)
            else:
                self.on_status("")
                return self._socket
        raise ConnectionLostError(f"The connection was lost: {reason}.")

    async def _frames(
        self, socket: ClientConnection, exchange: Exchange
    ) -> AsyncGenerator[Frame, None]:
        """Yield the request's frames from this socket. Raises ConnectionClosed and as `stream`."""
        await self._send(socket, exchange.frames_to_send())
        silences, ping_sent = 0, False
        while not exchange.finished:
            try:
                async with asyncio.timeout(PONG_SECONDS if ping_sent else SILENT_SECONDS):
                    frame = decode(await socket.recv())
            except TimeoutError:
                silences += 1
                if silences >= MAX_SILENCES:
                    raise ConnectionLostError(
                        "The server is reachable, but the answer has stopped arriving."
                    ) from None
                if ping_sent:
                    await socket.close()  # the next `recv` then raises ConnectionClosed
                else:
                    await self._send(socket, [PING, *exchange.frames_to_send()])
                ping_sent = True
                continue
            ping_sent = False
            due, replies = exchange.receive(frame)
            await self._send(socket, replies)
            for each in due:
                silences = 0
                yield each

    async def _send(self, socket: ClientConnection, frames: Sequence[Frame]) -> None:
        for frame in frames:
            text = fragments(encode(frame))
            await socket.send(text if len(text) > 1 else text[0])

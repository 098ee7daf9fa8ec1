"""One HTTP connection to the gateway: handles requests until one upgrades to a WebSocket.

h11 parses: keep-alive, chunked bodies, `Expect: 100-continue`, malformed requests. Requests of a
connection are handled one at a time, and nothing more is read meanwhile. This module knows no
paths, and about WebSockets only that a handler may return an `Upgrade`, which names the asyncio
protocol that takes the connection over.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

import h11

Headers = tuple[tuple[str, str], ...]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. Header names as sent; a body over the limit is truncated past the limit."""

    method: str
    target: str
    version: str
    headers: Headers
    body: bytes
    source_ip: str

    def header(self, name: str) -> str | None:
        """Return the first header of this name, whatever its case."""
        return next((v for key, v in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response. `Connection: close` among the headers closes the connection after it."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The response 101, after which `protocol` owns the connection."""

    headers: Headers
    protocol: asyncio.Protocol


Handler = Callable[[HttpRequest], Awaitable[HttpResponse | Upgrade]]


class HttpConnection(asyncio.Protocol):
    """One connection. `released` is called when it closes or is upgraded."""

    __slots__ = ("_body", "_body_limit", "_h11", "_handler", "_head", "_idle_since", "_released",
                 "_task", "_transport")  # fmt: skip

    def __init__(
        self, handler: Handler, released: Callable[["HttpConnection"], None], body_limit: int
    ) -> None:
        self._handler = handler
        self._released = released
        self._body_limit = body_limit
        self._h11 = h11.Connection(h11.SERVER)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._idle_since = time.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio: the client has connected."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio: bytes arrived."""
        self._h11.receive_data(data)
        self._advance()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Called by asyncio: the connection is closed."""
        if self._task is not None:
            self._task.cancel()
        self._released(self)

    def enforce(self, now: float, idle: float) -> None:
        """Close the connection if no request has been in progress for `idle` seconds."""
        if self._task is None and now - self._idle_since > idle:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()

    def _advance(self) -> None:
        while self._task is None and not self._transport.is_closing():
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                self._respond(_refusal(error))
                self._transport.close()
                return
            if event is h11.NEED_DATA:
                if self._h11.they_are_waiting_for_100_continue:
                    proceed = h11.InformationalResponse(status_code=100, headers=[])
                    self._transport.write(self._h11.send(proceed) or b"")
                return
            if isinstance(event, h11.Request):
                self._head = event
            elif isinstance(event, h11.Data):
                # Past the limit only the fact matters, not the length.
                if len(self._body) <= self._body_limit:
                    self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self._transport.pause_reading()
                self._task = asyncio.create_task(self._serve(self._take_request()))
            else:  # the client has closed its side, or requested another protocol
                self._transport.close()

    def _take_request(self) -> HttpRequest:
        head, body = cast(h11.Request, self._head), bytes(self._body)
        self._body = bytearray()
        peer = self._transport.get_extra_info("peername")
        return HttpRequest(
            method=head.method.decode("ascii"),
            target=head.target.decode("ascii", "replace"),
            version=head.http_version.decode("ascii"),
            headers=tuple(
                (name.decode("ascii"), value.decode("latin-1"))
                for name, value in head.headers.raw_items()
            ),
            body=body,
            source_ip=peer[0] if peer else "",
        )

    async def _serve(self, request: HttpRequest) -> None:
        try:
            response = await self._handler(request)
        except Exception:
            logger.exception("%s %s failed", request.method, request.target)
            response = HttpResponse(500, b'{"message": "Internal server error"}')
        if self._transport.is_closing():
            return
        if isinstance(response, Upgrade):
            self._upgrade(response)
            return
        self._respond(response)
        self._task = None
        self._idle_since = time.time()
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            self._transport.resume_reading()
            self._advance()
        else:
            self._transport.close()

    def _respond(self, response: HttpResponse) -> None:
        if self._h11.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        method = self._head.method if self._head is not None else b"GET"
        bodiless = method == b"HEAD" or response.status in {204, 304}
        headers = list(response.headers)
        if response.status not in {204, 304}:
            headers.append(("Content-Type", response.content_type))
            headers.append(("Content-Length", str(len(response.body))))
        head = h11.Response(
            status_code=response.status, headers=headers, reason=phrase(response.status).encode()
        )
        data = self._h11.send(head) or b""
        if response.body and not bodiless:
            data += self._h11.send(h11.Data(data=response.body)) or b""
        self._transport.write(data + (self._h11.send(h11.EndOfMessage()) or b""))

    def _upgrade(self, upgrade: Upgrade) -> None:
        head = h11.InformationalResponse(
            status_code=101, headers=list(upgrade.headers), reason=phrase(101).encode()
        )
        self._transport.write(self._h11.send(head) or b"")
        early, _ = self._h11.trailing_data
        self._transport.set_protocol(upgrade.protocol)
        upgrade.protocol.connection_made(self._transport)
        if early:
            upgrade.protocol.data_received(early)
        self._transport.resume_reading()
        self._released(self)


def _refusal(error: h11.RemoteProtocolError) -> HttpResponse:
    text = f"Invalid HTTP request: {error}.\n"
    close = (("Connection", "close"),)
    return HttpResponse(error.error_status_hint, text.encode(), "text/plain; charset=utf-8", close)


def phrase(status: int) -> str:
    """Return the reason phrase of a status; empty for one that is not registered."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""

"""One WebSocket connection: frames in, whole text messages out, and every way that it can end.

The `websockets` library's Sans-I/O protocol speaks RFC 6455 and the size limits; this module
adds what API Gateway adds: text only, closing by idleness and age, a bounded buffer for clients
that do not read. No compression: a frame's limit is what is on the wire. An idle connection owns
no task and no timer; its owner calls `enforce` now and then. Knows nothing of routes or events.
"""

import asyncio
import time
from typing import Protocol, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from local.gateway.api import Caller
from local.gateway.limits import Limits

# What API Gateway says in `disconnectReason` where the close frame says nothing. Recorded for
# 1001 and 1005; that 1006 leaves it empty is unconfirmed.
_REASONS: dict[int, str] = {
    CloseCode.GOING_AWAY: "Going away",
    CloseCode.NO_STATUS_RCVD: "Client-side close frame status not set",
}


class Owner(Protocol):
    """Who is told what happens on a connection."""

    def opened(self, socket: "Socket") -> None:
        """Take note of a connection that now accepts messages."""

    def received(self, socket: "Socket", text: str) -> None:
        """Take one whole text message."""

    def closed(self, socket: "Socket", code: int, reason: str) -> None:
        """Take note of the end, exactly once for each `opened`."""


class Socket(asyncio.Protocol):
    """One upgraded connection, as asyncio drives it."""

    __slots__ = ("_closing_since", "_deaf", "_limits", "_message", "_owner", "_transport", "_ws",
                 "active", "caller")  # fmt: skip

    def __init__(self, caller: Caller, limits: Limits, owner: Owner) -> None:
        self.caller = caller
        # When a frame last passed, either way, in seconds since the epoch. Pings count (what
        # API Gateway does with them is unconfirmed).
        self.active = time.time()
        self._limits = limits
        self._owner = owner
        self._ws = ServerProtocol(state=State.OPEN, max_size=(limits.message, limits.frame))
        self._message: bytearray | None = None  # the fragments of an unfinished message
        self._deaf = False  # once this side ends the connection, messages no longer count
        self._closing_since: float | None = None

    @property
    def open(self) -> bool:
        """Whether messages still go through: false from the first close frame on."""
        return self._ws.state is State.OPEN

    @property
    def congested(self) -> bool:
        """Whether the client has left more than its buffer unread."""
        return self._transport.get_write_buffer_size() > self._limits.client_buffer

    def send(self, data: bytes) -> None:
        """Send one text frame of valid UTF-8. Dropped if the connection is no longer open."""
        if self.open:
            self.active = time.time()
            self._ws.send_text(data)
            self._flush()

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake, unless it has begun."""
        if self.open:
            self._deaf = True
            self._ws.send_close(code, reason)
            self._flush()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()

    def enforce(self, now: float) -> None:
        """Close what has been idle or open for too long, and drop what does not finish closing."""
        if self._closing_since is not None:
            if now - self._closing_since > self._limits.closing:
                self.abort()
        elif (
            now - self.active > self._limits.idle
            or now - self.caller.connected_at / 1000 > self._limits.life
        ):
            # The code for the end of two hours is unconfirmed.
            self.close(CloseCode.GOING_AWAY, "Going away")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's: the handshake is answered and the connection is ours."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._limits.client_buffer)
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        """Asyncio's: bytes arrived."""
        self.active = time.time()
        self._ws.receive_data(data)
        for event in self._ws.events_received():
            if isinstance(event, Frame) and not self._deaf:
                self._read(event)
        self._flush()

    def eof_received(self) -> None:
        """Asyncio's: the client has finished. The transport then closes itself."""
        self._ws.receive_eof()
        self._flush()

    def pause_writing(self) -> None:
        """Asyncio's: the buffer is full. Whoever does not read is not read: pongs pile up too."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Asyncio's: the buffer has emptied."""
        self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """Asyncio's: the connection is gone, said once."""
        # Its own close frame comes first: a client that never answers 1009 was still closed so.
        close = self._ws.close_sent or self._ws.close_rcvd
        self._ws.receive_eof()
        if close is None:
            self._owner.closed(self, CloseCode.ABNORMAL_CLOSURE, "")
        else:
            self._owner.closed(self, close.code, close.reason or _REASONS.get(close.code, ""))

    def _read(self, frame: Frame) -> None:
        if frame.opcode is Opcode.BINARY:
            self.close(CloseCode.UNSUPPORTED_DATA, "Binary frames are not supported")
            return
        if frame.opcode is Opcode.TEXT:
            self._message = bytearray(frame.data)
        elif frame.opcode is Opcode.CONT and self._message is not None:
            self._message += frame.data
        else:
            return
        if not frame.fin:
            return
        message, self._message = self._message, None
        try:
            text = message.decode("utf-8")
        except UnicodeDecodeError:
            self._deaf = True
            self._ws.fail(CloseCode.INVALID_DATA, "Invalid UTF-8")
        else:
            self._owner.received(self, text)

    def _flush(self) -> None:
        for data in self._ws.data_to_send():
            if self._transport.is_closing():
                break
            if data:
                self._transport.write(data)
            elif self._transport.can_write_eof():
                self._transport.write_eof()
        if self._closing_since is None and not self.open:
            self._closing_since = time.time()

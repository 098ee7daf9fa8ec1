"""One WebSocket connection: it assembles frames into text messages and handles every close.

The `websockets` library's Sans-I/O protocol implements RFC 6455 and the size limits; this module
adds what API Gateway adds: text only, closing by idle time and age, a bounded buffer for clients
that do not read. No compression: the frame limit counts the bytes on the wire. An idle connection
owns no task and no timer; the gateway calls `enforce` periodically. Knows no routes and no events.
"""

import asyncio
import time
from typing import Protocol, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from local.gateway.api import ConnectionInfo
from local.gateway.limits import Limits

# The `disconnectReason` of API Gateway if the close frame has no reason. Recorded for 1001 and
# 1005; that it is empty for 1006 is unconfirmed.
_REASONS: dict[int, str] = {
    CloseCode.GOING_AWAY: "Going away",
    CloseCode.NO_STATUS_RCVD: "Client-side close frame status not set",
}


class Listener(Protocol):
    """Receives the events of a connection."""

    def opened(self, socket: "Socket") -> None:
        """The connection now accepts messages."""

    def received(self, socket: "Socket", text: str) -> None:
        """One complete text message arrived."""

    def closed(self, socket: "Socket", code: int, reason: str) -> None:
        """The connection is closed; called exactly once for each `opened`."""


class Socket(asyncio.Protocol):
    """One upgraded connection, as an asyncio protocol."""

    __slots__ = ("_closing_since", "_discards_input", "_limits", "_listener", "_message",
                 "_transport", "_ws", "active", "info")  # fmt: skip

    def __init__(self, info: ConnectionInfo, limits: Limits, listener: Listener) -> None:
        self.info = info
        # Time of the last frame in either direction, in seconds since the epoch. Pings count (what
        # API Gateway does with them is unconfirmed).
        self.active = time.time()
        self._limits = limits
        self._listener = listener
        self._ws = ServerProtocol(state=State.OPEN, max_size=(limits.message, limits.frame))
        self._message: bytearray | None = None  # the fragments of an unfinished message
        self._discards_input = False  # set once this side closes the connection
        self._closing_since: float | None = None

    @property
    def open(self) -> bool:
        """Whether messages can be sent: false from the first close frame on."""
        return self._ws.state is State.OPEN

    @property
    def congested(self) -> bool:
        """Whether more data than the client's buffer holds is waiting to be sent."""
        return self._transport.get_write_buffer_size() > self._limits.client_buffer

    def send(self, data: bytes) -> None:
        """Send one text frame of valid UTF-8. Dropped if the connection is no longer open."""
        if self.open:
            self.active = time.time()
            self._ws.send_text(data)
            self._flush()

    def close(self, code: int, reason: str) -> None:
        """Start the closing handshake, unless it has started already."""
        if self.open:
            self._discards_input = True
            self._ws.send_close(code, reason)
            self._flush()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()

    def enforce(self, now: float) -> None:
        """Close the connection if idle or open for too long; drop it if closing takes too long."""
        if self._closing_since is not None:
            if now - self._closing_since > self._limits.closing:
                self.abort()
        elif (
            now - self.active > self._limits.idle
            or now - self.info.connected_at / 1000 > self._limits.life
        ):
            # The close code after two hours is unconfirmed.
            self.close(CloseCode.GOING_AWAY, "Going away")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called when the handshake is complete and this protocol owns the connection."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._limits.client_buffer)
        self._listener.opened(self)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio: bytes arrived."""
        self.active = time.time()
        self._ws.receive_data(data)
        for event in self._ws.events_received():
            if isinstance(event, Frame) and not self._discards_input:
                self._read(event)
        self._flush()

    def eof_received(self) -> None:
        """Called by asyncio: the client has closed its side. The transport then closes itself."""
        self._ws.receive_eof()
        self._flush()

    def pause_writing(self) -> None:
        """Called by asyncio: the buffer is full. Stop reading, since pongs fill the buffer too."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Called by asyncio: the buffer has drained."""
        self._transport.resume_reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        """Called by asyncio: the connection is closed. Report it, once."""
        # This side's close frame takes precedence: a client that does not answer 1009 was still
        # closed with that code.
        close = self._ws.close_sent or self._ws.close_rcvd
        self._ws.receive_eof()
        if close is None:
            self._listener.closed(self, CloseCode.ABNORMAL_CLOSURE, "")
        else:
            self._listener.closed(self, close.code, close.reason or _REASONS.get(close.code, ""))

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
            self._discards_input = True
            self._ws.fail(CloseCode.INVALID_DATA, "Invalid UTF-8")
        else:
            self._listener.received(self, text)

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

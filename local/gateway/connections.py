"""The `@connections` API, with which a function posts to, describes and deletes connections.

Errors have the shapes that the SDKs map to `GoneException` and the others. Signatures are not
checked: every process that reaches the loopback interface may post. `Connections.post_delay` and
`post_faults` are for tests and measurements, and do nothing unless set.
"""

import asyncio
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from websockets.frames import CloseCode

from local.gateway.api import iso_time
from local.gateway.http_connection import HttpRequest, HttpResponse
from local.gateway.limits import Limits
from local.gateway.websocket import Socket

# With the stage in front, as the SDKs send it, or without.
_PATH = re.compile(r"(?:/[^/]*)?/(?:@|%40)connections/([^/]+)")


@dataclass(frozen=True, slots=True)
class ApiError:
    """An error response: the HTTP status, the exception's name, and a message or none."""

    status: int
    type: str
    message: str = ""


GONE = ApiError(410, "GoneException")  # no message, as on AWS: clients branch on the code
FORBIDDEN = ApiError(403, "ForbiddenException", "Forbidden")
LIMIT_EXCEEDED = ApiError(429, "LimitExceededException", "The client does not read its messages")
PAYLOAD_TOO_LARGE = ApiError(413, "PayloadTooLargeException", "Payload too large")
INTERNAL = ApiError(500, "InternalServerErrorException", "Internal server error")
# API Gateway's own response is unconfirmed. Invalid UTF-8 would make every client disconnect.
NOT_TEXT = ApiError(400, "BadRequestException", "The data is not UTF-8 text")


def is_management(target: str) -> bool:
    """Return whether a request target belongs to this API."""
    return _connection_id(target) is not None


class Connections:
    """POST, GET and DELETE on the open connections, which belong to the gateway."""

    def __init__(self, sockets: Mapping[str, Socket], limits: Limits) -> None:
        self._sockets = sockets
        self._limits = limits
        self._methods = {"POST": self._post, "GET": self._get, "DELETE": self._delete}
        # Seconds that every POST waits before it delivers and responds.
        self.post_delay = 0.0
        # Called for each POST with the connection id: returns an error to respond with, or None.
        self.post_faults: Callable[[str], ApiError | None] = lambda _connection_id: None

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Handle a request whose target `is_management`."""
        method = self._methods.get(request.method)
        if method is None:
            return _refuse(FORBIDDEN)
        connection_id = _connection_id(request.target) or ""
        if request.method == "POST":
            if self.post_delay:
                await asyncio.sleep(self.post_delay)
            if fault := self.post_faults(connection_id):
                return _refuse(fault)
        # Looked up after the delay, during which a connection may have closed. One that is still
        # in $connect is not registered yet: it is gone, too.
        socket = self._sockets.get(connection_id)
        if socket is None or not socket.open:
            return _refuse(GONE)
        return method(socket, request.body)

    def _post(self, socket: Socket, body: bytes) -> HttpResponse:
        if len(body) > self._limits.post:
            return _refuse(PAYLOAD_TOO_LARGE)
        if socket.congested:
            return _refuse(LIMIT_EXCEEDED)
        try:
            body.decode("utf-8")
        except UnicodeDecodeError:
            return _refuse(NOT_TEXT)
        socket.send(body)
        return _reply(200)

    def _get(self, socket: Socket, _body: bytes) -> HttpResponse:
        info = socket.info
        description = {
            "connectedAt": iso_time(info.connected_at),
            "identity": {"sourceIp": info.source_ip, "userAgent": info.user_agent or ""},
            "lastActiveAt": iso_time(int(socket.active * 1000)),
        }
        return _reply(200, json.dumps(description).encode())

    def _delete(self, socket: Socket, _body: bytes) -> HttpResponse:
        # The code and the reason are unconfirmed.
        socket.close(CloseCode.NORMAL_CLOSURE, "Connection Closed Normally")
        return _reply(204)


def _connection_id(target: str) -> str | None:
    match = _PATH.fullmatch(target.partition("?")[0])
    return unquote(match[1]) if match else None


def _reply(status: int, body: bytes = b"", *more: tuple[str, str]) -> HttpResponse:
    return HttpResponse(status, body, headers=(("x-amzn-RequestId", str(uuid.uuid4())), *more))


def _refuse(error: ApiError) -> HttpResponse:
    body = json.dumps({"message": error.message}).encode() if error.message else b""
    return _reply(error.status, body, ("x-amzn-ErrorType", error.type))

"""An API Gateway WebSocket API on one loopback port: handshakes, frames and `@connections`.

The life of a connection: the authorizer names its principal, or refuses it; `$connect` is invoked
before the handshake is answered; each message is routed to its integration, several at a time;
`$disconnect` is invoked once, after it has closed. The function is two callables: this module does
not know where it runs. Bytes on the wire belong to `http_connection` and `websocket`, events to
`api`, and who may connect to the authorizer.
"""

import asyncio
import contextlib
import json
import logging
import re
import socket as sockets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, TypeVar

from websockets.datastructures import Headers
from websockets.frames import CloseCode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from local import loopback
from local.gateway.api import (
    CONNECT,
    DISCONNECT,
    Api,
    ConnectionInfo,
    Event,
    Integration,
    Route,
    Stage,
    connect_event,
    disconnect_event,
    message_event,
    new_id,
)
from local.gateway.authorization import Authorizer, RefusedError, allow_all
from local.gateway.connections import Connections, is_management
from local.gateway.http_connection import (
    HttpConnection,
    HttpRequest,
    HttpResponse,
    Upgrade,
    phrase,
)
from local.gateway.limits import AWS_QUOTAS, Limits
from local.gateway.websocket import Socket
from local.invocation import Invoke, InvokeAsync, Result

INTERNAL_ERROR = "Internal server error"
FORBIDDEN = "Forbidden"
TIMED_OUT = "Endpoint request timed out"

# Result.error of an invocation for which API Gateway, not Lambda, stopped waiting.
_INTEGRATION_TIMEOUT = "IntegrationTimeout"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110: token
_CLOSE = (("Connection", "close"),)

_T = TypeVar("_T")

logger = logging.getLogger(__name__)


def error_frame(message: str, connection_id: str, request_id: str) -> bytes:
    """Format an error as API Gateway does, byte for byte: a space after some colons only."""
    return (
        f'{{"message": "{message}", "connectionId":"{connection_id}", "requestId":"{request_id}"}}'
    ).encode()


class Gateway:
    """One API on one port. `connections` has the hooks that tests use.

    `invoke` runs the function and waits, `invoke_async` hands an event over; `record` is called
    with every event that either of them receives. `authorizer` is called before `$connect`.
    """

    def __init__(  # noqa: PLR0913  half of them have defaults that only tests change
        self,
        api: Api,
        invoke: Invoke,
        invoke_async: InvokeAsync,
        limits: Limits = AWS_QUOTAS,
        *,
        stage: str = "local",
        api_id: str = "local",
        authorizer: Authorizer = allow_all,
        record: Callable[[Mapping[str, Any]], None] = lambda _event: None,
    ) -> None:
        self._api = api
        self._invoke = invoke
        self._invoke_async = invoke_async
        self._limits = limits
        self._stage = Stage(domain_name="", name=stage, api_id=api_id)
        self._authorizer = authorizer
        self._record = record
        self._sockets: dict[str, Socket] = {}
        self._http_connections: set[HttpConnection] = set()
        self._tasks: set[asyncio.Future[Any]] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._closing = False
        self._empty = asyncio.Event()  # set when the last connection has closed, while closing
        self._integrations = {
            Integration.PROXY: self._proxy,
            Integration.ASYNC: self._async,
            Integration.MOCK: self._mock,
        }
        self.connections = Connections(self._sockets, limits)

    async def start(self, listener: sockets.socket | None = None) -> int:
        """Listen on a bound socket, or else on any free loopback port, and return the port."""
        listener = listener or loopback.bind()
        # Accepted connections inherit it.
        listener.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, self._limits.kernel_buffer)
        host, port = listener.getsockname()
        self._stage = replace(self._stage, domain_name=f"{host}:{port}")
        self._server = await asyncio.get_running_loop().create_server(
            self._new_http_connection, sock=listener, backlog=2048
        )
        self._sweeper = asyncio.create_task(self._sweep())
        return int(port)

    async def close(self) -> None:
        """Stop listening, close all connections, cancel what is in progress. No `$disconnect`.

        Does nothing if the gateway was not started.
        """
        if self._server is None or self._sweeper is None:
            return
        self._closing = True
        self._server.close()
        self._sweeper.cancel()
        for connection in list(self._http_connections):
            connection.abort()
        for socket in list(self._sockets.values()):
            socket.close(CloseCode.GOING_AWAY, "Going away")
        if self._sockets:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), self._limits.closing)
        for socket in list(self._sockets.values()):
            socket.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(self._sweeper, *self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    # Events of the connections (websocket.Listener).

    def opened(self, socket: Socket) -> None:
        """Register the connection: from now on it can be posted to."""
        self._sockets[socket.info.connection_id] = socket

    def received(self, socket: Socket, text: str) -> None:
        """Route one message. Messages of one connection run concurrently, as on AWS."""
        route = self._api.select(text)
        if route is None:
            self._send_error(socket, FORBIDDEN, new_id())
            return
        try:
            event = message_event(self._stage, socket.info, route, text, _now())
        except ValueError:
            logger.exception("the template of route %s failed", route.key)
            self._send_error(socket, INTERNAL_ERROR, new_id())
            return
        self._integrations[route.integration](socket, route, event)

    def closed(self, socket: Socket, code: int, reason: str) -> None:
        """Remove the connection and invoke `$disconnect`, whose result is ignored."""
        del self._sockets[socket.info.connection_id]
        if self._closing:
            if not self._sockets:
                self._empty.set()
        elif DISCONNECT in self._api.routes:
            event = disconnect_event(self._stage, socket.info, code, reason, _now())
            self._spawn(self._call(event))

    # Integrations.

    def _proxy(self, socket: Socket, route: Route, event: Event) -> None:
        self._spawn(self._run_proxy(socket, route, event))

    async def _run_proxy(self, socket: Socket, route: Route, event: Event) -> None:
        result = await self._call(event)
        if result.error is not None:
            timed_out = result.error == _INTEGRATION_TIMEOUT
            self._send_error(socket, TIMED_OUT if timed_out else INTERNAL_ERROR, event.request_id)
        elif route.replies and isinstance(body := _response(result).get("body"), str):
            socket.send(body.encode())
        # Without a route response the body is dropped, and the returned status with it.

    def _async(self, socket: Socket, _route: Route, event: Event) -> None:
        self._record(event.content)
        try:
            self._invoke_async(event.encode())
        except Exception:
            logger.exception("the asynchronous invocation failed")
            self._send_error(socket, INTERNAL_ERROR, event.request_id)

    def _mock(self, socket: Socket, route: Route, event: Event) -> None:
        if route.template is not None:
            context, body = event.content["requestContext"], event.content["body"]
            socket.send(route.template.render(context, body).encode())

    async def _call(self, event: Event) -> Result:
        """Invoke the function and wait, for 29 s at most. A timeout does not stop the function."""
        self._record(event.content)
        invocation = self._spawn(self._invoke(event.encode()))
        done, _ = await asyncio.wait({invocation}, timeout=self._limits.integration)
        if not done:
            return Result(b"", _INTEGRATION_TIMEOUT)
        if invocation.exception() is not None:
            return Result(b"", "Unhandled")
        return invocation.result()

    # Handshakes and requests.

    async def _handle(self, request: HttpRequest) -> HttpResponse | Upgrade:
        if is_management(request.target):
            return await self.connections.handle(request)
        return await self._handshake(request)

    async def _handshake(self, request: HttpRequest) -> HttpResponse | Upgrade:
        if request.method != "GET" or request.version != "1.1":
            text = b"This is a WebSocket endpoint: connect with a GET request of HTTP/1.1.\n"
            return HttpResponse(405, text, "text/plain", (*_CLOSE, ("Allow", "GET")))
        if len(f"wss://{self._stage.domain_name}{request.target}") > self._limits.url:
            return HttpResponse(414, b"The URL is too long.\n", "text/plain", _CLOSE)
        reply = ServerProtocol().accept(Request(request.target, Headers(request.headers)))
        if reply.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            refusal = (*_CLOSE, ("Upgrade", "websocket"))
            return HttpResponse(reply.status_code, bytes(reply.body), "text/plain", refusal)
        info = ConnectionInfo(new_id(), _now(), request.source_ip, request.header("User-Agent"))
        headers: tuple[tuple[str, str], ...] = tuple(reply.headers.raw_items())
        if CONNECT in self._api.routes:
            event = connect_event(self._stage, info, request.target, request.headers, _now())
            try:
                principal = await self._authorizer(request, event)
            except RefusedError as error:
                message = phrase(error.status) if error.status < 500 else INTERNAL_ERROR
                return self._refusal(error.status, message, event)
            info = replace(info, principal=principal)
            accepted = await self._connect(event.with_principal(principal))
            if isinstance(accepted, HttpResponse):
                return accepted
            headers += accepted
        return Upgrade(headers, Socket(info, self._limits, self))

    async def _connect(self, event: Event) -> tuple[tuple[str, str], ...] | HttpResponse:
        """Invoke `$connect`. Return the headers that it adds to the handshake, or a refusal."""
        result = await self._call(event)
        response = _response(result)
        status = response.get("statusCode")
        protocol = _header(response, "Sec-WebSocket-Protocol")
        if result.error == _INTEGRATION_TIMEOUT:
            return self._refusal(504, TIMED_OUT, event)
        if (
            result.error is not None
            or not isinstance(status, int)
            or not 200 <= status <= 599
            or (protocol is not None and not _TOKEN.fullmatch(protocol))
        ):
            return self._refusal(502, INTERNAL_ERROR, event)
        if status < 300:
            return (("Sec-WebSocket-Protocol", protocol),) if protocol is not None else ()
        return self._refusal(status, phrase(status), event)

    def _refusal(self, status: int, message: str, event: Event) -> HttpResponse:
        """Refuse the upgrade. That the body is an error frame is unconfirmed."""
        connection_id = event.content["requestContext"]["connectionId"]
        body = error_frame(message, connection_id, event.request_id)
        return HttpResponse(status, body, headers=_CLOSE)

    # Housekeeping.

    def _new_http_connection(self) -> HttpConnection:
        connection = HttpConnection(self._handle, self._http_connections.discard, self._limits.post)
        self._http_connections.add(connection)
        return connection

    def _send_error(self, socket: Socket, message: str, request_id: str) -> None:
        socket.send(error_frame(message, socket.info.connection_id, request_id))

    def _spawn(self, work: Awaitable[_T]) -> "asyncio.Future[_T]":
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: "asyncio.Future[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a task failed", exc_info=error)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._limits.sweep)
            now = time.time()
            for socket in list(self._sockets.values()):
                socket.enforce(now)
            for connection in list(self._http_connections):
                connection.enforce(now, self._limits.http_idle)


def _now() -> int:
    return int(time.time() * 1000)


def _response(result: Result) -> Mapping[str, Any]:
    """Parse a proxy integration's response; empty if it is invalid."""
    try:
        response = json.loads(result.payload)
    except ValueError:
        return {}
    return response if isinstance(response, dict) else {}


def _header(response: Mapping[str, Any], name: str) -> str | None:
    headers = response.get("headers")
    if not isinstance(headers, dict):
        return None
    return next((str(v) for key, v in headers.items() if key.lower() == name.lower()), None)

"""An API Gateway WebSocket API on one local port: handshakes, frames and `@connections`.

What happens to a connection, in order: the guard says who it is, or refuses it; `$connect` is
invoked before the handshake is answered; each message is routed and given to its integration,
several at a time; `$disconnect` is invoked once at the end. What the function is, and where it
runs, is two callables' business. What bytes look like on the wire is `http_front`'s and
`websocket`'s; what events look like is `api`'s; who may connect is `authorizers`'.
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

from local.auth.authorizers import Guard, RefusedError, anybody
from local.gateway.api import (
    CONNECT,
    DISCONNECT,
    Api,
    Caller,
    Event,
    Integration,
    Route,
    Stage,
    connect_event,
    disconnect_event,
    message_event,
    new_id,
)
from local.gateway.connections import Connections, is_management
from local.gateway.http_front import HttpFront, HttpRequest, HttpResponse, Upgrade, phrase
from local.gateway.limits import AWS_QUOTAS, Limits
from local.gateway.websocket import Socket
from local.invocation import AsyncInvocation, Invocation, Result

__all__ = ["AWS_QUOTAS", "Gateway", "Limits", "error_frame"]

INTERNAL_ERROR = "Internal server error"
FORBIDDEN = "Forbidden"
TIMED_OUT = "Endpoint request timed out"

# Result.error of an invocation that API Gateway, not Lambda, gave up on.
_INTEGRATION_TIMEOUT = "IntegrationTimeout"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110: token
_CLOSE = (("Connection", "close"),)

_T = TypeVar("_T")

logger = logging.getLogger(__name__)


def error_frame(message: str, connection_id: str, request_id: str) -> bytes:
    """Write an error as API Gateway does, byte for byte: a space after some colons only."""
    return (
        f'{{"message": "{message}", "connectionId":"{connection_id}", "requestId":"{request_id}"}}'
    ).encode()


class Gateway:
    """One API on one port. `connections` has the hooks that tests use.

    `invoke` runs the function and waits, `invoke_async` hands an event over; `record`, if given,
    sees every event that either of them gets. `guard` is asked before `$connect` is.
    """

    def __init__(  # noqa: PLR0913  half of them have defaults that only tests change
        self,
        api: Api,
        invoke: Invocation,
        invoke_async: AsyncInvocation,
        limits: Limits = AWS_QUOTAS,
        *,
        stage: str = "local",
        api_id: str = "local",
        guard: Guard = anybody,
        record: Callable[[Mapping[str, Any]], None] = lambda _event: None,
    ) -> None:
        self._api = api
        self._invoke = invoke
        self._invoke_async = invoke_async
        self._limits = limits
        self._stage = Stage(domain_name="", name=stage, api_id=api_id)
        self._guard = guard
        self._record = record
        self._sockets: dict[str, Socket] = {}
        self._fronts: set[HttpFront] = set()
        self._tasks: set[asyncio.Future[Any]] = set()
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._closing = False
        self._empty = asyncio.Event()  # set when, while closing, the last connection has gone
        self._integrations = {
            Integration.PROXY: self._proxy,
            Integration.ASYNC: self._async,
            Integration.MOCK: self._mock,
        }
        self.connections = Connections(self._sockets, limits)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen, and return the port: a free one if 0 was asked for. Raises OSError."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._new_front, host, port, backlog=2048)
        listener = server.sockets[0]
        # Accepted connections inherit it.
        listener.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, self._limits.kernel_buffer)
        port = listener.getsockname()[1]
        self._stage = replace(self._stage, domain_name=f"{host}:{port}")
        self._server, self._sweeper = server, asyncio.create_task(self._sweep())
        return port

    async def close(self) -> None:
        """Stop listening, say goodbye to clients, drop what is under way. No `$disconnect`.

        Does nothing if the gateway never started.
        """
        if self._server is None or self._sweeper is None:
            return
        self._closing = True
        self._server.close()
        self._sweeper.cancel()
        for front in list(self._fronts):
            front.abort()
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

    # What connections tell (websocket.Owner).

    def opened(self, socket: Socket) -> None:
        """From now on the connection can be posted to."""
        self._sockets[socket.caller.connection_id] = socket

    def received(self, socket: Socket, text: str) -> None:
        """Route one message. Messages of one connection run beside each other, as on AWS."""
        route = self._api.select(text)
        if route is None:
            self._send_error(socket, FORBIDDEN, new_id())
            return
        try:
            event = message_event(self._stage, socket.caller, route, text, _now())
        except ValueError:
            logger.exception("the template of route %s failed", route.key)
            self._send_error(socket, INTERNAL_ERROR, new_id())
            return
        self._integrations[route.integration](socket, route, event)

    def closed(self, socket: Socket, code: int, reason: str) -> None:
        """Forget the connection and tell the function. Its answer matters to nobody."""
        del self._sockets[socket.caller.connection_id]
        if self._closing:
            if not self._sockets:
                self._empty.set()
        elif DISCONNECT in self._api.routes:
            event = disconnect_event(self._stage, socket.caller, code, reason, _now())
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
            logger.exception("handing an event over failed")
            self._send_error(socket, INTERNAL_ERROR, event.request_id)

    def _mock(self, socket: Socket, route: Route, event: Event) -> None:
        if route.template is not None:
            context, body = event.content["requestContext"], event.content["body"]
            socket.send(route.template.render(context, body).encode())

    async def _call(self, event: Event) -> Result:
        """Run the function, for 29 s at most. The function itself is not stopped by that."""
        self._record(event.content)
        invocation = self._spawn(self._invoke(event.encode()))
        done, _ = await asyncio.wait({invocation}, timeout=self._limits.integration)
        if not done:
            return Result(b"", _INTEGRATION_TIMEOUT)
        if invocation.exception() is not None:
            return Result(b"", "Unhandled")
        return invocation.result()

    # Handshakes and requests.

    async def _answer(self, request: HttpRequest) -> HttpResponse | Upgrade:
        if is_management(request.target):
            return await self.connections.answer(request)
        return await self._handshake(request)

    async def _handshake(self, request: HttpRequest) -> HttpResponse | Upgrade:
        if request.method != "GET" or request.version != "1.1":
            text = b"A WebSocket begins with a GET request of HTTP/1.1.\n"
            return HttpResponse(405, text, "text/plain", (*_CLOSE, ("Allow", "GET")))
        if len(f"wss://{self._stage.domain_name}{request.target}") > self._limits.url:
            return HttpResponse(414, b"The URL is too long.\n", "text/plain", _CLOSE)
        reply = ServerProtocol().accept(Request(request.target, Headers(request.headers)))
        if reply.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            refusal = (*_CLOSE, ("Upgrade", "websocket"))
            return HttpResponse(reply.status_code, bytes(reply.body), "text/plain", refusal)
        caller = Caller(new_id(), _now(), request.source_ip, request.header("User-Agent"))
        headers: tuple[tuple[str, str], ...] = tuple(reply.headers.raw_items())
        if CONNECT in self._api.routes:
            event = connect_event(self._stage, caller, request.target, request.headers, _now())
            try:
                principal = await self._guard(request, event)
            except RefusedError as error:
                message = phrase(error.status) if error.status < 500 else INTERNAL_ERROR
                return self._refusal(error.status, message, event)
            caller = replace(caller, principal=principal)
            answer = await self._connect(event.naming(principal))
            if isinstance(answer, HttpResponse):
                return answer
            headers += answer
        return Upgrade(headers, Socket(caller, self._limits, self))

    async def _connect(self, event: Event) -> tuple[tuple[str, str], ...] | HttpResponse:
        """Ask the function. Return the headers that it adds to the handshake, or a refusal."""
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
        """No upgrade. That its body is an error frame's is unconfirmed; its status counts."""
        connection_id = event.content["requestContext"]["connectionId"]
        body = error_frame(message, connection_id, event.request_id)
        return HttpResponse(status, body, headers=_CLOSE)

    # Housekeeping.

    def _new_front(self) -> HttpFront:
        front = HttpFront(self._answer, self._fronts.discard, self._limits.post)
        self._fronts.add(front)
        return front

    def _send_error(self, socket: Socket, message: str, request_id: str) -> None:
        socket.send(error_frame(message, socket.caller.connection_id, request_id))

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
            for front in list(self._fronts):
                front.enforce(now, self._limits.http_idle)


def _now() -> int:
    return int(time.time() * 1000)


def _response(result: Result) -> Mapping[str, Any]:
    """Read a proxy integration's response; empty if it is none."""
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

"""The proxy between the function and the services that it calls, which breaks one call of one run.

Rules
- A call is identified by its purpose (`support.call_names`) and by the run named in its headers
  (`instrumented_handler`). A call without such a header passes through.
- Each kind of fault is a row of `KINDS`: real status codes, real closed sockets, real silence, and
  the calling process really killed.
- Bedrock's answer passes through here where a run holds it: chunk by chunk, with `ping` events
  while nothing may pass.

Does not know what the outcome should be.
"""

import asyncio
import base64
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import ClientError, ClientSession, StreamReader, web
from support.call_names import dynamodb_call, post_call
from yarl import URL

from local.bedrock import eventstream

RUN, PROCESS = "x-fault-run", "x-fault-process"
SLOW_SECONDS = 1.0  # less than the function's timeouts
PING_SECONDS = 0.2  # less than STALL_SECONDS
FOREVER = 10**9
_PING = eventstream.chunk({"type": "ping"})
_HOP_BY_HOP = {"connection", "content-length", "host", "transfer-encoding", RUN, PROCESS}


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of this `kind` in `times` attempts of a call, from the `nth` on."""

    kind: str
    call: str
    nth: int = 1
    times: int = 1


class Run(Protocol):
    """One run, as the proxy uses it; see `monitor.CallMonitor`."""

    abandoned: int

    async def fault_for(self, call: str) -> Fault | None: ...
    async def fault_happens(self, fault: Fault, process: int) -> None: ...
    def stream_begins(self) -> None: ...
    def may_send(self, delta: int) -> bool: ...
    def delta_sent(self) -> None: ...


@dataclass
class Call:
    """One request to a service."""

    request: web.Request
    body: bytes
    forward: Callable[[], Awaitable[web.Response]]

    @property
    def process(self) -> int:
        """The process that makes this call: a worker of this test."""
        return int(self.request.headers[PROCESS])

    def hang_up(self) -> web.Response:
        if self.request.transport is not None:
            self.request.transport.abort()
        return web.Response()


@dataclass
class FaultProxy:
    """The proxy. `moto`, `bedrock` and `gateway` are the services behind it; `runs` are by name."""

    moto: str = ""
    bedrock: str = ""
    gateway: str = ""
    runs: dict[str, Run] = field(default_factory=dict)
    url: str = ""

    async def start(self) -> None:
        """Listens on a free port."""
        app = web.Application(client_max_size=10_000_000)
        app.router.add_post("/model/{id:.+}/invoke-with-response-stream", self._stream)
        app.router.add_route("*", "/{path:.*}", self._answer)
        # A caller that closes its connection cancels its call: this is how silence ends.
        self._server = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._server.setup()
        await web.TCPSite(self._server, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._server.addresses[0][1]}"
        self._session = ClientSession(auto_decompress=False)

    async def close(self) -> None:
        """Stops listening."""
        await self._session.close()
        await self._server.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        call = Call(request, body, lambda: self._forward(request, body))
        run = self.runs.get(request.headers.get(RUN, ""))
        if run is None:
            return await call.forward()
        try:
            fault = await run.fault_for(_name(request, body))
            if fault is None:
                return await call.forward()
            if fault.kind in AFTER:
                await call.forward()
            await run.fault_happens(fault, call.process)
            return await KINDS[fault.kind](call)
        except asyncio.CancelledError:
            run.abandoned += 1
            raise

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        base = self.gateway if "connections/" in request.raw_path else self.moto
        url = URL(base + request.raw_path, encoded=True)
        for last in (False, True):  # an idle connection may be closed just as it is used
            try:
                async with self._session.request(
                    request.method, url, data=body, headers=_end_to_end(request.headers)
                ) as response:
                    return web.Response(
                        status=response.status,
                        body=await response.read(),
                        headers=_end_to_end(response.headers),
                    )
            except ClientError:
                if last:
                    raise
        raise AssertionError

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Bedrock's answer of a run that may hold it."""
        run, deltas = self.runs[request.headers[RUN]], 0
        run.stream_begins()
        url = URL(self.bedrock + request.raw_path, encoded=True)
        async with self._session.post(
            url, data=await request.read(), headers=_end_to_end(request.headers)
        ) as upstream:
            response = web.StreamResponse(
                status=upstream.status, headers=_end_to_end(upstream.headers)
            )
            response.enable_chunked_encoding()
            await response.prepare(request)
            with suppress(ConnectionError):  # the function has ended the answer
                async for message in _messages(upstream.content):
                    is_delta = _is_delta(message)
                    while is_delta and not run.may_send(deltas + 1):
                        await response.write(_PING)
                        await asyncio.sleep(PING_SECONDS)
                    await response.write(message)
                    if is_delta:
                        deltas += 1
                        run.delta_sent()
                await response.write_eof()
            return response


async def _messages(stream: StreamReader) -> AsyncIterator[bytes]:
    """The messages of an event stream: each begins with its length."""
    while head := await stream.read(4):
        head += await stream.readexactly(4 - len(head)) if len(head) < 4 else b""
        yield head + await stream.readexactly(int.from_bytes(head) - 4)


def _is_delta(message: bytes) -> bool:
    """Whether it is a delta of Claude's stream: headers, payload, and a checksum of 4 bytes."""
    payload = json.loads(message[12 + int.from_bytes(message[4:8]) : -4])
    chunk = json.loads(base64.b64decode(payload["bytes"]))
    return bool(chunk["type"] == "content_block_delta")


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}


def _name(request: web.Request, body: bytes) -> str:
    if "connections/" in request.raw_path:
        return post_call(body)
    operation = request.headers["X-Amz-Target"].rpartition(".")[2]
    return dynamodb_call(operation, json.loads(body or b"{}"))


# -- kinds of fault --------------------------------------------------------------------------------


def _dynamodb(status: int, name: str, **more: Any) -> Callable[[Call], Awaitable[web.Response]]:
    return _error(status, {}, __type=f"com.amazonaws.dynamodb.v20120810#{name}", **more)


def _post(status: int, name: str) -> Callable[[Call], Awaitable[web.Response]]:
    return _error(status, {"x-amzn-ErrorType": name})


def _error(
    status: int, headers: Mapping[str, str], **body: Any
) -> Callable[[Call], Awaitable[web.Response]]:
    async def respond(_: Call) -> web.Response:
        return web.json_response(body, status=status, headers=headers)

    return respond


async def _conflict(call: Call) -> web.Response:
    """DynamoDB reports a conflict of a transaction, and of a single write, differently."""
    writes = json.loads(call.body).get("TransactItems")
    if writes is None:
        return await _dynamodb(400, "TransactionConflictException", message="busy")(call)
    reasons = [{"Code": "TransactionConflict"}, *[{"Code": "None"}] * (len(writes) - 1)]
    respond = _dynamodb(
        400, "TransactionCanceledException", message="cancelled", CancellationReasons=reasons
    )
    return await respond(call)


async def _slow(call: Call) -> web.Response:
    await asyncio.sleep(SLOW_SECONDS)
    return await call.forward()


async def _silent(call: Call) -> web.Response:
    await asyncio.sleep(FOREVER)
    return call.hang_up()


async def _cut(call: Call) -> web.Response:
    return call.hang_up()


async def _kill(call: Call) -> web.Response:
    os.kill(call.process, signal.SIGKILL)
    return call.hang_up()


async def _freeze(call: Call) -> web.Response:
    os.kill(call.process, signal.SIGSTOP)
    return call.hang_up()


async def _pass(call: Call) -> web.Response:
    return await call.forward()


KINDS: Mapping[str, Callable[[Call], Awaitable[web.Response]]] = {
    # DynamoDB
    "throttled": _dynamodb(400, "ProvisionedThroughputExceededException", message="too much"),
    "broken": _dynamodb(500, "InternalServerError", message="broken"),
    "conflicting": _conflict,
    # @connections
    "Gone": _post(410, "GoneException"),
    "Forbidden": _post(403, "ForbiddenException"),
    "PayloadTooLarge": _post(413, "PayloadTooLargeException"),
    "LimitExceeded": _post(429, "LimitExceededException"),
    "failed": _post(500, "InternalServerErrorException"),
    # both
    "slow": _slow,
    "silent": _silent,
    "cut": _cut,
    "lost": _cut,  # the call is done, its response is lost
    # the Lambda
    "killed before": _kill,
    "killed after": _kill,
    "frozen": _freeze,
    # the client: the row defines what happens
    "meanwhile": _pass,
}
AFTER = {"lost", "killed after"}  # happen after the call was forwarded

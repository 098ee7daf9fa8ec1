"""What stands between the function and what it calls: a proxy that breaks one call of one run.

Rules
- A call is known by what it is for: `claim`, `poll`, `delta`, `end` ... (`name_of`), and by the run
  whose name it bears (`worker`). What bears none passes through.
- What goes wrong is a row of `WAYS`: real answers with real status codes, real closed sockets, real
  silence, and the process that called really killed.

Does not know what ought to come of it.
"""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiohttp import ClientError, ClientSession, web
from yarl import URL

RUN, PROCESS = "x-fault-run", "x-fault-process"
SLOW_SECONDS = 1.0  # well within what the function waits
FOREVER = 10**9
_HOP_BY_HOP = {"connection", "content-length", "host", "transfer-encoding", RUN, PROCESS}


@dataclass(frozen=True, slots=True)
class Fault:
    """What befalls the calls `at`: from the `nth` try on, `times` tries, each in this `way`."""

    way: str
    at: str
    nth: int = 1
    times: int = 1


class Run(Protocol):
    """One run, as the proxy sees it."""

    def meets(self, call: str) -> Fault | None:
        """Notes the call; gives what is to befall it."""
        ...

    async def struck(self, fault: Fault, process: int) -> None:
        """A fault happens now, to a call of this process. The call waits for this to return."""
        ...


@dataclass
class Call:
    """One request on its way."""

    request: web.Request
    body: bytes
    pass_on: Callable[[], Awaitable[web.Response]]

    @property
    def process(self) -> int:
        """Who makes this call: a worker that this process started."""
        return int(self.request.headers[PROCESS])

    def hang_up(self) -> web.Response:
        if self.request.transport is not None:
            self.request.transport.abort()
        return web.Response()


@dataclass
class Between:
    """The proxy; `moto` and `gateway` are where calls go in truth, `runs` are by name."""

    moto: str = ""
    gateway: str = ""
    runs: dict[str, Run] = field(default_factory=dict)
    url: str = ""

    async def start(self) -> None:
        """Listens on a free port."""
        app = web.Application(client_max_size=10_000_000)
        app.router.add_route("*", "/{path:.*}", self._answer)
        # A caller that went away ends its call: how silence ends.
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
        call = Call(request, body, lambda: self._pass_on(request, body))
        run = self.runs.get(request.headers.get(RUN, ""))
        fault = run.meets(name_of(request, body)) if run else None
        if run is None or fault is None:
            return await call.pass_on()
        if fault.way in AFTER:
            await call.pass_on()
        await run.struck(fault, call.process)
        return await WAYS[fault.way](call)

    async def _pass_on(self, request: web.Request, body: bytes) -> web.Response:
        base = self.gateway if "connections/" in request.raw_path else self.moto
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP}
        url = URL(base + request.raw_path, encoded=True)
        for again in (True, False):  # a kept connection may close just as it is used
            try:
                async with self._session.request(
                    request.method, url, data=body, headers=headers
                ) as answer:
                    passed = {
                        k: v for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP
                    }
                    return web.Response(
                        status=answer.status, body=await answer.read(), headers=passed
                    )
            except ClientError:
                if not again:
                    raise
        raise AssertionError


# -- what a call is for ----------------------------------------------------------------------------


def name_of(request: web.Request, body: bytes) -> str:
    """What a call is for, in a word."""
    said = json.loads(body or b"{}")
    if "connections/" in request.raw_path:
        return {"done": "end", "error": "end"}.get(said.get("type"), str(said.get("type")))
    operation = request.headers["X-Amz-Target"].rpartition(".")[2]
    if operation == "TransactWriteItems":
        return _transaction([json.dumps(write) for write in said["TransactItems"]])
    if operation == "Query":
        return "history"
    kind = said.get("Key", said.get("Item", {})).get("sk", {}).get("S", "").partition("#")[0]
    return _SINGLE.get((operation, kind), f"{operation} {kind}")


def _transaction(writes: list[str]) -> str:
    match writes:
        case [only] if '"Put"' in only:
            return "refuse" if "request#" in only else "once"
    if any('"Put"' in write and "request#" in write for write in writes):
        return "claim"
    saves = any('"Put"' in write and "turn#" in write for write in writes)
    return (
        ("bury" if any("unfinished" in write for write in writes) else "save")
        if saves
        else ("give back")
    )


_SINGLE: Mapping[tuple[str, str], str] = {
    ("GetItem", "connection"): "connection",
    ("GetItem", "head"): "look",
    ("UpdateItem", "head"): "renew",
    ("UpdateItem", "request"): "note",
}


# -- what goes wrong -------------------------------------------------------------------------------


def _dynamodb(status: int, name: str, **more: Any) -> Callable[[Call], Awaitable[web.Response]]:
    return _refusal(status, {}, __type=f"com.amazonaws.dynamodb.v20120810#{name}", **more)


def _post(status: int, name: str) -> Callable[[Call], Awaitable[web.Response]]:
    return _refusal(status, {"x-amzn-ErrorType": name})


def _refusal(
    status: int, headers: Mapping[str, str], **body: Any
) -> Callable[[Call], Awaitable[web.Response]]:
    async def answer(_: Call) -> web.Response:
        return web.json_response(body, status=status, headers=headers)

    return answer


async def _conflict(call: Call) -> web.Response:
    """A transaction, and a single write that meets one, are refused in different words."""
    writes = json.loads(call.body).get("TransactItems")
    if writes is None:
        return await _dynamodb(400, "TransactionConflictException", message="busy")(call)
    reasons = [{"Code": "TransactionConflict"}, *[{"Code": "None"}] * (len(writes) - 1)]
    refuse = _dynamodb(
        400, "TransactionCanceledException", message="cancelled", CancellationReasons=reasons
    )
    return await refuse(call)


async def _slow(call: Call) -> web.Response:
    await asyncio.sleep(SLOW_SECONDS)
    return await call.pass_on()


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


async def _nothing(call: Call) -> web.Response:
    return await call.pass_on()


WAYS: Mapping[str, Callable[[Call], Awaitable[web.Response]]] = {
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
    # either
    "slow": _slow,
    "silent": _silent,
    "cut": _cut,
    "lost": _cut,  # done, but the word of it is lost
    # the Lambda
    "killed before": _kill,
    "killed after": _kill,
    "frozen": _freeze,
    # people: what happens is the run's to say
    "meanwhile": _nothing,
}
AFTER = {"lost", "killed after"}  # only once the call was passed on

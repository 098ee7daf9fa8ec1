"""One Lambda execution environment: an `awslambdaric` process, and the Runtime API that it calls.

Rules, as in Lambda: an environment handles one event at a time, and the state of the handler's
modules persists from one event to the next. The process has Lambda's environment variables, never
the developer's.

What it does not know: other environments, queues and retries (`local/lambda_runtime/function.py`).
What it does not imitate: freezing between events, a memory limit, a private `/tmp`, extensions,
SnapStart, and Lambda's second attempt at an initialisation that timed out.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
import uuid
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from local.aws.account import ACCOUNT, CREDENTIALS, NO_CONFIGURATION, REGION
from local.invocation import Result
from local.loopback import HOST
from local.processes import GRACE_SECONDS, lines, module_command, stop

# Lambda's own error message names 6291556 bytes, 100 more than 6 MB.
RESPONSE_BYTES = 6_291_556

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:local"
API = "/2018-06-01/runtime"
# The variables of this process that are passed on: the paths of programs, libraries and temporary
# files.
INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")

Log = Callable[[str], None]


def worker_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment variables of a process that stands in for Lambda, with `variables` added.

    AWS credentials are dummies and configuration files are not found, so that neither the keys nor
    the profiles of the developer can be used by mistake.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name in INHERITED or name.startswith("COVERAGE_")
    }
    return {
        **inherited,
        **CREDENTIALS,
        **NO_CONFIGURATION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_REGION": REGION,
        "HOME": "/nonexistent",
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        **variables,
    }


def _error(kind: str, error_type: str, message: str) -> Result:
    payload = {"errorType": error_type, "errorMessage": message}
    return Result(json.dumps(payload).encode(), kind)


@dataclass(frozen=True, slots=True)
class Settings:
    """A function's settings. `handler` is "module.function" in folder `code`; times in seconds."""

    handler: str
    code: Path
    environment: Mapping[str, str]
    timeout: float
    init_timeout: float
    python: str
    log: Log

    def log_event(self, level: str, event: str, **fields: object) -> None:
        """Logs one line about the platform itself. Never payloads: they are private."""
        self.log(json.dumps({"level": level, "event": f"platform.{event}", **fields}))


@dataclass(slots=True)
class Invocation:
    """One event in progress. `received` is on the monotonic clock, in seconds."""

    payload: bytes
    received: float = field(default_factory=time.monotonic)
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    result: Result | None = None
    finished: asyncio.Event = field(default_factory=asyncio.Event)


class Environment:
    """One process of the function, and the Runtime API (on a port of its own) that it calls."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Set when it requests its first event: initialisation is complete.
        self._ready = asyncio.Event()
        self._inbox: asyncio.Queue[Invocation | None] = asyncio.Queue()
        self._current: Invocation | None = None
        self._closed = False
        self._init_error: Result | None = None
        self._process: Process | None = None
        self._exit: asyncio.Future[Any] | None = None
        self._logs: asyncio.Future[None] | None = None
        self._opening: asyncio.Future[None] | None = None
        app = web.Application(client_max_size=RESPONSE_BYTES)
        app.add_routes(
            [
                web.get(f"{API}/invocation/next", self._next),
                web.post(f"{API}/invocation/{{id}}/response", self._response),
                web.post(f"{API}/invocation/{{id}}/error", self._handler_error),
                web.post(f"{API}/init/error", self._report_init_error),
            ]
        )
        self._api = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    @property
    def started(self) -> bool:
        """Whether initialisation is complete."""
        return self._ready.is_set()

    @property
    def alive(self) -> bool:
        """Whether it is started, and neither ended nor closing."""
        running = self._exit is not None and not self._exit.done()
        return self.started and running and not self._closed

    async def start(self) -> Result | None:
        """The Init phase. Returns None when the environment is ready, else the error."""
        settings, started_at = self._settings, time.monotonic()
        # Not cancelled with this call: half open, neither a port nor a process could be closed.
        self._opening = asyncio.ensure_future(self._open())
        await asyncio.shield(self._opening)
        assert self._exit is not None  # noqa: S101 - open
        await self._wait_for(self._ready, settings.init_timeout)
        init_ms = round((time.monotonic() - started_at) * 1000)
        if self.alive:
            settings.log_event("INFO", "initReport", init_ms=init_ms)
            return None
        if not self._exit.done():
            problem = f"Init phase timed out after {settings.init_timeout:.2f} seconds"
        else:
            problem = f"Runtime exited during the Init phase: {self._exit_status()}"
        failure = self._init_error or _error("Runtime.ExitError", "Runtime.ExitError", problem)
        settings.log_event("ERROR", "initReport", init_ms=init_ms, problem=problem)
        await self.close(grace=0)
        return failure

    async def _open(self) -> None:
        """Serves the Runtime API and starts the process."""
        settings = self._settings
        await self._api.setup()
        await web.TCPSite(self._api, HOST, 0).start()
        host, port = self._api.addresses[0][:2]
        self._process = await asyncio.create_subprocess_exec(
            *module_command(settings.python, "awslambdaric", settings.handler),
            cwd=settings.code,
            env=self._variables(f"{host}:{port}"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,
        )
        self._exit = asyncio.ensure_future(self._process.wait())
        self._logs = asyncio.ensure_future(self._forward(self._process))

    async def run(self, invocation: Invocation) -> Result:
        """Passes the event to the process, until it requests the next one or ends."""
        self._current = invocation
        self._inbox.put_nowait(invocation)
        await self._wait_for(invocation.finished, self._settings.timeout)
        if not invocation.finished.is_set():
            timed_out = self.alive
            await self.close(grace=0)
            if invocation.result is None:
                return self._failure(invocation, timed_out=timed_out)
        assert invocation.result is not None  # noqa: S101 - set before `finished` is
        return invocation.result

    def _failure(self, invocation: Invocation, *, timed_out: bool) -> Result:
        """Logs that the process timed out or ended during an event, and returns the result."""
        log, request_id = self._settings.log_event, invocation.request_id
        if timed_out:
            limit = self._settings.timeout
            log("ERROR", "timeout", request_id=request_id, after_s=limit)
            kind, problem = "Sandbox.Timedout", f"Task timed out after {limit:.2f} seconds"
        else:
            status = self._exit_status()
            log("ERROR", "exit", request_id=request_id, status=status)
            kind, problem = "Runtime.ExitError", f"Runtime exited with error: {status}"
        return _error(kind, kind, f"RequestId: {request_id} Error: {problem}")

    async def close(self, grace: float = GRACE_SECONDS) -> None:
        """Ends the process and its group. A process that waits for an event gets HTTP 410."""
        if self._closed:
            return
        self._closed = True
        if self._opening is not None and not self._opening.done():
            await asyncio.wait({self._opening})
        # Nothing is awaited before the signal: awslambdaric would print a traceback about the 410.
        self._inbox.put_nowait(None)
        if self._process is not None:
            await stop(self._process, grace)
        await self._api.cleanup()
        if self._logs is not None:
            # Its last output is still in the pipe.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._logs, 1)

    def _variables(self, api: str) -> dict[str, str]:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        code = str(self._settings.code)
        return worker_environment(
            {
                "AWS_EXECUTION_ENV": f"AWS_Lambda_python{version}",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
                "AWS_LAMBDA_FUNCTION_NAME": "local",
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
                "AWS_LAMBDA_LOG_FORMAT": "JSON",
                "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/local",
                "AWS_LAMBDA_LOG_STREAM_NAME": f"local/[$LATEST]{uuid.uuid4().hex}",
                "AWS_LAMBDA_RUNTIME_API": api,
                "LAMBDA_TASK_ROOT": code,
                "_HANDLER": self._settings.handler,
                **self._settings.environment,
            }
        )

    async def _wait_for(self, event: asyncio.Event, seconds: float) -> None:
        """Waits for the event or the end of the process, for `seconds` at most."""
        assert self._exit is not None  # noqa: S101 - started
        waiting: asyncio.Future[Any] = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait(
                {waiting, self._exit}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            waiting.cancel()

    def _exit_status(self) -> str:
        code = self._process.returncode if self._process else None
        return f"signal {-code}" if code and code < 0 else f"exit status {code}"

    async def _forward(self, process: Process) -> None:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        async for line in lines(process.stdout):
            self._settings.log(line)

    # The Runtime API. Its client is awslambdaric.

    async def _next(self, _: web.Request) -> web.Response:
        if self._current is not None:
            self._current.finished.set()
        self._ready.set()
        invocation = await self._inbox.get()
        if invocation is None:
            raise web.HTTPGone
        deadline = time.time() + self._settings.timeout
        return web.Response(
            body=invocation.payload,
            content_type="application/json",
            headers={
                "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
                "Lambda-Runtime-Invoked-Function-Arn": ARN,
                "Lambda-Runtime-Trace-Id": (
                    f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0"
                ),
            },
        )

    async def _response(self, request: web.Request) -> web.Response:
        invocation = self._invocation(request)
        try:
            invocation.result = Result(await request.read())
        except web.HTTPRequestEntityTooLarge:
            too_large = (
                f"Response payload size exceeded maximum allowed payload size"
                f" ({RESPONSE_BYTES} bytes)."
            )
            invocation.result = _error("Unhandled", "Function.ResponseSizeTooLarge", too_large)
            raise
        return web.Response(status=202)

    async def _handler_error(self, request: web.Request) -> web.Response:
        self._invocation(request).result = Result(await request.read(), "Unhandled")
        return web.Response(status=202)

    async def _report_init_error(self, request: web.Request) -> web.Response:
        self._init_error = Result(await request.read(), "Unhandled")
        return web.Response(status=202)

    def _invocation(self, request: web.Request) -> Invocation:
        invocation = self._current
        if invocation is None or invocation.request_id != request.match_info["id"]:
            raise web.HTTPBadRequest
        return invocation

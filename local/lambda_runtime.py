"""Lambda on a laptop: a Runtime API that real `awslambdaric` processes work for.

Rules, as in Lambda: an environment (one process) handles one event at a time, there is one
environment per concurrent event, the one used last is used next, and what a handler keeps in its
modules stays in its process and meets the next event. A synchronous event that finds no room is
refused; an asynchronous one waits, is dropped when it grows too old, and is never tried twice. A
worker's environment variables are Lambda's, never the developer's.

What it does not know: WebSockets, routes, what an event means. What it does not imitate: freezing
between events, a memory limit, a `/tmp` of one's own, extensions, SnapStart, and the second try
that Lambda gives to an initialisation which took too long.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
import uuid
from asyncio.subprocess import PIPE, STDOUT, Process
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from local.aws import CREDENTIALS, NO_CONFIGURATION, REGION
from local.invocation import Result
from local.processes import GRACE_SECONDS, lines, stop, tethered

# Lambda quota: function timeout, 900 s. The function's own setting may be lower.
TIMEOUT_SECONDS = 900.0
# Lambda developer guide, execution environment lifecycle: the Init phase is limited to 10 s.
INIT_TIMEOUT_SECONDS = 10.0
# Lambda API, Invoke: 6 MB synchronous, 1 MB asynchronous (256 KB until 2025).
SYNC_EVENT_BYTES = 6 * 1024 * 1024
ASYNC_EVENT_BYTES = 1024 * 1024
# Lambda's own error message names 6291556 bytes, 100 more than 6 MB.
RESPONSE_BYTES = 6_291_556
# Lambda API, PutFunctionEventInvokeConfig: MaximumEventAgeInSeconds is 60 at the least.
MAX_EVENT_AGE_SECONDS = 60.0
# Not a quota: enough for a person with a few tabs, and 50 MB each.
CONCURRENCY = 10

ARN = f"arn:aws:lambda:{REGION}:123456789012:function:local"
API = "/2018-06-01/runtime"
# The only variables of the caller that a worker sees: where programs, libraries and temporary files
# are.
INHERITED = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")

Log = Callable[[str], None]
T = TypeVar("T")


class PayloadTooLargeError(ValueError):
    """Lambda refuses such an event (HTTP 413) before any function sees it."""


class InitFailedError(Exception):
    """The first environment did not start; the message is Lambda's JSON for the error."""


def worker_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that stands in for Lambda: clean, then `variables`.

    AWS credentials are dummies and configuration files are out of reach, so neither the keys nor
    the profiles of the person at the keyboard can be used by mistake.
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
class _Settings:
    handler: str
    code: Path
    environment: Mapping[str, str]
    timeout: float
    init_timeout: float
    python: str
    log: Log

    def note(self, level: str, event: str, **fields: object) -> None:
        """Logs one line about the platform itself. Never about payloads: they are private."""
        self.log(json.dumps({"level": level, "event": f"platform.{event}", **fields}))


@dataclass(slots=True)
class _Event:
    """One event on its way through an environment."""

    payload: bytes
    received: float = field(default_factory=time.monotonic)
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    answer: Result | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def failed(self, kind: str, problem: str) -> Result:
        return _error(kind, kind, f"RequestId: {self.request_id} Error: {problem}")


class _Environment:
    """One process of the function, and the Runtime API (on a port of its own) that it works for."""

    def __init__(self, settings: _Settings) -> None:
        self._settings = settings
        self._polled = asyncio.Event()  # it has asked for its first event: initialisation is over
        self._inbox: asyncio.Queue[_Event | None] = asyncio.Queue()
        self._current: _Event | None = None
        self._closed = False
        self._init_error: Result | None = None
        self._process: Process | None = None
        self._exit: asyncio.Future[Any] | None = None
        self._logs: asyncio.Future[None] | None = None
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
        return self._polled.is_set()

    @property
    def alive(self) -> bool:
        """Started, and neither gone nor going."""
        running = self._exit is not None and not self._exit.done()
        return self.started and running and not self._closed

    async def start(self) -> Result | None:
        """The Init phase. Returns None when the environment is ready, else what went wrong."""
        settings, began = self._settings, time.monotonic()
        await self._api.setup()
        await web.TCPSite(self._api, "127.0.0.1", 0).start()
        host, port = self._api.addresses[0][:2]
        self._process = await asyncio.create_subprocess_exec(
            *tethered(settings.python, "awslambdaric", settings.handler),
            cwd=settings.code,
            env=self._variables(f"{host}:{port}"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=STDOUT,
            start_new_session=True,
        )
        self._exit = asyncio.ensure_future(self._process.wait())
        self._logs = asyncio.ensure_future(self._forward(self._process))
        await self._first_of(self._polled, settings.init_timeout)
        took = round((time.monotonic() - began) * 1000)
        if self.alive:
            settings.note("INFO", "initReport", init_ms=took)
            return None
        if not self._exit.done():
            problem = f"Init phase timed out after {settings.init_timeout:.2f} seconds"
        else:
            problem = f"Runtime exited during the Init phase: {self._exit_status()}"
        failure = self._init_error or _error("Runtime.ExitError", "Runtime.ExitError", problem)
        settings.note("ERROR", "initReport", init_ms=took, problem=problem)
        await self.close(grace=0)
        return failure

    async def run(self, event: _Event) -> Result:
        """Gives the event to the process; over when it asks for the next one, or is no more."""
        self._current = event
        self._inbox.put_nowait(event)
        await self._first_of(event.over, self._settings.timeout)
        if not event.over.is_set():
            limit = self._settings.timeout
            timed_out = self.alive
            await self.close(grace=0)
            if event.answer is None and timed_out:
                self._settings.note("ERROR", "timeout", request_id=event.request_id, after_s=limit)
                return event.failed("Sandbox.Timedout", f"Task timed out after {limit:.2f} seconds")
            if event.answer is None:
                status = self._exit_status()
                self._settings.note("ERROR", "exit", request_id=event.request_id, status=status)
                return event.failed("Runtime.ExitError", f"Runtime exited with error: {status}")
        assert event.answer is not None  # noqa: S101 - set before `over` is
        return event.answer

    async def close(self, grace: float = GRACE_SECONDS) -> None:
        """Ends the process and its group. A worker that waits for an event is told to go."""
        if self._closed:
            return
        self._closed = True
        self._inbox.put_nowait(None)
        if self._process is not None:
            await stop(self._process, grace)
        await self._api.cleanup()
        if self._logs is not None:
            # What it said last is still in the pipe.
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

    async def _first_of(self, event: asyncio.Event, seconds: float) -> None:
        """Waits for the event, or the end of the process, or `seconds`."""
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

    # What the process asks for. The other side of these four is awslambdaric.

    async def _next(self, _: web.Request) -> web.Response:
        if self._current is not None:
            self._current.over.set()
        self._polled.set()
        event = await self._inbox.get()
        if event is None:
            raise web.HTTPGone
        deadline = time.time() + self._settings.timeout
        return web.Response(
            body=event.payload,
            content_type="application/json",
            headers={
                "Lambda-Runtime-Aws-Request-Id": event.request_id,
                "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
                "Lambda-Runtime-Invoked-Function-Arn": ARN,
                "Lambda-Runtime-Trace-Id": (
                    f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0"
                ),
            },
        )

    async def _response(self, request: web.Request) -> web.Response:
        event = self._event(request)
        try:
            event.answer = Result(await request.read())
        except web.HTTPRequestEntityTooLarge:
            too_large = (
                f"Response payload size exceeded maximum allowed payload size"
                f" ({RESPONSE_BYTES} bytes)."
            )
            event.answer = _error("Unhandled", "Function.ResponseSizeTooLarge", too_large)
            raise
        return web.Response(status=202)

    async def _handler_error(self, request: web.Request) -> web.Response:
        self._event(request).answer = Result(await request.read(), "Unhandled")
        return web.Response(status=202)

    async def _report_init_error(self, request: web.Request) -> web.Response:
        self._init_error = Result(await request.read(), "Unhandled")
        return web.Response(status=202)

    def _event(self, request: web.Request) -> _Event:
        event = self._current
        if event is None or event.request_id != request.match_info["id"]:
            raise web.HTTPBadRequest
        return event


class Function:
    """One Lambda function: its environments, and the queue of asynchronous events.

    `handler` is "module.function" in the folder `code`; `environment` is added to what Lambda sets;
    times are in seconds; `log` is called with each line that a worker or the platform writes.
    """

    def __init__(  # noqa: PLR0913 - a Lambda function has this many settings; all but three by name
        self,
        handler: str,
        code: Path,
        environment: Mapping[str, str],
        *,
        timeout: float = TIMEOUT_SECONDS,
        concurrency: int = CONCURRENCY,
        python: str = sys.executable,
        log: Log,
        init_timeout: float = INIT_TIMEOUT_SECONDS,
        max_event_age: float = MAX_EVENT_AGE_SECONDS,
    ) -> None:
        self._settings = _Settings(
            handler, code.resolve(), environment, timeout, init_timeout, python, log
        )
        self._concurrency = concurrency
        self._max_event_age = max_event_age
        self._environments: set[_Environment] = set()
        self._idle: list[_Environment] = []
        self._queue: deque[_Event] = deque()
        self._running: set[asyncio.Task[Result]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        # Cold starts take turns on the laptop's cores, so the init limit judges the handler and not
        # the crowd.
        self._cold_starts = asyncio.Semaphore(os.cpu_count() or 1)

    async def start(self, warm: int = 1) -> None:
        """Makes `warm` environments ready. Raises InitFailedError if one does not start."""
        for environment in [self._new() for _ in range(warm)]:
            failure = await environment.start()
            if failure:
                self._environments.discard(environment)
                raise InitFailedError(failure.payload.decode())
            self._idle.append(environment)

    async def close(self) -> None:
        """Ends every environment, whatever it is doing, and drops what is queued."""
        self._queue.clear()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.gather(*(each.close() for each in self._environments), *self._ending)
        self._idle.clear()
        self._environments.clear()

    async def invoke(self, event: bytes) -> Result:
        """Lambda's `RequestResponse`. Whoever stops waiting does not stop the function."""
        if len(event) > SYNC_EVENT_BYTES:
            raise PayloadTooLargeError(f"{len(event)} bytes, limit {SYNC_EVENT_BYTES}")
        environment = self._reserve()
        if environment is None:
            self._settings.note("WARN", "throttle", concurrency=self._concurrency)
            return Result(b'{"message":"Rate Exceeded.","Type":"User"}', "TooManyRequests")
        return await asyncio.shield(
            _spawn(self._running, self._execute(environment, _Event(event)))
        )

    def invoke_async(self, event: bytes) -> None:
        """Lambda's `Event`: queues the event and returns at once."""
        if len(event) > ASYNC_EVENT_BYTES:
            raise PayloadTooLargeError(f"{len(event)} bytes, limit {ASYNC_EVENT_BYTES}")
        self._queue.append(_Event(event))
        self._pump()

    @property
    def busy(self) -> bool:
        """Whether any event is being handled, or waits to be."""
        return bool(self._running or self._queue)

    def _new(self) -> _Environment:
        environment = _Environment(self._settings)
        self._environments.add(environment)
        return environment

    def _reserve(self) -> _Environment | None:
        """The warm environment used last, or room for a new one, or None: all are busy."""
        while self._idle:
            environment = self._idle.pop()
            if environment.alive:
                return environment
            self._retire(environment)
        return self._new() if len(self._environments) < self._concurrency else None

    def _retire(self, environment: _Environment) -> None:
        self._environments.discard(environment)
        _spawn(self._ending, environment.close(grace=0))

    async def _execute(self, environment: _Environment, event: _Event) -> Result:
        try:
            if not environment.started:
                async with self._cold_starts:
                    failure = await environment.start()
                if failure:
                    return failure
            return await environment.run(event)
        finally:
            if environment.alive:
                self._idle.append(environment)
            else:
                self._retire(environment)
            self._pump()

    def _pump(self) -> None:
        """Hands queued events to whatever is free; those that waited too long are dropped here."""
        while self._queue:
            event = self._queue[0]
            if time.monotonic() - event.received > self._max_event_age:
                self._queue.popleft()
                self._dead_letter(event, "EventAgeExceeded")
                continue
            environment = self._reserve()
            if environment is None:
                return
            self._queue.popleft()
            _spawn(self._running, self._execute_async(environment, event))

    async def _execute_async(self, environment: _Environment, event: _Event) -> Result:
        result = await self._execute(environment, event)
        if result.error:
            self._dead_letter(event, result.error)
        return result

    def _dead_letter(self, event: _Event, condition: str) -> None:
        self._settings.note("ERROR", "deadLetter", request_id=event.request_id, condition=condition)


def _spawn(tasks: set[asyncio.Task[T]], work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Starts a task and keeps it in `tasks` until it is done."""
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task

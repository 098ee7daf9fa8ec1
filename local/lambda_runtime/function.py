"""One Lambda function: its execution environments, and the queue of its asynchronous events.

Rules, as in Lambda: there is one environment (`local/lambda_runtime/environment.py`) per concurrent
event, and the one used last is used next. A synchronous event is refused while all environments are
busy; an asynchronous one waits, is dropped when it is too old, and is never retried.

What it does not know: WebSockets, routes, what an event means.
"""

import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from local.invocation import Result
from local.lambda_runtime.environment import Environment, Invocation, Log, Settings

# Lambda quota: function timeout, 900 s. The function's own setting may be lower.
TIMEOUT_SECONDS = 900.0
# Lambda developer guide, execution environment lifecycle: the Init phase is limited to 10 s.
INIT_TIMEOUT_SECONDS = 10.0
# Lambda API, Invoke: 6 MB synchronous, 1 MB asynchronous (256 KB until 2025).
SYNC_EVENT_BYTES = 6 * 1024 * 1024
ASYNC_EVENT_BYTES = 1024 * 1024
# Lambda API, PutFunctionEventInvokeConfig: the minimum of MaximumEventAgeInSeconds is 60.
MAX_EVENT_AGE_SECONDS = 60.0
# Not a quota: enough for one developer, and about 50 MB each.
CONCURRENCY = 10

T = TypeVar("T")


class PayloadTooLargeError(ValueError):
    """The event is larger than Lambda accepts (HTTP 413). The function is not invoked."""


class InitFailedError(Exception):
    """An environment did not start; the message is Lambda's JSON for the error."""


class Function:
    """One Lambda function: its environments, and the queue of asynchronous events.

    `handler` is "module.function" in the folder `code`; `environment` is added to Lambda's own
    variables; times are in seconds; `log` is called with each line that the function or the
    platform writes.
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
        self._settings = Settings(
            handler, code.resolve(), environment, timeout, init_timeout, python, log
        )
        self._concurrency = concurrency
        self._max_event_age = max_event_age
        self._environments: set[Environment] = set()
        self._idle: list[Environment] = []
        self._queue: deque[Invocation] = deque()
        self._running: set[asyncio.Task[Result]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        # At most one cold start per core at a time, so that the init limit measures the handler and
        # not the load.
        self._cold_starts = asyncio.Semaphore(os.cpu_count() or 1)

    async def start(self, warm: int = 1) -> None:
        """Starts `warm` environments. Raises InitFailedError if one does not start."""
        for environment in [self._new() for _ in range(warm)]:
            failure = await environment.start()
            if failure:
                self._environments.discard(environment)
                raise InitFailedError(failure.payload.decode())
            self._idle.append(environment)

    async def close(self) -> None:
        """Ends every environment, whatever it is doing, and drops the queue."""
        self._queue.clear()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await asyncio.gather(*(each.close() for each in self._environments), *self._ending)
        self._idle.clear()
        self._environments.clear()

    async def invoke(self, event: bytes) -> Result:
        """Lambda's `RequestResponse`. Cancelling the caller does not stop the function."""
        if len(event) > SYNC_EVENT_BYTES:
            raise PayloadTooLargeError(f"{len(event)} bytes, limit {SYNC_EVENT_BYTES}")
        environment = self._reserve()
        if environment is None:
            self._settings.log_event("WARN", "throttle", concurrency=self._concurrency)
            return Result(b'{"message":"Rate Exceeded.","Type":"User"}', "TooManyRequests")
        return await asyncio.shield(
            _spawn(self._running, self._execute(environment, Invocation(event)))
        )

    def invoke_async(self, event: bytes) -> None:
        """Lambda's `Event`: queues the event and returns at once."""
        if len(event) > ASYNC_EVENT_BYTES:
            raise PayloadTooLargeError(f"{len(event)} bytes, limit {ASYNC_EVENT_BYTES}")
        self._queue.append(Invocation(event))
        self._pump()

    @property
    def busy(self) -> bool:
        """Whether any event is in progress or queued."""
        return bool(self._running or self._queue)

    def _new(self) -> Environment:
        environment = Environment(self._settings)
        self._environments.add(environment)
        return environment

    def _reserve(self) -> Environment | None:
        """Takes the idle environment used last, or a new one, or None if all are busy."""
        while self._idle:
            environment = self._idle.pop()
            if environment.alive:
                return environment
            self._retire(environment)
        return self._new() if len(self._environments) < self._concurrency else None

    def _retire(self, environment: Environment) -> None:
        self._environments.discard(environment)
        _spawn(self._ending, environment.close(grace=0))

    async def _execute(self, environment: Environment, invocation: Invocation) -> Result:
        try:
            if not environment.started:
                async with self._cold_starts:
                    failure = await environment.start()
                if failure:
                    return failure
            return await environment.run(invocation)
        finally:
            if environment.alive:
                self._idle.append(environment)
            else:
                self._retire(environment)
            self._pump()

    def _pump(self) -> None:
        """Passes queued events to free environments, and drops those that are too old."""
        while self._queue:
            invocation = self._queue[0]
            if time.monotonic() - invocation.received > self._max_event_age:
                self._queue.popleft()
                self._dead_letter(invocation, "EventAgeExceeded")
                continue
            environment = self._reserve()
            if environment is None:
                return
            self._queue.popleft()
            _spawn(self._running, self._execute_async(environment, invocation))

    async def _execute_async(self, environment: Environment, invocation: Invocation) -> Result:
        result = await self._execute(environment, invocation)
        if result.error:
            self._dead_letter(invocation, result.error)
        return result

    def _dead_letter(self, invocation: Invocation, condition: str) -> None:
        self._settings.log_event(
            "ERROR", "deadLetter", request_id=invocation.request_id, condition=condition
        )


def _spawn(tasks: set[asyncio.Task[T]], work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Starts a task and holds it in `tasks` until it is done."""
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    return task

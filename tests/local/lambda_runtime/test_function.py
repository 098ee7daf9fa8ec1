"""Covers environment.py and function.py of local/lambda_runtime, with awslambdaric processes."""

import asyncio
import gc
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from support.gateways import eventually
from support.pids import runs

from local.invocation import Result
from local.lambda_runtime.function import (
    ASYNC_EVENT_BYTES,
    SYNC_EVENT_BYTES,
    Function,
    InitFailedError,
    PayloadTooLargeError,
)

HANDLER = """
import os, subprocess, sys, time
seen = []

def handler(event, context):
    do, value = event.get("do"), event.get("value")
    if do == "wait":
        open(value + ".started", "a").close()
        while not os.path.exists(value):
            time.sleep(0.005)
    if do == "hang":
        time.sleep(60)
    if do == "print":
        print(value, flush=True)
    if do == "raise":
        raise KeyError(value)
    if do == "exit":
        os._exit(value)
    if do == "fill":
        return "x" * value
    if do == "length":
        return len(value)
    if do == "environment":
        return dict(os.environ)
    if do == "process":
        return {"path": sys.path, "cwd": os.getcwd(), "argv": sys.argv[1:], "in": sys.stdin.read()}
    if do == "touch":
        open(value, "a").write("x")
    if do == "child":
        return subprocess.Popen(["sleep", "60"]).pid
    if do == "context":
        return {"id": context.aws_request_id, "left": context.get_remaining_time_in_millis(),
                "arn": context.invoked_function_arn, "trace": os.environ["_X_AMZN_TRACE_ID"]}
    seen.append(event.get("item"))
    return {"pid": os.getpid(), "seen": seen}
"""

Body = Callable[[Function, list[str]], Awaitable[None]]


def event(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def value(result: Result) -> Any:
    assert result.error is None, result
    return json.loads(result.payload)


def run(code: Path, body: Body, *, source: str = HANDLER, warm: int = 0, **settings: Any) -> None:
    """Writes the handler's file and runs `body` with a function that is closed afterwards."""
    (code / "app.py").write_text(source)

    async def main() -> None:
        log: list[str] = []
        variables = settings.pop("environment", {})
        function = Function("app.handler", code, variables, log=log.append, **settings)
        try:
            await function.start(warm)
            await body(function, log)
        finally:
            await function.close()

    asyncio.run(main())


class Gate:
    """A file for which the handler waits: its event is in progress until the gate is opened."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "gate"
        self.event = event(do="wait", value=str(self._file))

    def waiting(self) -> bool:
        """Whether the handler has started to wait."""
        return self._file.with_name("gate.started").exists()

    def open(self) -> None:
        self._file.touch()


def limit(function: Function, seconds: float) -> None:
    """Changes the timeout of the function for the events that follow."""
    object.__setattr__(function._settings, "timeout", seconds)


def platform(log: list[str], name: str) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in log if '"platform.' in line]
    return [entry for entry in entries if entry["event"] == f"platform.{name}"]


def test_module_state_persists_in_a_warm_environment(tmp_path: Path) -> None:
    """One environment is reused, and its handler's module state remains, as in Lambda."""

    async def body(function: Function, log: list[str]) -> None:
        first = value(await function.invoke(event(item="a")))
        second = value(await function.invoke(event(item="b")))

        assert first["seen"] == ["a"]
        assert second == {"pid": first["pid"], "seen": ["a", "b"]}
        assert len(platform(log, "initReport")) == 1

    run(tmp_path, body)


def test_concurrent_events_get_environments_of_their_own(tmp_path: Path) -> None:
    """Two events at once never share a process or its state."""

    async def body(function: Function, log: list[str]) -> None:
        one, other = await asyncio.gather(
            function.invoke(event(item="one")), function.invoke(event(item="other"))
        )

        assert value(one)["pid"] != value(other)["pid"]
        assert [value(one)["seen"], value(other)["seen"]] == [["one"], ["other"]]
        assert len(platform(log, "initReport")) == 2

    run(tmp_path, body)


def test_the_environment_used_last_is_used_next(tmp_path: Path) -> None:
    """With little traffic, one environment handles all events."""

    async def body(function: Function, _: list[str]) -> None:
        gate = Gate(tmp_path)
        slow = asyncio.ensure_future(function.invoke(gate.event))
        await eventually(gate.waiting)
        quick = await function.invoke(event())
        gate.open()
        last = value(await slow)["pid"]
        again = [value(await function.invoke(event()))["pid"] for _ in range(3)]

        assert value(quick)["pid"] != last
        assert again == [last] * 3

    run(tmp_path, body, warm=2)


def test_a_synchronous_event_is_refused_when_all_environments_are_busy(tmp_path: Path) -> None:
    """Lambda does not queue synchronous events: TooManyRequests, until one is free."""

    async def body(function: Function, _: list[str]) -> None:
        gate = Gate(tmp_path)
        busy = asyncio.ensure_future(function.invoke(gate.event))
        await eventually(gate.waiting)
        refused = await function.invoke(event())
        gate.open()

        assert refused.error == "TooManyRequests"
        assert value(await busy)
        assert value(await function.invoke(event()))

    run(tmp_path, body, concurrency=1, warm=1)


def test_an_exception_in_the_handler_keeps_the_environment(tmp_path: Path) -> None:
    """The error is Lambda's JSON, and the same process handles the next event."""

    async def body(function: Function, log: list[str]) -> None:
        before = value(await function.invoke(event()))
        failed = await function.invoke(event(do="raise", value="no"))
        after = value(await function.invoke(event()))

        assert failed.error == "Unhandled"
        assert json.loads(failed.payload)["errorType"] == "KeyError"
        assert after["pid"] == before["pid"]
        await eventually(lambda: any("KeyError" in line for line in log))

    run(tmp_path, body)


def test_a_crash_is_an_exit_error_and_the_next_event_gets_a_new_environment(
    tmp_path: Path,
) -> None:
    """A process that ends fails its own event only; module state starts anew."""

    async def body(function: Function, log: list[str]) -> None:
        before = value(await function.invoke(event(item="a")))
        crashed = await function.invoke(event(do="exit", value=7))
        after = value(await function.invoke(event(item="b")))

        assert crashed.error == "Runtime.ExitError"
        assert (
            "Runtime exited with error: exit status 7"
            in json.loads(crashed.payload)["errorMessage"]
        )
        assert after["pid"] != before["pid"]
        assert after["seen"] == ["b"]
        assert [entry["status"] for entry in platform(log, "exit")] == ["exit status 7"]

    run(tmp_path, body, concurrency=1)


def test_an_environment_that_ended_between_events_is_replaced(tmp_path: Path) -> None:
    """The next event is handled as usual."""

    async def body(function: Function, _: list[str]) -> None:
        pid = value(await function.invoke(event()))["pid"]
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not function._idle[0].alive)

        assert value(await function.invoke(event()))["pid"] != pid

    run(tmp_path, body, concurrency=1)


def test_a_timeout_kills_the_process_and_its_children(tmp_path: Path) -> None:
    """Sandbox.Timedout with Lambda's message; no process of that environment is left."""

    async def body(function: Function, log: list[str]) -> None:
        pid = value(await function.invoke(event()))["pid"]
        child = value(await function.invoke(event(do="child")))
        limit(function, 0.5)
        late = await function.invoke(event(do="hang"))
        limit(function, 60)

        assert late.error == "Sandbox.Timedout"
        assert json.loads(late.payload)["errorMessage"].endswith(
            "Error: Task timed out after 0.50 seconds"
        )
        assert not runs(pid)
        await eventually(lambda: not runs(child))
        assert len(platform(log, "timeout")) == 1
        assert value(await function.invoke(event()))["seen"] == [None]

    run(tmp_path, body, concurrency=1)


@pytest.mark.parametrize(
    ("source", "error_type"),
    [
        ("import nothing_of_that_name", "Runtime.ImportModuleError"),
        ("def handler(:", "Runtime.UserCodeSyntaxError"),
        ("handle = None", "Runtime.HandlerNotFound"),
        ("raise ValueError('no')", "ValueError"),
    ],
)
def test_an_import_error_is_reported_as_lambda_does(
    tmp_path: Path, source: str, error_type: str
) -> None:
    """For each event, and for a warm start."""

    async def body(function: Function, _: list[str]) -> None:
        for _again in range(2):
            failed = await function.invoke(event())

            assert failed.error == "Unhandled"
            assert json.loads(failed.payload)["errorType"] == error_type
        with pytest.raises(InitFailedError, match=error_type):
            await function.start()

    run(tmp_path, body, source=source, concurrency=1)


@pytest.mark.parametrize(
    ("source", "init_timeout", "problem"),
    [
        ("import os; os._exit(9)", 60.0, "Runtime exited during the Init phase: exit status 9"),
        ("import time; time.sleep(60)", 0.3, "Init phase timed out after 0.30 seconds"),
    ],
)
def test_an_init_phase_that_crashes_or_hangs_is_an_exit_error(
    tmp_path: Path, source: str, init_timeout: float, problem: str
) -> None:
    """With Lambda's message, and bounded by the init timeout."""

    async def body(function: Function, log: list[str]) -> None:
        failed = await function.invoke(event())

        assert failed.error == "Runtime.ExitError"
        assert json.loads(failed.payload)["errorMessage"] == problem
        (report,) = platform(log, "initReport")
        assert report["level"] == "ERROR"

    run(tmp_path, body, source=source, init_timeout=init_timeout)


def test_the_init_phase_does_not_count_against_the_timeout(tmp_path: Path) -> None:
    """The timeout of the function starts with the event, not with the process."""

    async def body(function: Function, log: list[str]) -> None:
        context = value(await function.invoke(event(do="context")))
        (report,) = platform(log, "initReport")

        # The start is so long that no delay of the event on a busy machine is longer.
        assert report["init_ms"] >= 3000
        assert context["left"] > 60_000 - report["init_ms"]

    run(tmp_path, body, source="import time; time.sleep(3)\n" + HANDLER, timeout=60)


@pytest.mark.parametrize("steps", range(1, 9))
def test_closing_during_a_cold_start_leaves_no_port(tmp_path: Path, steps: int) -> None:
    """However far the start has come: a socket that is not closed is a warning, which fails."""

    async def body(function: Function, _log: list[str]) -> None:
        function.invoke_async(event())
        for _ in range(steps):
            await asyncio.sleep(0)

    run(tmp_path, body)
    gc.collect()


def test_asynchronous_events_are_queued(tmp_path: Path) -> None:
    """None is refused: with one environment they are handled one after the other."""

    async def body(function: Function, log: list[str]) -> None:
        done = tmp_path / "done"
        for _ in range(5):
            function.invoke_async(event(do="touch", value=str(done)))
        await eventually(lambda: done.exists() and done.read_text() == "xxxxx")

        assert len(platform(log, "initReport")) == 1

    run(tmp_path, body, concurrency=1)


def test_asynchronous_events_use_all_environments(tmp_path: Path) -> None:
    """As many are started as the concurrency allows."""

    async def body(function: Function, log: list[str]) -> None:
        for _ in range(3):
            function.invoke_async(event())
        await eventually(lambda: len(platform(log, "initReport")) == 3)

    run(tmp_path, body, concurrency=3)


def test_an_asynchronous_event_that_fails_is_a_dead_letter_and_not_retried(
    tmp_path: Path,
) -> None:
    """One log line has the condition, and nothing of the event's content."""

    async def body(function: Function, log: list[str]) -> None:
        done = tmp_path / "done"
        failing = event(do="exit", value=1, secret="private")
        function.invoke_async(failing)
        function.invoke_async(event(do="touch", value=str(done)))
        await eventually(done.exists)

        (letter,) = platform(log, "deadLetter")
        assert letter["condition"] == "Runtime.ExitError"
        assert len(platform(log, "exit")) == 1
        assert not any("private" in line for line in log)

    run(tmp_path, body, concurrency=1)


def test_an_asynchronous_event_that_is_too_old_is_dropped(tmp_path: Path) -> None:
    """It becomes a dead letter; later events are handled."""

    async def body(function: Function, log: list[str]) -> None:
        old, young = tmp_path / "old", tmp_path / "young"
        gate = Gate(tmp_path)
        function.invoke_async(gate.event)
        function.invoke_async(event(do="touch", value=str(old)))
        function._queue[0].received -= 61
        function.invoke_async(event(do="touch", value=str(young)))
        gate.open()
        await eventually(young.exists)

        assert [entry["condition"] for entry in platform(log, "deadLetter")] == ["EventAgeExceeded"]
        assert not old.exists()

    run(tmp_path, body, warm=1, concurrency=1, max_event_age=60)


def test_payloads_are_limited_as_on_aws(tmp_path: Path) -> None:
    """6 MB in each direction, and 1 MB for asynchronous events."""

    async def body(function: Function, _: list[str]) -> None:
        padding = len(event(do="length", value=""))
        largest = event(do="length", value="x" * (SYNC_EVENT_BYTES - padding))
        assert value(await function.invoke(largest)) == SYNC_EVENT_BYTES - padding
        assert len(value(await function.invoke(event(do="fill", value=6_000_000)))) == 6_000_000

        with pytest.raises(PayloadTooLargeError):
            await function.invoke(largest + b" ")
        with pytest.raises(PayloadTooLargeError):
            function.invoke_async(b" " * (ASYNC_EVENT_BYTES + 1))
        too_large = await function.invoke(event(do="fill", value=7_000_000))
        assert json.loads(too_large.payload)["errorType"] == "Function.ResponseSizeTooLarge"
        assert value(await function.invoke(event()))["seen"] == [None]

    run(tmp_path, body, concurrency=1)


def test_the_handlers_output_is_logged_line_by_line(tmp_path: Path) -> None:
    """Lines are complete and in order, however long."""

    async def body(function: Function, log: list[str]) -> None:
        await function.invoke(event(do="print", value="one\ntwo"))
        await function.invoke(event(do="print", value="é" * 100_000))
        await eventually(lambda: len(log) == 4)

        assert log[1:] == ["one", "two", "é" * 100_000]

    run(tmp_path, body)


def test_the_developers_environment_is_not_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process has Lambda's variables and dummy credentials only."""
    for name in ("AWS_PROFILE", "AWS_SECRET_ACCESS_KEY", "MY_SECRET", "PYTHONWARNINGS"):
        monkeypatch.setenv(name, "developer")

    async def body(function: Function, _: list[str]) -> None:
        seen = value(await function.invoke(event(do="environment")))

        assert "developer" not in seen.values()
        assert not {"AWS_PROFILE", "MY_SECRET", "PYTHONWARNINGS"} & set(seen)
        assert seen["HOME"] != os.environ.get("HOME")
        assert seen["AWS_CONFIG_FILE"] == seen["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
        assert seen["AWS_SECRET_ACCESS_KEY"] == "local"
        assert seen["TABLE_NAME"] == "chat"
        assert seen["LAMBDA_TASK_ROOT"] == str(tmp_path)
        assert seen["_HANDLER"] == "app.handler"
        assert seen["TZ"] == ":UTC"
        assert seen["AWS_LAMBDA_LOG_FORMAT"] == "JSON"

    run(tmp_path, body, environment={"TABLE_NAME": "chat"})


def test_the_handler_does_not_notice_how_it_was_started(tmp_path: Path) -> None:
    """Its folder is first in sys.path, the local stack is not in it, and stdin is empty."""

    async def body(function: Function, _: list[str]) -> None:
        process = value(await function.invoke(event(do="process")))

        assert process["path"][0] == process["cwd"] == str(tmp_path)
        assert not any(entry.endswith("/local") for entry in process["path"])
        assert process["argv"] == ["app.handler"]
        assert process["in"] == ""

    run(tmp_path, body)


def test_the_context_is_lambdas(tmp_path: Path) -> None:
    """Request id, remaining time, ARN and trace id; each event has an id of its own."""

    async def body(function: Function, _: list[str]) -> None:
        one = value(await function.invoke(event(do="context")))
        two = value(await function.invoke(event(do="context")))

        assert one["id"] != two["id"]
        assert 600_000 < one["left"] <= 900_000
        assert one["arn"].startswith("arn:aws:lambda:us-east-1:")
        assert one["trace"].startswith("Root=1-")

    run(tmp_path, body, timeout=900)


def test_a_caller_that_stops_waiting_does_not_stop_the_function(tmp_path: Path) -> None:
    """The gateway stops waiting after 29 s; the handler continues in its environment."""

    async def body(function: Function, _: list[str]) -> None:
        pid = value(await function.invoke(event()))["pid"]
        gate = Gate(tmp_path)
        caller = asyncio.ensure_future(function.invoke(gate.event))
        await eventually(gate.waiting)
        caller.cancel()
        assert (await function.invoke(event())).error == "TooManyRequests"
        gate.open()
        await eventually(lambda: not function.busy)

        after = value(await function.invoke(event(item="after")))
        assert after == {"pid": pid, "seen": [None, None, "after"]}

    run(tmp_path, body, concurrency=1)


def test_close_ends_every_process_whatever_it_is_doing(tmp_path: Path) -> None:
    """Idle, busy, or ignoring SIGTERM."""
    ignoring = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    (tmp_path / "app.py").write_text(ignoring + HANDLER)

    async def main() -> None:
        function = Function("app.handler", tmp_path, {}, log=lambda _: None, concurrency=3)
        await function.start(3)
        pids = [each._process.pid for each in function._environments if each._process]
        gate = Gate(tmp_path)
        busy = asyncio.ensure_future(function.invoke(gate.event))
        function.invoke_async(event(do="hang"))
        await eventually(gate.waiting)
        await function.close()

        assert len(pids) == 3
        assert not any(runs(pid) for pid in pids)
        with pytest.raises(asyncio.CancelledError):
            await busy

    asyncio.run(main())

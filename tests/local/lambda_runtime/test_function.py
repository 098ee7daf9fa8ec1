"""Covers local/lambda_runtime/environment.py and local/lambda_runtime/function.py with real awslambdaric workers."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

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
    if do == "sleep":
        time.sleep(value)
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
    if do == "world":
        return {"path": sys.path, "cwd": os.getcwd(), "argv": sys.argv[1:], "in": sys.stdin.read()}
    if do == "touch":
        open(value, "a").write("x")
    if do == "child":
        return subprocess.Popen(["sleep", "60"]).pid
    if do == "context":
        return {"id": context.aws_request_id, "left": context.get_remaining_time_in_millis(),
                "arn": context.invoked_function_arn, "trace": os.environ["_X_AMZN_TRACE_ID"]}
    seen.append(event.get("say"))
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


async def eventually(holds: Callable[[], bool], seconds: float = 10) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, "did not come about"
        await asyncio.sleep(0.01)


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie whose parent (init) has not looked yet is gone for our purposes.
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


def platform(log: list[str], name: str) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in log if '"platform.' in line]
    return [entry for entry in entries if entry["event"] == f"platform.{name}"]


def test_state_of_a_warm_worker_meets_the_next_event(tmp_path: Path) -> None:
    """One environment is reused, and what a handler keeps in its module stays, as in Lambda."""

    async def body(function: Function, log: list[str]) -> None:
        first = value(await function.invoke(event(say="a")))
        second = value(await function.invoke(event(say="b")))

        assert first["seen"] == ["a"]
        assert second == {"pid": first["pid"], "seen": ["a", "b"]}
        assert len(platform(log, "initReport")) == 1

    run(tmp_path, body)


def test_concurrent_events_get_environments_of_their_own(tmp_path: Path) -> None:
    """Two events at once never share a process, and never share state."""

    async def body(function: Function, log: list[str]) -> None:
        slow, other = await asyncio.gather(
            function.invoke(event(do="sleep", value=0.5, say="slow")),
            function.invoke(event(do="sleep", value=0.5, say="other")),
        )

        assert value(slow)["pid"] != value(other)["pid"]
        assert [value(slow)["seen"], value(other)["seen"]] == [["slow"], ["other"]]
        assert len(platform(log, "initReport")) == 2

    run(tmp_path, body)


def test_the_environment_used_last_is_used_next(tmp_path: Path) -> None:
    """Most recently used first: with little traffic one environment serves it all."""

    async def body(function: Function, _: list[str]) -> None:
        quick, slow = await asyncio.gather(
            function.invoke(event()), function.invoke(event(do="sleep", value=0.4))
        )
        again = [value(await function.invoke(event()))["pid"] for _ in range(3)]

        assert value(quick)["pid"] != value(slow)["pid"]
        assert again == [value(slow)["pid"]] * 3

    run(tmp_path, body, warm=2)


def test_a_synchronous_event_is_refused_when_all_are_busy(tmp_path: Path) -> None:
    """Lambda does not queue synchronous events: TooManyRequests at once, and room again later."""

    async def body(function: Function, _: list[str]) -> None:
        busy = asyncio.ensure_future(function.invoke(event(do="sleep", value=0.5)))
        await asyncio.sleep(0)
        refused = await function.invoke(event())

        assert refused.error == "TooManyRequests"
        assert not busy.done()
        assert value(await busy)
        assert value(await function.invoke(event()))

    run(tmp_path, body, concurrency=1, warm=1)


def test_an_exception_in_the_handler_keeps_the_environment(tmp_path: Path) -> None:
    """The error comes back as Lambda's JSON, and the same process takes the next event."""

    async def body(function: Function, log: list[str]) -> None:
        before = value(await function.invoke(event()))
        failed = await function.invoke(event(do="raise", value="mist"))
        after = value(await function.invoke(event()))

        assert failed.error == "Unhandled"
        assert json.loads(failed.payload)["errorType"] == "KeyError"
        assert after["pid"] == before["pid"]
        await eventually(lambda: any("KeyError" in line for line in log))

    run(tmp_path, body)


def test_a_crash_is_an_exit_error_and_the_next_event_gets_a_fresh_environment(
    tmp_path: Path,
) -> None:
    """A process that dies fails its event alone; module state starts anew."""

    async def body(function: Function, log: list[str]) -> None:
        before = value(await function.invoke(event(say="a")))
        crashed = await function.invoke(event(do="exit", value=7))
        after = value(await function.invoke(event(say="b")))

        assert crashed.error == "Runtime.ExitError"
        assert (
            "Runtime exited with error: exit status 7"
            in json.loads(crashed.payload)["errorMessage"]
        )
        assert after["pid"] != before["pid"]
        assert after["seen"] == ["b"]
        assert [entry["status"] for entry in platform(log, "exit")] == ["exit status 7"]

    run(tmp_path, body, concurrency=1)


def test_a_worker_that_died_between_events_is_replaced(tmp_path: Path) -> None:
    """Somebody kills a waiting process: the next event does not notice."""

    async def body(function: Function, _: list[str]) -> None:
        pid = value(await function.invoke(event()))["pid"]
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not exists(pid))
        await asyncio.sleep(0.1)  # until the runtime has seen it, too

        assert value(await function.invoke(event()))["pid"] != pid

    run(tmp_path, body, concurrency=1)


def test_a_timeout_kills_the_worker_and_all_it_started(tmp_path: Path) -> None:
    """Sandbox.Timedout in Lambda's words; nothing of that environment goes on."""

    async def body(function: Function, log: list[str]) -> None:
        pid = value(await function.invoke(event()))["pid"]
        child = value(await function.invoke(event(do="child")))
        late = await function.invoke(event(do="sleep", value=60))

        assert late.error == "Sandbox.Timedout"
        assert json.loads(late.payload)["errorMessage"].endswith(
            "Error: Task timed out after 0.50 seconds"
        )
        assert not exists(pid)
        await eventually(lambda: not exists(child))
        assert len(platform(log, "timeout")) == 1
        assert value(await function.invoke(event()))["seen"] == [None]

    run(tmp_path, body, timeout=0.5, concurrency=1)


@pytest.mark.parametrize(
    ("source", "error_type"),
    [
        ("import nothing_of_that_name", "Runtime.ImportModuleError"),
        ("def handler(:", "Runtime.UserCodeSyntaxError"),
        ("handle = None", "Runtime.HandlerNotFound"),
        ("raise ValueError('no')", "ValueError"),
    ],
)
def test_an_error_while_importing_is_reported_as_lambda_does(
    tmp_path: Path, source: str, error_type: str
) -> None:
    """Each event gets the init error, and a warm start raises it."""

    async def body(function: Function, _: list[str]) -> None:
        for _again in range(2):
            failed = await function.invoke(event())

            assert failed.error == "Unhandled"
            assert json.loads(failed.payload)["errorType"] == error_type
        with pytest.raises(InitFailedError, match=error_type):
            await function.start()

    run(tmp_path, body, source=source, concurrency=1)


@pytest.mark.parametrize(
    ("source", "limit", "problem"),
    [
        ("import os; os._exit(9)", 60.0, "Runtime exited during the Init phase: exit status 9"),
        ("import time; time.sleep(60)", 0.3, "Init phase timed out after 0.30 seconds"),
    ],
)
def test_an_init_phase_that_does_not_end_well(
    tmp_path: Path, source: str, limit: float, problem: str
) -> None:
    """A crash and an endless import are both Runtime.ExitError, and bounded."""

    async def body(function: Function, log: list[str]) -> None:
        failed = await function.invoke(event())

        assert failed.error == "Runtime.ExitError"
        assert json.loads(failed.payload)["errorMessage"] == problem
        (report,) = platform(log, "initReport")
        assert report["level"] == "ERROR"
        assert report["init_ms"] < 50_000

    run(tmp_path, body, source=source, init_timeout=limit)


def test_a_slow_init_phase_does_not_count_against_the_timeout(tmp_path: Path) -> None:
    """The function's timeout starts with the event, not with the process."""

    async def body(function: Function, _: list[str]) -> None:
        assert value(await function.invoke(event()))

    run(tmp_path, body, source="import time; time.sleep(0.6)\n" + HANDLER, timeout=0.4)


def test_asynchronous_events_wait_for_their_turn(tmp_path: Path) -> None:
    """None is refused: they run one after the other where there is one environment."""

    async def body(function: Function, log: list[str]) -> None:
        done = tmp_path / "done"
        for _ in range(5):
            function.invoke_async(event(do="touch", value=str(done)))
        await eventually(lambda: done.exists() and done.read_text() == "xxxxx")

        assert len(platform(log, "initReport")) == 1

    run(tmp_path, body, concurrency=1)


def test_asynchronous_events_run_at_once_where_there_is_room(tmp_path: Path) -> None:
    """The queue fills every environment that may exist."""

    async def body(function: Function, log: list[str]) -> None:
        for _ in range(3):
            function.invoke_async(event(do="sleep", value=0.5))
        await eventually(lambda: len(platform(log, "initReport")) == 3)

    run(tmp_path, body, concurrency=3)


def test_an_asynchronous_event_that_fails_is_a_dead_letter_and_not_retried(
    tmp_path: Path,
) -> None:
    """One line says that it failed and how, and nothing of what was in it."""

    async def body(function: Function, log: list[str]) -> None:
        done = tmp_path / "done"
        failing = event(do="exit", value=1, secret="between us")
        function.invoke_async(failing)
        function.invoke_async(event(do="touch", value=str(done)))
        await eventually(done.exists)

        (letter,) = platform(log, "deadLetter")
        assert letter["condition"] == "Runtime.ExitError"
        assert len(platform(log, "exit")) == 1
        assert not any("between us" in line for line in log)

    run(tmp_path, body, concurrency=1)


def test_an_asynchronous_event_that_waited_too_long_is_dropped(tmp_path: Path) -> None:
    """Past the age limit an event is a dead letter; younger ones still run."""

    async def body(function: Function, log: list[str]) -> None:
        old, young = tmp_path / "old", tmp_path / "young"
        function.invoke_async(event(do="sleep", value=0.6))
        function.invoke_async(event(do="touch", value=str(old)))
        await asyncio.sleep(0.4)
        function.invoke_async(event(do="touch", value=str(young)))
        await eventually(young.exists)

        assert [entry["condition"] for entry in platform(log, "deadLetter")] == ["EventAgeExceeded"]
        assert not old.exists()

    run(tmp_path, body, warm=1, concurrency=1, max_event_age=0.4)


def test_payload_limits(tmp_path: Path) -> None:
    """6 MB each way and 1 MB asynchronously pass or fail as on AWS."""

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


def test_what_the_handler_prints_is_logged_line_by_line(tmp_path: Path) -> None:
    """Lines arrive whole and in order, however long."""

    async def body(function: Function, log: list[str]) -> None:
        await function.invoke(event(do="print", value="one\ntwo"))
        await function.invoke(event(do="print", value="é" * 100_000))
        await eventually(lambda: len(log) == 4)

        assert log[1:] == ["one", "two", "é" * 100_000]

    run(tmp_path, body)


def test_nothing_of_the_callers_environment_leaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker sees Lambda's variables and dummy credentials, never the developer's."""
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


def test_the_handler_cannot_tell_how_it_was_started(tmp_path: Path) -> None:
    """Its own folder comes first in sys.path, nothing of the local stack does, stdin is empty."""

    async def body(function: Function, _: list[str]) -> None:
        world = value(await function.invoke(event(do="world")))

        assert world["path"][0] == world["cwd"] == str(tmp_path)
        assert not any(entry.endswith("/local") for entry in world["path"])
        assert world["argv"] == ["app.handler"]
        assert world["in"] == ""

    run(tmp_path, body)


def test_the_context_is_lambdas(tmp_path: Path) -> None:
    """Request id, deadline, ARN and trace id reach the handler; each event has its own id."""

    async def body(function: Function, _: list[str]) -> None:
        one = value(await function.invoke(event(do="context")))
        two = value(await function.invoke(event(do="context")))

        assert one["id"] != two["id"]
        assert 20_000 < one["left"] <= 30_000
        assert one["arn"].startswith("arn:aws:lambda:us-east-1:")
        assert one["trace"].startswith("Root=1-")

    run(tmp_path, body, timeout=30)


def test_a_caller_that_stops_waiting_does_not_stop_the_function(tmp_path: Path) -> None:
    """The gateway gives up after 29 s; the handler goes on, and its environment is used again."""

    async def body(function: Function, _: list[str]) -> None:
        pid = value(await function.invoke(event()))["pid"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(function.invoke(event(do="sleep", value=0.5, say="on")), 0.1)
        assert (await function.invoke(event())).error == "TooManyRequests"
        await asyncio.sleep(0.8)

        after = value(await function.invoke(event(say="after")))
        assert after == {"pid": pid, "seen": [None, "on", "after"]}

    run(tmp_path, body, concurrency=1)


def test_close_ends_everything_whatever_it_is_doing(tmp_path: Path) -> None:
    """Waiting, busy, and deaf to SIGTERM: all gone within a few seconds, and no port listens."""
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    (tmp_path / "app.py").write_text(deaf + HANDLER)

    async def main() -> None:
        function = Function("app.handler", tmp_path, {}, log=lambda _: None, concurrency=3)
        await function.start(3)
        pids = [each._process.pid for each in function._environments if each._process]
        busy = asyncio.ensure_future(function.invoke(event(do="sleep", value=60)))
        function.invoke_async(event(do="sleep", value=60))
        await asyncio.sleep(0.2)
        began = time.monotonic()
        await function.close()

        assert time.monotonic() - began < 5
        assert len(pids) == 3
        assert not any(exists(pid) for pid in pids)
        with pytest.raises(asyncio.CancelledError):
            await busy

    asyncio.run(main())

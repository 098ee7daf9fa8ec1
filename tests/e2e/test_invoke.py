"""Every sample event: the handler answers it without an account.

`make invoke` starts four processes for one event, and tests/local/test_invoke.py tests that, so
here it runs once, and one function handles all events.
"""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from support import artifacts
from support.e2e_clients import PATIENCE, ROOT, SERVER
from support.threads import in_a_thread

from local.invocation import Result
from local.invoke import callback_server
from local.lambda_runtime.function import Function
from local.stack import Backends

EVENTS = sorted(path.stem for path in (ROOT / "events").glob("*.json"))
HELLO = "Hello, who are you?"
# What all events have in common: the session, the connection and API Gateway's request id.
SHARED_IDS = ("sample-session", "L0SM9cOFvHcCIhw=", "KAy8rGm6joEFsg=")
SAMPLES: dict[str, tuple[list[str], str]] = {
    "connect": ([], ""),
    "disconnect": ([], ""),
    "text": (["start", "delta", "done"], HELLO),
    "default": (["start", "delta", "done"], HELLO),
    "chat": (["start", "delta", "done"], HELLO),
    "base64": (["start", "delta", "done"], f"{HELLO} 🙂"),
    "async": (["start", "delta", "done"], HELLO),
    "part": (["start", "delta", "done"], HELLO),
    "continue": (["error"], ""),
    "stop": (["error"], ""),
    "resume": (["error"], ""),
    "history": (["history", "done"], ""),
    "clear": (["done"], ""),
    "broken": (["error"], ""),
}


def frames_in(lines: list[str]) -> list[dict[str, Any]]:
    """The frames among what was printed; each is valid."""
    prefix = "frame: "
    found = [json.loads(line.removeprefix(prefix)) for line in lines if line.startswith(prefix)]
    for frame in found:
        SERVER.validate(frame)
    return found


def check(name: str, frames: list[dict[str, Any]]) -> None:
    """These are the frames that answer this event, in order."""
    kinds, said = SAMPLES[name]
    assert kinds == list(dict.fromkeys(frame["type"] for frame in frames))
    assert list(range(len(frames))) == [frame["seq"] for frame in frames]
    assert (f"You said: {said}" if said else "") == "".join(f.get("text", "") for f in frames)


def make_invoke(name: str) -> tuple[int, str]:
    """The exit status, and all that was printed."""
    done = subprocess.run(
        ["make", "invoke", f"EVENT=events/{name}.json"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, done.stdout


def test_make_invoke_handles_a_sample_event() -> None:
    """With python-lambda-local, and its frames are printed in order."""
    status, printed = make_invoke("base64")

    assert 0 == status, printed
    assert "{'statusCode': 200}" in printed
    check("base64", frames_in(printed.splitlines()))


def test_a_file_that_is_no_event_is_reported() -> None:
    """In one sentence, and without a hang."""
    status, printed = make_invoke("missing")

    assert status != 0
    assert "is not a sample event" in printed
    assert [] == frames_in(printed.splitlines())


@dataclass(frozen=True)
class Running:
    """A function, and what it posts and logs."""

    function: Function
    loop: asyncio.AbstractEventLoop
    printed: list[str]

    def handle(self, event: str) -> Result:
        """Invokes the function and waits for its result."""
        invoked = self.function.invoke(event.encode())
        return asyncio.run_coroutine_threadsafe(invoked, self.loop).result(PATIENCE)


@asynccontextmanager
async def _opened(services: Backends) -> AsyncIterator[Running]:
    printed: list[str] = []
    async with callback_server(printed.append) as callback:
        function = Function(
            "handler.lambda_handler",
            ROOT / "src",
            services.environment(callback),
            log=printed.append,
        )
        await function.start()
        try:
            yield Running(function, asyncio.get_running_loop(), printed)
        finally:
            await function.close()


@pytest.fixture(scope="module")
def running(services: Backends) -> Iterator[Running]:
    with in_a_thread(_opened(services)) as opened:
        yield opened


@pytest.mark.parametrize("name", SAMPLES)
def test_each_sample_event_is_answered(running: Running, name: str) -> None:
    """In a session, on a connection and under a request id of its own."""

    def event(sample: str) -> str:
        source = (ROOT / "events" / f"{sample}.json").read_text()
        for shared in SHARED_IDS:
            source = source.replace(shared, f"{shared}-{name}")
        return source

    before = len(running.printed)
    with artifacts.on_failure(artifacts.writes("function.log", running.printed)):
        for each in dict.fromkeys(["connect", name]):
            result = running.handle(event(each))
            assert (None, {"statusCode": 200}) == (result.error, json.loads(result.payload))
        check(name, frames_in(running.printed[before:]))


def test_every_sample_event_is_covered() -> None:
    """The table above names them all."""
    assert EVENTS == sorted(SAMPLES)

"""A cold environment's first answer: from the start of a real `awslambdaric` process, on the clock.

- Until it asks the Runtime API for its first event: what Lambda calls the Init phase.
- Until the first frame of a question is posted. Ours looks its connection up, claims and reads the
  history first; the peers ask nobody. DynamoDB (moto) and Bedrock (scripted: it answers at once)
  are warm, so what is measured is what is ours to shorten.

Ours is the zip as it is deployed, unpacked; all run with the peers' Python, one after another in
turn. Does not know how long AWS takes to fetch the zip and to start a process.
"""

import asyncio
import base64
import contextlib
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from bench import report
from bench.cold import PEERS, PYTHON, unpacked
from bench.row import Row, against, alone
from local.lambda_runtime.function import Function
from local.loopback import HOST
from local.stack import backends

RUNS, QUICK_RUNS = 11, 2
QUESTION = "/script " + json.dumps({"chunks": 1})
# For LangChain's deprecations; and the peers' folders stay as they are.
QUIET = {"PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(slots=True)
class Posts:
    """An `@connections` endpoint, and when it was first posted to."""

    url: str = ""
    first: float = 0.0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serves on a free port, at `url`."""
        app = web.Application()
        app.add_routes([web.post("/local/@connections/{id}", self._post)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, 0).start()
            self.url = f"http://{HOST}:{runner.addresses[0][1]}/local"
            yield
        finally:
            await runner.cleanup()

    async def _post(self, request: web.Request) -> web.Response:
        self.first = self.first or time.perf_counter()
        await request.read()
        return web.Response()


@dataclass(frozen=True, slots=True)
class Start:
    """Milliseconds from the start of an environment."""

    asked: float
    posted: float


def event(kind: str, number: int) -> bytes:
    """An event as API Gateway makes it, of the members that a function reads."""
    context = {
        "eventType": kind,
        "connectionId": "bench=",
        "requestId": f"event-{number}",
        "requestTimeEpoch": int(time.time() * 1000),
        "domainName": "local",
        "stage": "local",
    }
    body = base64.b64encode(QUESTION.encode()).decode()
    return json.dumps({"requestContext": context, "body": body, "isBase64Encoded": True}).encode()


async def start(
    code: Path, module: str, variables: Mapping[str, str], posts: Posts, what: bytes
) -> Start:
    """A fresh environment handles the event."""
    handler = f"{module}.lambda_handler"
    function = Function(handler, code, {**variables, **QUIET}, python=str(PYTHON), log=_silent)
    posts.first, began = 0.0, time.perf_counter()
    try:
        await function.start()
        asked = time.perf_counter()
        result = await function.invoke(what)
    finally:
        await function.close()
    if result.error:
        raise RuntimeError(f"{handler} failed: {result.payload.decode()}")
    return Start((asked - began) * 1000, (posts.first - began) * 1000)


async def starts(task: Path, runs: int) -> dict[str, list[Start]]:
    """The cases in turn, so many times."""
    cases = {"ours": (task, "handler"), "boto3": (PEERS, "post_per_chunk"), "seed": (PEERS, "seed")}
    seen: dict[str, list[Start]] = {case: [] for case in cases}
    posts = Posts()
    async with backends(say=_silent, log=_silent) as behind, posts.serving():
        variables = behind.environment(posts.url)
        await start(task, "handler", variables, posts, event("CONNECT", 0))  # known from now on
        for at in range(1, runs + 1):
            for case, (code, module) in cases.items():
                seen[case].append(await start(code, module, variables, posts, event("MESSAGE", at)))
    return seen


def _silent(_: str) -> None:
    """Says nothing."""


def measure(quick: bool) -> list[Row]:
    """Medians of interleaved runs."""
    runs = QUICK_RUNS if quick else RUNS
    with unpacked() as zipped:
        seen = asyncio.run(starts(zipped.folder, runs))
    asked = statistics.median(each.asked for each in seen["ours"])
    first = {case: statistics.median(each.posted for each in all_) for case, all_ in seen.items()}
    if min(each.posted for all_ in seen.values() for each in all_) <= 0:
        raise RuntimeError("an answer was not posted")
    what, note = "cold start to first frame", f"under awslambdaric, {runs} runs"
    return [
        alone("init under awslambdaric", asked, "ms", note=f"{runs} runs"),
        against(what, first["ours"], "ms", "LangChain chain", first["seed"], note=note),
        against(what, first["ours"], "ms", "plain boto3, no memory", first["boto3"], note=note),
    ]


if __name__ == "__main__":
    sys.stdout.write(report.table(measure("--quick" in sys.argv)))

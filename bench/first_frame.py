"""Wall time from the start of a cold `awslambdaric` process to its first frame.

- To its first request to the Runtime API: Lambda's Init phase.
- To the first post of an answer. Ours reads the connection, acquires the lease and reads the
  history first; the peers have no store. DynamoDB (moto) and Bedrock (scripted, without delay) are
  warm, so that the figure is the function's own time.

Ours is the deployed zip, unpacked. All run with the peers' Python, interleaved. Not measured: the
time that AWS takes to fetch the zip and to start a process.
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
# Hides LangChain's deprecation warnings, and writes no bytecode into the peers' folders.
QUIET = {"PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(slots=True)
class Posts:
    """An `@connections` endpoint that records the time of its first post."""

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
    """Milliseconds from the start of an environment to the end of Init and to the first post."""

    init: float
    first_post: float


def event(kind: str, number: int) -> bytes:
    """Returns an API Gateway event with the members that a function reads."""
    context = {
        "eventType": kind,
        "connectionId": "bench=",
        "requestId": f"event-{number}",
        "requestTimeEpoch": int(time.time() * 1000),
        "apiId": "local",
        "stage": "local",
    }
    body = base64.b64encode(QUESTION.encode()).decode()
    return json.dumps({"requestContext": context, "body": body, "isBase64Encoded": True}).encode()


async def start(
    code: Path, module: str, variables: Mapping[str, str], posts: Posts, payload: bytes
) -> Start:
    """Starts a new environment and lets it handle the event."""
    handler = f"{module}.lambda_handler"
    function = Function(handler, code, {**variables, **QUIET}, python=str(PYTHON), log=_silent)
    posts.first, started = 0.0, time.perf_counter()
    try:
        await function.start()
        initialized = time.perf_counter()
        result = await function.invoke(payload)
    finally:
        await function.close()
    if result.error:
        raise RuntimeError(f"{handler} failed: {result.payload.decode()}")
    return Start((initialized - started) * 1000, (posts.first - started) * 1000)


async def starts(task: Path, runs: int) -> dict[str, list[Start]]:
    """Returns the samples of each case over so many interleaved runs."""
    cases = {"ours": (task, "handler"), "boto3": (PEERS, "post_per_chunk"), "seed": (PEERS, "seed")}
    samples: dict[str, list[Start]] = {case: [] for case in cases}
    posts = Posts()
    async with backends(say=_silent, log=_silent) as running, posts.serving():
        variables = running.environment(posts.url)
        await start(task, "handler", variables, posts, event("CONNECT", 0))  # stores the connection
        for number in range(1, runs + 1):
            for case, (code, module) in cases.items():
                message = event("MESSAGE", number)
                samples[case].append(await start(code, module, variables, posts, message))
    return samples


def _silent(_: str) -> None:
    """Discards a line of output."""


def measure(quick: bool) -> list[Row]:
    """Returns the rows: medians of interleaved runs."""
    runs = QUICK_RUNS if quick else RUNS
    with unpacked() as zipped:
        samples = asyncio.run(starts(zipped.folder, runs))
    init = statistics.median(sample.init for sample in samples["ours"])
    first = {
        case: statistics.median(sample.first_post for sample in of_case)
        for case, of_case in samples.items()
    }
    if min(sample.first_post for of_case in samples.values() for sample in of_case) <= 0:
        raise RuntimeError("an answer was not posted")
    name, note = "cold start to first frame", f"under awslambdaric, {runs} runs"
    return [
        alone("init under awslambdaric", init, "ms", note=f"{runs} runs"),
        against(name, first["ours"], "ms", "LangChain chain", first["seed"], note=note),
        against(name, first["ours"], "ms", "plain boto3, no history", first["boto3"], note=note),
    ]


if __name__ == "__main__":
    sys.stdout.write(report.table(measure("--quick" in sys.argv)))

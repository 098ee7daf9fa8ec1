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
import platform
import statistics
import sys
import tempfile
import time
import zipfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from bench import report
from bench.cold import PEERS, PYTHON
from bench.row import Row, against, alone
from deploy.package import build
from local.lambda_runtime import ARN, worker_environment
from local.processes import stop
from local.stack import HOST, backends

RUNS, QUICK_RUNS = 11, 2
PATIENCE = 120  # seconds; LangChain takes a few
CONNECTION = "bench="
QUESTION = "/script " + json.dumps({"chunks": 1})


@dataclass(slots=True)
class Start:
    """One environment's start: the event that it gets, and when what happened."""

    event: dict[str, Any]
    asked: float = 0.0
    posted: float = 0.0
    said: list[str] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Lambda:
    """A Runtime API for one environment at a time, and the `@connections` that it posts to."""

    def __init__(self) -> None:
        self.start = Start({})
        self.address = ""
        self.variables: Mapping[str, str] = {}
        self._given = 0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serves on a free port, `address`."""
        app = web.Application()
        runtime = "/2018-06-01/runtime"
        app.add_routes(
            [
                web.get(runtime + "/invocation/next", self._next),
                web.post(runtime + "/invocation/{id}/{outcome}", self._answered),
                web.post(runtime + "/init/error", self._failed),
                web.post("/local/@connections/{id}", self._post),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, 0).start()
            self.address = f"{HOST}:{runner.addresses[0][1]}"
            yield
        finally:
            await runner.cleanup()

    async def _next(self, _: web.Request) -> web.Response:
        self.start.asked = self.start.asked or time.perf_counter()
        event, self.start.event = self.start.event, {}
        if not event:
            self.start.over.set()
            await asyncio.sleep(PATIENCE)  # it is ended meanwhile
        self._given += 1
        headers = {
            "Lambda-Runtime-Aws-Request-Id": f"00000000-0000-4000-8000-{self._given:012d}",
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + PATIENCE) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": ARN,
        }
        body = json.dumps(event).encode()
        return web.Response(body=body, content_type="application/json", headers=headers)

    async def _answered(self, request: web.Request) -> web.Response:
        if request.match_info["outcome"] == "error":
            self.start.said.append(await request.text())
        return web.Response(status=202)

    async def _failed(self, request: web.Request) -> web.Response:
        self.start.said.append(await request.text())
        self.start.over.set()
        return web.Response(status=202)

    async def _post(self, request: web.Request) -> web.Response:
        self.start.posted = self.start.posted or time.perf_counter()
        await request.read()
        return web.Response()

    async def run(self, folder: Path, handler: str, event: dict[str, Any]) -> tuple[float, float]:
        """A fresh environment handles the event: ms until it asked for it, and until it posted."""
        start = self.start = Start(event)
        variables = {
            **self.variables,
            "AWS_LAMBDA_RUNTIME_API": self.address,
            "LAMBDA_TASK_ROOT": str(folder),
            "PYTHONWARNINGS": "ignore",
        }
        began = time.perf_counter()
        worker = await asyncio.create_subprocess_exec(
            *(PYTHON, "-B", "-m", "awslambdaric", handler),
            env=worker_environment(variables),
            cwd=folder,
            stdin=PIPE,
            stdout=DEVNULL,
            stderr=DEVNULL,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(PATIENCE):
                await start.over.wait()
        finally:
            await stop(worker, grace=0)
        if start.said:
            raise RuntimeError(f"{handler} failed: {start.said}")
        return (start.asked - began) * 1000, (start.posted - began) * 1000


def event(kind: str, number: int) -> dict[str, Any]:
    """An event as API Gateway makes it, of the members that a function reads."""
    now = int(time.time() * 1000)
    context = {
        "eventType": kind,
        "connectionId": CONNECTION,
        "requestId": f"event-{number}",
        "requestTimeEpoch": now,
        "domainName": "local",
        "stage": "local",
        "identity": {"sourceIp": HOST},
    }
    body = base64.b64encode(QUESTION.encode()).decode()
    return {"requestContext": context, "body": body, "isBase64Encoded": True}


async def starts(task: Path, runs: int) -> dict[str, list[tuple[float, float]]]:
    """The cases in turn, so many times."""
    cases = {"ours": (task, "handler"), "boto3": (PEERS, "post_per_chunk"), "seed": (PEERS, "seed")}
    seen: dict[str, list[tuple[float, float]]] = {case: [] for case in cases}
    function = Lambda()
    async with backends(say=_silent, log=_silent) as behind, function.serving():
        function.variables = behind.environment(f"http://{function.address}/local")
        await function.run(task, "handler.lambda_handler", event("CONNECT", 0))  # known from now on
        for at in range(1, runs + 1):
            for case, (folder, module) in cases.items():
                took = await function.run(folder, f"{module}.lambda_handler", event("MESSAGE", at))
                seen[case].append(took)
    return seen


def _silent(_: str) -> None:
    """Says nothing."""


def measure(quick: bool) -> list[Row]:
    """Medians of interleaved runs."""
    runs = QUICK_RUNS if quick else RUNS
    machine = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    with tempfile.TemporaryDirectory() as name:
        path, _ = build("lambda", Path(name), machine)
        task = Path(name) / "task"
        with zipfile.ZipFile(path) as packed:
            packed.extractall(task)
        seen = asyncio.run(starts(task, runs))
    asked = {case: statistics.median(each[0] for each in all_) for case, all_ in seen.items()}
    first = {case: statistics.median(each[1] for each in all_) for case, all_ in seen.items()}
    what, note = "cold start to first frame", f"under awslambdaric, {runs} runs"
    return [
        alone("init under awslambdaric", asked["ours"], "ms", note=f"{runs} runs"),
        against(what, first["ours"], "ms", "LangChain chain", first["seed"], note=note),
        against(what, first["ours"], "ms", "plain boto3, no memory", first["boto3"], note=note),
    ]


if __name__ == "__main__":
    sys.stdout.write(report.table(measure("--quick" in sys.argv)))

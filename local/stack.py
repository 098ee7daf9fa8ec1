"""The local stack: its parts, started in order and stopped in reverse.

Rules: one supervisor, this process, runs the gateway and the Lambda runtime; moto and Bedrock are
children (`python -m local.aws`, `python -m local.bedrock`). Everything binds to loopback. Each
failure to start is one sentence, with what the part itself said. It stops whole: no process and no
port outlives it.

What it does not know: how a person starts it (local/__main__.py), and what the parts do.
"""

import asyncio
import contextlib
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from local.auth.entry import ENTRIES, Auth
from local.aws.moto_server import NO_CONFIGURATION
from local.gateway.api import Api
from local.gateway.limits import AWS_QUOTAS, Limits
from local.gateway.server import Gateway
from local.lambda_runtime.function import CONCURRENCY, TIMEOUT_SECONDS, Function, InitFailedError
from local.page import Config
from local.processes import lines, stop
from local.recordings import unrecorded

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
TABLE = "chat"
MODEL = "scripted"
# The settings of the function (src/settings.py) that are taken from the environment of whoever
# starts the stack; nothing else of it reaches the function.
SETTINGS = (
    "ALLOWED_ORIGINS",
    "DEADLINE_SECONDS",
    "GUARDRAIL_ID",
    "GUARDRAIL_VERSION",
    "HISTORY_TOKENS",
    "HISTORY_TURNS",
    "MAX_INPUT_BYTES",
    "MAX_OUTPUT_TOKENS",
    "MODEL_FAMILY",
    "ON_DISCONNECT",
    "PERFORMANCE_LATENCY",
    "PROMPT_CACHE",
    "REQUESTS_PER_DAY",
    "RETRY_SECONDS",
    "SERVICE_TIER",
    "SESSION_DAYS",
    "SHOW_REASONING",
    "STALL_SECONDS",
    "STOP_SEQUENCES",
    "SYSTEM_PROMPT",
    "TEMPERATURE",
    "TOKENS_PER_DAY",
    "TOP_P",
)
# What suits a model better than the function's defaults. SmolLM2 has a window of 8,192 tokens.
SUITABLE = {"smollm2": {"HISTORY_TOKENS": "4000", "MAX_OUTPUT_TOKENS": "1024"}}
# Generous: a model of a gigabyte on a slow disk. It only bounds how long a broken start can last.
START_SECONDS = 120.0
# Lines of a child's stderr to show when it dies: a Python traceback's end.
TAIL_LINES = 12

Say = Callable[[str], None]


def settings_for(model: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The function's settings: what suits the model, and what the person's environment says."""
    chosen = {name: environment[name] for name in SETTINGS if name in environment}
    return {**SUITABLE.get(model, {}), **chosen}


class StackError(Exception):
    """The stack cannot start, or a part of it died. The message is for the person who ran it."""


class Child:
    """A part that runs in a process of its own and says `listening: <url>` once it serves."""

    def __init__(self, name: str, module: str, *arguments: str, log: Say) -> None:
        self.name = name
        self.url = ""
        self._command = (sys.executable, "-m", module, *arguments)
        self._log = log
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._process: Process | None = None
        self._listening = asyncio.Event()
        self._output: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Returns when `url` answers. Raises StackError if it ends, or takes too long."""
        # No AWS settings of the developer: they would say where to send what is meant to stay here.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=ROOT,
            env=environment | NO_CONFIGURATION,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
        )
        self._output = asyncio.ensure_future(self._read(self._process))
        listening = asyncio.ensure_future(self._listening.wait())
        try:
            await asyncio.wait(
                {listening, self._output},
                timeout=START_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            listening.cancel()
        if not self._listening.is_set():
            why = "ended" if self._output.done() else f"did not listen within {START_SECONDS:.0f} s"
            raise StackError(f"{self.name} {why}.{self._said()}")

    async def died(self) -> str:
        """Waits until the part ends by itself; a sentence that says so."""
        assert self._process is not None  # noqa: S101 - started
        assert self._output is not None  # noqa: S101 - started
        status = await self._process.wait()
        await self._output
        return f"{self.name} ended with status {status}.{self._said()}"

    async def close(self) -> None:
        """Ends the part."""
        if self._process is not None:
            await stop(self._process)
        if self._output is not None:
            await self._output

    async def _read(self, process: Process) -> None:
        """Reads both pipes to their ends."""
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        assert process.stderr is not None  # noqa: S101 - a pipe was asked for
        await asyncio.gather(self._read_stdout(process.stdout), self._read_stderr(process.stderr))

    async def _read_stdout(self, stream: asyncio.StreamReader) -> None:
        async for line in lines(stream):
            if line.startswith("listening: "):
                self.url = line.removeprefix("listening: ").strip()
                self._listening.set()
            else:
                self._log(line)

    async def _read_stderr(self, stream: asyncio.StreamReader) -> None:
        async for line in lines(stream):
            self._tail.append(line)
            self._log(line)

    def _said(self) -> str:
        return " It said:\n" + "\n".join(self._tail) if self._tail else ""


@dataclass(frozen=True, slots=True)
class Backends:
    """What the function calls: DynamoDB with its table, and Bedrock."""

    dynamodb: Child
    bedrock: Child

    def environment(self, callback: str, model_id: str = "", auth: Auth = "none") -> dict[str, str]:
        """The function's environment variables. `callback`: the @connections endpoint's URL.

        The model id decides which native shape is spoken; "" leaves it to the function's settings.
        """
        return {
            "AUTH": auth,
            "TABLE_NAME": TABLE,
            "MODEL_ID": model_id,
            "CALLBACK_URL": callback,
            "AWS_ENDPOINT_URL_DYNAMODB": self.dynamodb.url,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": self.bedrock.url,
        }


@contextlib.asynccontextmanager
async def backends(
    model: str = MODEL, remote_model: str = "", family: str = "", *, say: Say, log: Say
) -> AsyncIterator[Backends]:
    """Runs moto and Bedrock, side by side. Raises StackError if one does not start.

    `remote_model`: the model's name at a server by URL. `family`: what the ARN of an account's own
    model or profile is to mean.
    """
    dynamodb = Child("DynamoDB (moto)", "local.aws", "--table", TABLE, log=log)
    own = ("--family", family) if family else ()
    which = ("--model", model, "--remote-model", remote_model, *own)
    bedrock = Child("Bedrock", "local.bedrock", *which, log=log)
    say("starting DynamoDB (moto) ...")
    say(f"loading model {model} ...")
    try:
        try:
            async with asyncio.TaskGroup() as starting:
                starting.create_task(dynamodb.start())
                starting.create_task(bedrock.start())
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        yield Backends(dynamodb, bedrock)
    finally:
        await asyncio.gather(dynamodb.close(), bedrock.close())


@dataclass(eq=False)
class Stack:
    """The whole stack, as an async context manager: `async with Stack(port=3001) as stack`.

    `port` 0 takes any free one; `url` is where clients connect. `environment` is added to the
    function's variables. `say` gets progress for a person, `log` each line that the parts write,
    `record` each event that the function gets.
    `remote_model` is the model's name at a server by URL. `gateway` has hooks for tests. `auth` is
    who may connect, `hints` how a person does, and `page` what the web page has to know.
    """

    port: int = 0
    model: str = MODEL
    model_id: str = ""
    _: KW_ONLY
    remote_model: str = ""
    auth: Auth = "none"
    environment: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = AWS_QUOTAS
    chat_integration: Literal["async", "proxy"] = "async"
    function_timeout: float = TIMEOUT_SECONDS
    concurrency: int = CONCURRENCY
    warm: int = 1
    code: Path = ROOT / "src"
    handler: str = "handler.lambda_handler"
    say: Say = print
    log: Say = print
    record: Callable[[Mapping[str, Any]], None] = unrecorded
    url: str = field(default="", init=False)
    hints: list[str] = field(default_factory=list, init=False)
    page: Config = field(default_factory=dict, init=False)
    gateway: Gateway = field(init=False, repr=False)
    _parts: contextlib.AsyncExitStack = field(
        default_factory=contextlib.AsyncExitStack, init=False, repr=False
    )
    _backends: Backends | None = field(default=None, init=False, repr=False)
    _function: Function = field(init=False, repr=False)

    @property
    def busy(self) -> bool:
        """Whether the function has anything left to do."""
        return self._function.busy

    async def __aenter__(self) -> Self:
        """Raises StackError, with nothing left running."""
        port = _claim(self.port)
        async with contextlib.AsyncExitStack() as parts:
            running = await parts.enter_async_context(
                backends(
                    self.model,
                    self.remote_model,
                    self.environment.get("MODEL_FAMILY", ""),
                    say=self.say,
                    log=self.log,
                )
            )
            self.say(f"starting the function ({self.handler}) ...")
            variables = running.environment(f"http://{HOST}:{port}/local", self.model_id, self.auth)
            function = self._function = Function(
                self.handler,
                self.code,
                {**variables, **self.environment},
                timeout=self.function_timeout,
                concurrency=self.concurrency,
                log=self.log,
            )
            parts.push_async_callback(function.close)
            try:
                await function.start(self.warm)
                entry = await parts.enter_async_context(ENTRIES[self.auth](ROOT / "src", self.log))
            except InitFailedError as error:
                raise StackError(f"The function does not start: {error}") from None
            api = Api.load(chat_integration=self.chat_integration)
            self.gateway = Gateway(
                api,
                function.invoke,
                function.invoke_async,
                self.limits,
                guard=entry.guard,
                record=self.record,
            )
            parts.push_async_callback(self.gateway.close)
            self.url = f"ws://{HOST}:{await self.gateway.start(HOST, port)}"
            self.hints = entry.hints(self.url)
            self.page = {"websocket_url": self.url, **entry.page}
            self._backends = running
            self._parts = parts.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._parts.aclose()

    async def died(self) -> str:
        """Waits until a part ends by itself; a sentence that says which and why."""
        assert self._backends is not None  # noqa: S101 - entered
        watching = [
            asyncio.ensure_future(part.died())
            for part in (self._backends.dynamodb, self._backends.bedrock)
        ]
        try:
            done, _ = await asyncio.wait(watching, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for each in watching:
                each.cancel()


def _claim(port: int) -> int:
    """The port, or a free one for 0. Says early, before a model is loaded, that it is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise StackError(f"Port {port} on {HOST} cannot be used: {error.strerror}.") from None
        chosen: int = probe.getsockname()[1]
        return chosen

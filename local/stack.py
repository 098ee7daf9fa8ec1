"""The local stack: its parts, started in order and stopped in reverse.

Rules: one supervisor, this process, runs the gateway and the Lambda runtime; moto and Bedrock are
child processes (`python -m local.aws`, `python -m local.bedrock`). Everything binds to loopback. A
failure to start is reported in one sentence, followed by the output of the part that failed. After
it has stopped, no process and no port is left.

What it does not know: the command line (local/__main__.py), and what the parts do.
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

from local.auth.authorizers import Auth
from local.auth.modes import AUTH_MODES
from local.aws.account import NO_CONFIGURATION
from local.gateway.api import Api
from local.gateway.limits import AWS_QUOTAS, Limits
from local.gateway.server import Gateway
from local.lambda_runtime.function import CONCURRENCY, TIMEOUT_SECONDS, Function, InitFailedError
from local.loopback import HOST, bind
from local.page import Config
from local.processes import lines, stop
from local.recordings import discard

ROOT = Path(__file__).resolve().parent.parent
TABLE = "chat"
MODEL = "scripted"
# The function's settings (src/settings.py) that are passed on from the environment of this process;
# no other variable reaches the function.
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
# Settings that suit a model better than the defaults. SmolLM2 has a window of 8,192 tokens.
MODEL_DEFAULTS = {"smollm2": {"HISTORY_TOKENS": "4000", "MAX_OUTPUT_TOKENS": "1024"}}
# Enough for a model of a gigabyte on a slow disk. It only bounds a start that hangs.
START_SECONDS = 120.0
# How many lines of stderr are shown when a child ends: the end of a Python traceback.
TAIL_LINES = 12

Say = Callable[[str], None]


def settings_for(model: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The function's settings: defaults for the model, overridden by `environment`."""
    chosen = {name: environment[name] for name in SETTINGS if name in environment}
    return {**MODEL_DEFAULTS.get(model, {}), **chosen}


class StackError(Exception):
    """The stack cannot start, or a part of it ended. The message is for the user."""


class Child:
    """A part in a process of its own, which prints `listening: <url>` once it serves."""

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
        """Returns once the part serves at `url`. Raises StackError if it ends or takes too long."""
        # The developer's AWS settings could redirect calls that must stay on this machine.
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
            problem = (
                "ended" if self._output.done() else f"did not listen within {START_SECONDS:.0f} s"
            )
            raise StackError(f"{self.name} {problem}.{self._last_output()}")

    async def wait_for_exit(self) -> str:
        """Waits until the part ends by itself, and returns a sentence about it."""
        assert self._process is not None  # noqa: S101 - started
        assert self._output is not None  # noqa: S101 - started
        status = await self._process.wait()
        await self._output
        return f"{self.name} ended with status {status}.{self._last_output()}"

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

    def _last_output(self) -> str:
        return " Its last output:\n" + "\n".join(self._tail) if self._tail else ""


@dataclass(frozen=True, slots=True)
class Backends:
    """The services that the function calls: DynamoDB with its table, and Bedrock."""

    dynamodb: Child
    bedrock: Child

    def environment(self, callback: str, model_id: str = "", auth: Auth = "none") -> dict[str, str]:
        """The function's environment variables. `callback`: the @connections endpoint's URL.

        The model id decides the native request format; "" is the default of src/settings.py.
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
    """Runs moto and Bedrock, started concurrently. Raises StackError if one does not start.

    `remote_model`: the name of the model where `model` is a server's URL. `family`: the model
    family of ARNs that do not name one.
    """
    dynamodb = Child("DynamoDB (moto)", "local.aws", "--table", TABLE, log=log)
    options = ["--model", model, "--remote-model", remote_model]
    if family:
        options += ["--family", family]
    bedrock = Child("Bedrock", "local.bedrock", *options, log=log)
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
    """The complete stack, as an async context manager: `async with Stack(port=3001) as stack`.

    `port` 0 is any free one; `url` is where clients connect. `environment` is added to the
    function's variables. `say` is called with progress messages for the user, `log` with each line
    that the parts write, `record` with each event that the function receives.
    `remote_model` is the name of the model where `model` is a server's URL. `services` are running
    ones, which several stacks may share; None: this stack starts its own. `gateway` has hooks for
    tests. `auth` is the authentication mode, `hints` are lines about how to connect, and `page` is
    the configuration of the web page.
    """

    port: int = 0
    model: str = MODEL
    model_id: str = ""
    _: KW_ONLY
    remote_model: str = ""
    services: Backends | None = None
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
    record: Callable[[Mapping[str, Any]], None] = discard
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
        """Whether the function has events in progress or queued."""
        return self._function.busy

    async def __aenter__(self) -> Self:
        """Raises StackError, with nothing left running."""
        async with contextlib.AsyncExitStack() as parts:
            # Reserved early: the function must be given the URL before it starts, and a port that
            # is in use should be reported before a model is loaded.
            listener = parts.enter_context(_reserve(self.port))
            port = listener.getsockname()[1]
            running = self.services
            if running is None:
                running = await parts.enter_async_context(self._own_services())
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
                mode = await parts.enter_async_context(
                    AUTH_MODES[self.auth](ROOT / "src", self.log)
                )
            except InitFailedError as error:
                raise StackError(f"The function does not start: {error}") from None
            api = Api.load(chat_integration=self.chat_integration)
            self.gateway = Gateway(
                api,
                function.invoke,
                function.invoke_async,
                self.limits,
                authorizer=mode.authorizer,
                record=self.record,
            )
            parts.push_async_callback(self.gateway.close)
            self.url = f"ws://{HOST}:{await self.gateway.start(listener)}"
            self.hints = mode.hints(self.url)
            self.page = {"websocket_url": self.url, **mode.page}
            self._backends = running
            self._parts = parts.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._parts.aclose()

    def _own_services(self) -> contextlib.AbstractAsyncContextManager[Backends]:
        family = self.environment.get("MODEL_FAMILY", "")
        return backends(self.model, self.remote_model, family, say=self.say, log=self.log)

    async def wait_for_exit(self) -> str:
        """Waits until a part ends by itself, and returns a sentence about which and why."""
        assert self._backends is not None  # noqa: S101 - entered
        watching = [
            asyncio.ensure_future(part.wait_for_exit())
            for part in (self._backends.dynamodb, self._backends.bedrock)
        ]
        try:
            done, _ = await asyncio.wait(watching, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for each in watching:
                each.cancel()


def _reserve(port: int) -> socket.socket:
    try:
        return bind(port)
    except OSError as error:
        raise StackError(f"Port {port} on {HOST} cannot be used: {error.strerror}.") from None
    except OverflowError:
        raise StackError(f"{port} is not a port number.") from None

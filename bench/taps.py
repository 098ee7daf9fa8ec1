"""The warm local stack with a tap on each of the function's lines: what passes, when, how much.

A tap is a TCP relay between the function and an endpoint. It reads nothing but the first line and
one header of a request, and adds one hop on loopback to what is measured. The gateway, the taps and
the clients share the process that measures, so that one clock tells all times.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from local.gateway.api import Api
from local.gateway.server import Gateway
from local.lambda_runtime.function import CONCURRENCY, Function
from local.loopback import HOST
from local.stack import ROOT, backends

# DynamoDB's requests name the operation in a header.
_OPERATION = re.compile(rb"\r\nx-amz-target: *\w+\.(\w+)", re.IGNORECASE)
_REQUEST = (b"POST ", b"GET ")


@dataclass(slots=True)
class Exchange:
    """One request and its answer: seconds of `time.perf_counter`, and bytes with their headers.

    `pieces` are the times at which something of the answer passed, and `sizes` how much it was.
    """

    operation: str
    asked: float
    pieces: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    bytes_asked: int = 0
    bytes_answered: int = 0


class Tap:
    """Relays connections to an endpoint, and keeps each `Exchange` in `seen`."""

    def __init__(self) -> None:
        self.seen: list[Exchange] = []
        self.url = ""
        self.upstream = ""
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listens; `upstream` may be set later, before the first connection."""
        self._server = await asyncio.start_server(self._line, HOST, 0)
        self.url = f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Hangs up."""
        if self._server:
            self._server.close()
        for end in self._ends:
            end.close()
        await asyncio.sleep(0)  # those who read from them see the end

    async def _line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: requests one way, answers the other, in turn (HTTP/1.1)."""
        upstream = urlsplit(self.upstream)
        far, near = await asyncio.open_connection(upstream.hostname, upstream.port)
        self._ends |= {near, writer}
        current: list[Exchange] = []

        def asked(data: bytes) -> None:
            if data.startswith(_REQUEST):
                found = _OPERATION.search(data)
                current[:] = [Exchange(found[1].decode() if found else "", time.perf_counter())]
                self.seen += current
            current[0].bytes_asked += len(data)

        def answered(data: bytes) -> None:
            current[0].pieces.append(time.perf_counter())
            current[0].sizes.append(len(data))
            current[0].bytes_answered += len(data)

        await asyncio.gather(_relay(reader, near, asked), _relay(far, writer, answered))
        for end in (near, writer):
            self._ends.discard(end)
            end.close()


async def _relay(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, saw: Callable[[bytes], None]
) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65536):
            saw(data)
            sink.write(data)
            await sink.drain()
    sink.close()


@dataclass(slots=True)
class Tapped:
    """The stack: where clients connect, its gateway and taps, and its table's own URL.

    `arrived` are the times at which the gateway made an event out of a frame; `logged` the lines
    that the function wrote.
    """

    url: str = ""
    table_url: str = ""
    dynamodb: Tap = field(default_factory=Tap)
    bedrock: Tap = field(default_factory=Tap)
    posts: Tap = field(default_factory=Tap)
    arrived: list[float] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    gateway: Gateway | None = None

    def slow_posts(self, seconds: float) -> None:
        """From now on every post takes so long before it is delivered."""
        if self.gateway:
            self.gateway.connections.post_delay = seconds

    def forget(self) -> None:
        """Begins a new measurement."""
        for tap in (self.dynamodb, self.bedrock, self.posts):
            tap.seen.clear()
        self.arrived.clear()
        self.logged.clear()


@contextlib.asynccontextmanager
async def tapped(
    code: Path = ROOT / "src",
    handler: str = "handler.lambda_handler",
    *,
    environment: Mapping[str, str] | None = None,
    concurrency: int = CONCURRENCY,
) -> AsyncIterator[Tapped]:
    """Runs the stack with a scripted model, and the taps in it."""
    tapped = Tapped()
    async with contextlib.AsyncExitStack() as parts:
        running = await parts.enter_async_context(backends(say=_silent, log=tapped.logged.append))
        for tap in (tapped.dynamodb, tapped.bedrock, tapped.posts):
            await tap.start()
            parts.push_async_callback(tap.close)
        tapped.dynamodb.upstream = tapped.table_url = running.dynamodb.url
        tapped.bedrock.upstream = running.bedrock.url
        variables = {
            **running.environment(f"{tapped.posts.url}/local"),
            "AWS_ENDPOINT_URL_DYNAMODB": tapped.dynamodb.url,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": tapped.bedrock.url,
            **(environment or {}),
        }
        function = Function(
            handler, code, variables, concurrency=concurrency, log=tapped.logged.append
        )
        parts.push_async_callback(function.close)
        await function.start()
        gateway = Gateway(
            Api.load(chat_integration="async"),
            function.invoke,
            function.invoke_async,
            record=lambda _event: tapped.arrived.append(time.perf_counter()),
        )
        parts.push_async_callback(gateway.close)
        port = await gateway.start()
        tapped.posts.upstream = f"http://{HOST}:{port}"
        tapped.url = f"ws://{HOST}:{port}"
        tapped.gateway = gateway
        yield tapped


def _silent(_: str) -> None:
    """Says nothing."""

"""The warm local stack with a tap on each of the function's connections.

A tap is a TCP relay between the function and an endpoint that records the time and size of what
passes. It reads only the first line and one header of a request, and adds one hop on loopback. The
gateway, the taps and the clients run in the measuring process, so that all times are of one clock.
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

# A request to DynamoDB has the operation in a header.
_OPERATION = re.compile(rb"\r\nx-amz-target: *\w+\.(\w+)", re.IGNORECASE)
_REQUEST = (b"POST ", b"GET ")


@dataclass(slots=True)
class Exchange:
    """One request and its response: seconds of `time.perf_counter`, and bytes with the headers.

    `chunk_times` are the times at which parts of the response passed, `chunk_sizes` their bytes.
    """

    operation: str
    started: float
    chunk_times: list[float] = field(default_factory=list)
    chunk_sizes: list[int] = field(default_factory=list)
    request_bytes: int = 0
    response_bytes: int = 0


class Tap:
    """Relays connections to an endpoint, and records each `Exchange` in `exchanges`."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.url = ""
        self.upstream = ""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Starts listening. `upstream` may be set later, before the first connection."""
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.url = f"http://{HOST}:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Closes the server and all connections."""
        if self._server:
            self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.sleep(0)  # lets their readers see the end

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relays one connection: requests and responses alternate (HTTP/1.1)."""
        upstream = urlsplit(self.upstream)
        from_upstream, to_upstream = await asyncio.open_connection(upstream.hostname, upstream.port)
        self._writers |= {to_upstream, writer}
        current: list[Exchange] = []

        def on_request(data: bytes) -> None:
            if data.startswith(_REQUEST):
                found = _OPERATION.search(data)
                current[:] = [Exchange(found[1].decode() if found else "", time.perf_counter())]
                self.exchanges += current
            current[0].request_bytes += len(data)

        def on_response(data: bytes) -> None:
            current[0].chunk_times.append(time.perf_counter())
            current[0].chunk_sizes.append(len(data))
            current[0].response_bytes += len(data)

        await asyncio.gather(
            _relay(reader, to_upstream, on_request), _relay(from_upstream, writer, on_response)
        )
        for each in (to_upstream, writer):
            self._writers.discard(each)
            each.close()


async def _relay(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, record: Callable[[bytes], None]
) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65536):
            record(data)
            sink.write(data)
            await sink.drain()
    sink.close()


@dataclass(slots=True)
class Tapped:
    """The stack: the URL for clients, its gateway and taps, and the URL of its table.

    `frames_received` are the times at which the gateway made an event of a frame, `logged` the
    lines that the function wrote.
    """

    url: str = ""
    table_url: str = ""
    dynamodb: Tap = field(default_factory=Tap)
    bedrock: Tap = field(default_factory=Tap)
    posts: Tap = field(default_factory=Tap)
    frames_received: list[float] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    gateway: Gateway | None = None

    def slow_posts(self, seconds: float) -> None:
        """Delays the delivery of every later post."""
        if self.gateway:
            self.gateway.connections.post_delay = seconds

    def clear(self) -> None:
        """Discards what was recorded, for a new measurement."""
        for tap in (self.dynamodb, self.bedrock, self.posts):
            tap.exchanges.clear()
        self.frames_received.clear()
        self.logged.clear()


@contextlib.asynccontextmanager
async def tapped(
    code: Path = ROOT / "src",
    handler: str = "handler.lambda_handler",
    *,
    environment: Mapping[str, str] | None = None,
    concurrency: int = CONCURRENCY,
) -> AsyncIterator[Tapped]:
    """Runs the stack with a scripted model and taps."""
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
            record=lambda _event: tapped.frames_received.append(time.perf_counter()),
        )
        parts.push_async_callback(gateway.close)
        port = await gateway.start()
        tapped.posts.upstream = f"http://{HOST}:{port}"
        tapped.url = f"ws://{HOST}:{port}"
        tapped.gateway = gateway
        yield tapped


def _silent(_: str) -> None:
    """Discards a line of output."""

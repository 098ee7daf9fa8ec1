"""Concurrency of the local stack: `python -m bench.scale [--quick] [--workers 20]`.

- Memory that an idle connection adds to the gateway's process, with 2,000 of them; the peer is the
  server of the library that the gateway is built on.
- Streams: 200 at once, with every frame checked. First through the gateway alone, where all 200 run
  concurrently; then through the complete stack, where all 200 are requested at once and as many run
  as there are workers (a Lambda environment handles one event at a time, and each is a process of
  about 60 MB). The others wait in the queue of asynchronous events.
"""

import argparse
import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from bench import report
from bench.holding import allow_many_sockets
from bench.row import Row, alone
from local.loopback import HOST
from local.stack import ROOT, Stack

IDLE, QUICK_IDLE = 2_000, 300
STREAMS, QUICK_STREAMS = 200, 30
WORKERS, QUICK_WORKERS = 10, 4
CHUNKS, RATE = 30, 60  # a stream of half a second
CONCURRENT_HANDSHAKES = 50
TIMEOUT_SECONDS = 120
QUIET_SECONDS = 0.5  # no frame may arrive so long after the terminal frame

_HANDSHAKE = (
    "GET / HTTP/1.1\r\nHost: local\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def faults(frames: Sequence[Mapping[str, Any]], text: str) -> list[str]:
    """Returns what is wrong with an answer's frames."""
    if frames and frames[-1]["type"] == "error":
        return [f"{frames[-1].get('code')}: {frames[-1].get('message')}"]
    found = []
    seqs = [frame.get("seq") for frame in frames]
    if seqs != list(range(len(frames))):
        found.append(f"seq is {seqs}")
    kinds = [frame["type"] for frame in frames]
    if kinds != ["start", *["delta"] * (len(kinds) - 2), "done"]:
        found.append(f"types are {sorted(set(kinds))}")
    if len({frame.get("request_id") for frame in frames}) != 1:
        found.append("frames of several requests")
    if "".join(frame.get("text", "") for frame in frames) != text:
        found.append("the text differs")
    return found


@contextlib.asynccontextmanager
async def server(kind: str) -> AsyncIterator[tuple[Process, int]]:
    """Runs a server in its own process; yields the process and the port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.holding", kind), cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None  # noqa: S101 - a pipe
    assert process.stdout is not None  # noqa: S101 - a pipe
    try:
        line = (await process.stdout.readline()).decode()
        yield process, int(line.removeprefix("listening: "))
    finally:
        process.stdin.close()
        await process.wait()


async def resident(process: Process) -> int:
    """Returns the server's resident memory, in bytes."""
    assert process.stdin is not None  # noqa: S101 - a pipe
    assert process.stdout is not None  # noqa: S101 - a pipe
    process.stdin.write(b"?\n")
    return int(await process.stdout.readline())


async def handshake(port: int) -> asyncio.StreamWriter:
    """Opens a WebSocket connection with as little client memory as possible."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(_HANDSHAKE.encode())
    response = await reader.readuntil(b"\r\n\r\n")
    if b" 101 " not in response:
        raise RuntimeError(f"no upgrade: {response!r}")
    return writer


async def open_idle(port: int, count: int) -> list[asyncio.StreamWriter]:
    """Opens so many connections."""
    opened: list[asyncio.StreamWriter] = []
    while len(opened) < count:
        batch = min(CONCURRENT_HANDSHAKES, count - len(opened))
        opened += await asyncio.gather(*(handshake(port) for _ in range(batch)))
    return opened


async def idle(kind: str, count: int) -> float:
    """Returns the bytes that an idle connection adds."""
    async with server(kind) as (process, port):
        for writer in await open_idle(port, CONCURRENT_HANDSHAKES):  # warm-up
            writer.close()
        await asyncio.sleep(0.5)
        before = await resident(process)
        writers = await open_idle(port, count)
        after = await resident(process)
        for writer in writers:
            writer.close()
    return (after - before) / count


async def ask(socket: ClientConnection, question: str, text: str) -> list[str]:
    """Runs one stream; returns what is wrong with it."""
    frames: list[Any] = []
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await socket.send(question)
            while not frames or frames[-1]["type"] not in ("done", "error"):
                frames.append(json.loads(await socket.recv()))
        async with asyncio.timeout(QUIET_SECONDS):
            frames.append(json.loads(await socket.recv()))
    except TimeoutError:
        pass  # expected after the terminal frame; before it, `faults` reports what is missing
    return faults(frames, text)


async def ask_all(
    url: str, streams: int, prefix: str, rate: Mapping[str, int], workers: int = 1
) -> list[str]:
    """Runs so many streams at once, each with its own text; returns what is wrong with any.

    The first connections are opened together, so that all workers have started before the streams.
    """
    async with contextlib.AsyncExitStack() as parts:
        sockets = list(
            await asyncio.gather(*(connect(url, open_timeout=30) for _ in range(workers)))
        )
        sockets += [await connect(url) for _ in range(streams - workers)]
        for socket in sockets:
            parts.push_async_callback(socket.close)
        running = []
        for at, socket in enumerate(sockets):
            order = json.dumps({"chunks": CHUNKS, "text": f"w{at} ", **rate})
            running.append(ask(socket, prefix + order, f"w{at} " * CHUNKS))
        return [fault for found in await asyncio.gather(*running) for fault in found]


async def through_gateway(streams: int) -> list[str]:
    """Returns the faults of so many streams through the gateway alone."""
    async with server("gateway") as (_, port):
        return await ask_all(f"ws://{HOST}:{port}", streams, "", {})


async def through_stack(streams: int, workers: int) -> list[str]:
    """Returns the faults of so many streams through the complete stack."""
    async with Stack(concurrency=workers, say=_silent, log=_silent) as stack:
        return await ask_all(stack.url, streams, "/script ", {"rate": RATE}, workers)


def _silent(_: str) -> None:
    """Discards a line of output."""


def _first(found: Iterable[str]) -> str:
    first = next(iter(found), "")
    return first and f"; the first: {first}"


def measure(quick: bool, workers: int | None = None) -> list[Row]:
    """Returns the rows."""
    allow_many_sockets()
    count = QUICK_IDLE if quick else IDLE
    streams = QUICK_STREAMS if quick else STREAMS
    workers = workers or (QUICK_WORKERS if quick else WORKERS)
    ours, peer = asyncio.run(idle("gateway", count)), asyncio.run(idle("websockets", count))
    ours_kb, peer_kb = ours / 1024, peer / 1024
    gateway = asyncio.run(through_gateway(streams))
    stack = asyncio.run(through_stack(streams, workers))
    return [
        Row(
            f"local gateway: memory per idle connection, of {count:,}",
            ours_kb,
            "KB",
            "websockets.serve",
            peer_kb,
            ours_kb / peer_kb,
            "under 4 KB",
            ours_kb < 4,
        ),
        alone(
            f"faults in {streams} streams at once, gateway alone",
            len(gateway),
            "",
            at_most=0,
            note=f"{streams * (CHUNKS + 2):,} frames checked{_first(gateway)}",
        ),
        alone(
            f"faults in {streams} streams at once, complete stack",
            len(stack),
            "",
            at_most=0,
            note=f"requested at once, {workers} workers{_first(stack)}",
        ),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--workers", type=int)
    arguments = parser.parse_args()
    sys.stdout.write(report.table(measure(arguments.quick, arguments.workers)))

"""How much the local stack holds at once: `python -m bench.scale [--quick] [--workers 20]`.

- Memory: what 2,000 idle connections add to the gateway's process, for each; beside it the same of
  the server of the library that the gateway is made from.
- Streams: 200 at once, every frame of each looked at. First through the gateway alone, where all
  200 run beside each other; then through the whole stack, where all 200 are asked at once, and as
  many run as there are workers (a Lambda environment has one event at a time; on a laptop, each is
  a process of some 60 MB): the others wait in the queue of asynchronous events.
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
TOGETHER = 50  # handshakes at once
PATIENCE = 120
SILENCE = 0.5  # seconds after the last frame in which nothing more may come

_HANDSHAKE = (
    "GET / HTTP/1.1\r\nHost: local\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


def faults(frames: Sequence[Mapping[str, Any]], text: str) -> list[str]:
    """What is wrong with an answer's frames; nothing, where all is well."""
    if frames and frames[-1]["type"] == "error":
        return [f"{frames[-1].get('code')}: {frames[-1].get('message')}"]
    wrong = []
    seqs = [frame.get("seq") for frame in frames]
    if seqs != list(range(len(frames))):
        wrong.append(f"seq is {seqs}")
    kinds = [frame["type"] for frame in frames]
    if kinds != ["start", *["delta"] * (len(kinds) - 2), "done"]:
        wrong.append(f"types are {sorted(set(kinds))}")
    if len({frame.get("request_id") for frame in frames}) != 1:
        wrong.append("frames of several requests")
    if "".join(frame.get("text", "") for frame in frames) != text:
        wrong.append("the text is another")
    return wrong


@contextlib.asynccontextmanager
async def holding(kind: str) -> AsyncIterator[tuple[Process, int]]:
    """A server in a process of its own, and its port."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.holding", kind), cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None  # noqa: S101 - a pipe was asked for
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    try:
        line = (await process.stdout.readline()).decode()
        yield process, int(line.removeprefix("listening: "))
    finally:
        process.stdin.close()
        await process.wait()


async def resident(process: Process) -> int:
    """Its memory, in bytes."""
    assert process.stdin is not None  # noqa: S101 - a pipe was asked for
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    process.stdin.write(b"?\n")
    return int(await process.stdout.readline())


async def handshake(port: int) -> asyncio.StreamWriter:
    """One connection, upgraded; as little of a client as there can be."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(_HANDSHAKE.encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    if b" 101 " not in answer:
        raise RuntimeError(f"no upgrade: {answer!r}")
    return writer


async def open_idle(port: int, count: int) -> list[asyncio.StreamWriter]:
    """So many connections."""
    opened: list[asyncio.StreamWriter] = []
    while len(opened) < count:
        some = min(TOGETHER, count - len(opened))
        opened += await asyncio.gather(*(handshake(port) for _ in range(some)))
    return opened


async def idle(kind: str, count: int) -> float:
    """Bytes that an idle connection adds."""
    async with holding(kind) as (process, port):
        for writer in await open_idle(port, TOGETHER):  # so that nothing is made for the first time
            writer.close()
        await asyncio.sleep(0.5)
        before = await resident(process)
        writers = await open_idle(port, count)
        after = await resident(process)
        for writer in writers:
            writer.close()
    return (after - before) / count


async def ask(socket: ClientConnection, question: str, text: str) -> list[str]:
    """One stream, looked at."""
    frames: list[Any] = []
    try:
        async with asyncio.timeout(PATIENCE):
            await socket.send(question)
            while not frames or frames[-1]["type"] not in ("done", "error"):
                frames.append(json.loads(await socket.recv()))
        async with asyncio.timeout(SILENCE):
            frames.append(json.loads(await socket.recv()))
    except TimeoutError:
        pass  # as it should be after the end; before it, `faults` sees what lacks
    return faults(frames, text)


async def ask_all(
    url: str, streams: int, prefix: str, rate: Mapping[str, int], workers: int = 1
) -> list[str]:
    """So many streams at once, each with a text of its own; what is wrong with any.

    The first connections are opened together, so that each worker starts before it is asked.
    """
    async with contextlib.AsyncExitStack() as parts:
        sockets = list(
            await asyncio.gather(*(connect(url, open_timeout=30) for _ in range(workers)))
        )
        sockets += [await connect(url) for _ in range(streams - workers)]
        for socket in sockets:
            parts.push_async_callback(socket.close)
        asked = []
        for at, socket in enumerate(sockets):
            order = json.dumps({"chunks": CHUNKS, "text": f"w{at} ", **rate})
            asked.append(ask(socket, prefix + order, f"w{at} " * CHUNKS))
        return [fault for wrong in await asyncio.gather(*asked) for fault in wrong]


async def through_gateway(streams: int) -> list[str]:
    """What is wrong with that many streams through the gateway alone."""
    async with holding("gateway") as (_, port):
        return await ask_all(f"ws://{HOST}:{port}", streams, "", {})


async def through_stack(streams: int, workers: int) -> list[str]:
    """What is wrong with that many streams through everything."""
    async with Stack(concurrency=workers, say=_silent, log=_silent) as stack:
        return await ask_all(stack.url, streams, "/script ", {"rate": RATE}, workers)


def _silent(_: str) -> None:
    """Says nothing."""


def _told(wrong: Iterable[str]) -> str:
    first = next(iter(wrong), "")
    return first and f"; the first: {first}"


def measure(quick: bool, workers: int | None = None) -> list[Row]:
    """The rows."""
    allow_many_sockets()
    count = QUICK_IDLE if quick else IDLE
    streams = QUICK_STREAMS if quick else STREAMS
    workers = workers or (QUICK_WORKERS if quick else WORKERS)
    ours, peer = asyncio.run(idle("gateway", count)), asyncio.run(idle("websockets", count))
    kilo, theirs = ours / 1024, peer / 1024
    gateway = asyncio.run(through_gateway(streams))
    stack = asyncio.run(through_stack(streams, workers))
    return [
        Row(
            f"local gateway: an idle connection of {count:,}",
            kilo,
            "KB",
            "websockets.serve",
            theirs,
            kilo / theirs,
            "under 4 KB",
            kilo < 4,
        ),
        alone(
            f"faults in {streams} streams at once, gateway alone",
            len(gateway),
            "",
            most=0,
            note=f"{streams * (CHUNKS + 2):,} frames looked at{_told(gateway)}",
        ),
        alone(
            f"faults in {streams} streams, whole stack",
            len(stack),
            "",
            most=0,
            note=f"asked at once, {workers} workers{_told(stack)}",
        ),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--workers", type=int)
    asked = parser.parse_args()
    sys.stdout.write(report.table(measure(asked.quick, asked.workers)))

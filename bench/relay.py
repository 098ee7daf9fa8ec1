"""How fast an answer reaches the client: `python -m bench.relay` prints three measurements.

- Ready: from the start of `python -m local run` (scripted model) to its ready line.
- First delta: from sending a message to the first delta, on the warm stack, at a chunk a
  millisecond.
- Relay: 2,000 chunks at 200 a second where each post takes 15 ms, against one post for each chunk
  (`bench/peers`): posts, and time in relation to the model's own.

Everything runs over the local stack: real workers, unmodified boto3, a real WebSocket client.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.client import connect

from local.stack import ROOT, Stack

PEERS = Path(__file__).parent / "peers"
POST_SECONDS = 0.015  # what a post takes within a Region
CHUNKS, RATE = 2_000, 200


@dataclass(frozen=True, slots=True)
class Timing:
    """One answer: seconds to the first delta and to the end, and frames received."""

    first: float
    total: float
    frames: int


async def ask(url: str, chunks: int, rate: int) -> Timing:
    """One answer from the scripted model over a new connection."""
    order = json.dumps({"chunks": chunks, "rate": rate, "text": "w "})
    async with connect(url, max_size=None) as socket:
        began = time.perf_counter()
        await socket.send(f"/script {order}")
        first, frames, text = 0.0, 0, ""
        while True:
            frame = json.loads(await socket.recv())
            frames += 1
            if frame["type"] == "delta":
                first = first or time.perf_counter() - began
                text += frame["text"]
            if frame["type"] in ("done", "error"):
                if text != "w " * chunks:
                    raise RuntimeError(f"the answer is not whole: {frame}")
                return Timing(first, time.perf_counter() - began, frames)


def silent(_: str) -> None:
    """Says nothing."""


async def ready() -> float:
    """Seconds from the start of the stack's process to its ready line."""
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "local", "run", "--port", "0", "--model", "scripted"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    if process.stdout is None:
        raise RuntimeError("no pipe")
    async for line in process.stdout:
        if line.startswith(b"ready: "):
            break
    took = time.perf_counter() - began
    process.terminate()
    await process.communicate()
    return took


async def first_delta(runs: int) -> list[float]:
    """Seconds to the first delta, warm, at a chunk a millisecond."""
    async with Stack(say=silent, log=silent) as stack:
        await ask(stack.url, 10, 1000)
        return [(await ask(stack.url, 50, 1000)).first for _ in range(runs)]


async def relay(code: Path, handler: str, chunks: int) -> Timing:
    """One long answer with slow posts, from the handler given."""
    async with Stack(code=code, handler=handler, say=silent, log=silent) as stack:
        await ask(stack.url, 5, 100)
        stack.gateway.connections.post_delay = POST_SECONDS
        return await ask(stack.url, chunks, RATE)


async def main(runs: int, chunks: int, out: Callable[[str], object]) -> None:
    """Measures and prints, ours and the peer's in turn."""
    starts = [await ready() for _ in range(max(1, runs // 4))]
    out(f"ready after            {statistics.median(starts):6.2f} s\n")
    firsts = sorted(await first_delta(runs))
    worst = firsts[int(len(firsts) * 0.95)] * 1000
    out(f"first delta after      {statistics.median(firsts) * 1000:6.1f} ms (p95 {worst:.1f} ms)\n")
    model = chunks / RATE
    ours = await relay(ROOT / "src", "handler.lambda_handler", chunks)
    peer = await relay(PEERS, "post_per_chunk.lambda_handler", chunks)
    out(f"{chunks} chunks at {RATE}/s, {POST_SECONDS * 1000:.0f} ms a post:\n")
    for name, timing in (("ours", ours), ("a post per chunk", peer)):
        ratio = timing.total / model
        out(
            f"  {name:20} {timing.frames:5} posts {timing.total:6.2f} s {ratio:6.3f} of the model\n"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20, help="answers to take the first delta of")
    parser.add_argument("--chunks", type=int, default=CHUNKS)
    asked = parser.parse_args()
    asyncio.run(main(asked.runs, asked.chunks, sys.stdout.write))

"""The relay of an answer to the client: `python -m bench.relay`.

- Answer time: 2,000 chunks at 200 a second with 15 ms per post, relative to the model's own time,
  and to a peer that makes a post per chunk (`bench/peers`).
- Delay: the time from a delta's arrival from Bedrock to its arrival at the client, minus one post,
  which is unavoidable; relative to the median post of the same run.
- Bytes: the frames of a 4,000-token answer, against the seed's cumulative frames.
- Posts: their number if a post takes 5, 15, 50 and 150 ms.
- CPU: from Bedrock's bytes to frames, against `ChatBedrock.stream`; both with the peers'
  interpreter, in new processes, interleaved. The share of botocore alone is noted.

The first four run on the local stack: real workers, a real gateway and a real WebSocket client.
Chunks are timed where they enter the function (`bench/taps.py`), deltas at the client.
"""

import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.client import connect

from bench import machine, report
from bench.row import Row, against
from bench.taps import Exchange, tapped
from local.stack import ROOT, backends

OURS = (ROOT / "src", "handler.lambda_handler")
PEERS = Path(__file__).parent / "peers"
PER_CHUNK = (PEERS, "post_per_chunk.lambda_handler")
CUMULATIVE = (PEERS, "cumulative.lambda_handler")
PROBE = ROOT / "bench" / "probes" / "decode_to_frame.py"

WORD = "word "  # about one token
CHUNKS, QUICK_CHUNKS = 2_000, 400
RATE = 200
POST_SECONDS = 0.015  # a post within a Region
LATENCIES = (0.005, 0.015, 0.050, 0.150)
TOKENS = 4_000
# Lambda bills wall time, so CPU matters little. botocore's reading of the stream is about half of
# ChatBedrock's CPU, so a ratio below 0.5 cannot be reached with boto3.
MAX_CPU_RATIO = 0.5
CPU_CHUNKS, PACED_CHUNKS, CPU_RUNS, QUICK_CPU_RUNS = 2_000, 600, 5, 2
TIMEOUT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: its seconds, frames and their bytes, and each delta's delay in seconds.

    `post` is the median time from a post's request to its response.
    """

    total: float
    frames: int
    size: int
    delays: Sequence[float]
    post: float

    def delay(self, share: float) -> float:
        """Returns this quantile of the deltas' delays, minus one post."""
        return sorted(self.delays)[int(share * (len(self.delays) - 1))] - self.post


async def ask(code: tuple[Path, str], chunks: int, rate: int, post_seconds: float) -> Answer:
    """Measures one answer over a new connection on a warm stack, and checks that it is complete."""
    async with tapped(*code, concurrency=1) as stack, connect(stack.url, max_size=None) as socket:

        async def answer(chunks: int, rate: int) -> tuple[list[tuple[float, int]], int, int]:
            """Returns the words received by each frame's time, and the frames and bytes."""
            order = json.dumps({"chunks": chunks, "rate": rate, "text": WORD})
            await socket.send(f"/script {order}")
            text, received, frames, size = "", [], 0, 0
            while True:
                raw = await socket.recv()
                frame = json.loads(raw)
                frames, size = frames + 1, size + len(raw.encode() if isinstance(raw, str) else raw)
                text = frame.get("msg") or text + frame.get("text", "")
                received.append((time.perf_counter(), len(text) // len(WORD)))
                if frame.get("type") == "done" or frame.get("status") == "completed":
                    break
            if text != WORD * chunks:
                raise RuntimeError("the answer is incomplete")
            return received, frames, size

        async with asyncio.timeout(TIMEOUT_SECONDS):
            await answer(5, 100)
            stack.clear()
            stack.slow_posts(post_seconds)
            start = time.perf_counter()
            received, frames, size = await answer(chunks, rate)
            total = time.perf_counter() - start
        sent = chunk_arrivals(stack.bedrock.exchanges[0], chunks)
        post = statistics.median(
            call.chunk_times[0] - call.started for call in stack.posts.exchanges if call.chunk_times
        )
        return Answer(total, frames, size, delays(sent, received), post)


def chunk_arrivals(call: Exchange, chunks: int) -> list[float]:
    """Returns the time at which each chunk of text passed the tap.

    All chunks have the same size and several may pass together, so they are counted in bytes from
    the first that passed alone. One may have passed together with the start of the stream.
    """
    size = Counter(call.chunk_sizes).most_common(1)[0][0]
    first = call.chunk_sizes.index(size)
    before_first = [call.chunk_times[first - 1]] if call.chunk_sizes[first - 1] >= 2 * size else []
    ends = itertools.accumulate(call.chunk_sizes[first:])
    counts = [0, *(end // size for end in ends)]
    passed = [
        at
        for at, (before, after) in zip(
            call.chunk_times[first:], itertools.pairwise(counts), strict=True
        )
        for _ in range(before, after)
    ]
    return (before_first + passed)[:chunks]


def delays(sent: Sequence[float], received: Sequence[tuple[float, int]]) -> list[float]:
    """Returns the time from each chunk's arrival to the first frame that contains it."""
    found: list[float] = []
    for at, count in received:
        found += [at - passed for passed in sent[len(found) : count]]
    return found


async def answers(chunks: int) -> list[Row]:
    """Returns the rows of answer time and delay."""
    model = chunks / RATE
    ours = await ask(OURS, chunks, RATE, POST_SECONDS)
    peer = await ask(PER_CHUNK, chunks, RATE, POST_SECONDS)
    pace = f"{chunks:,} chunks at {RATE}/s, {POST_SECONDS * 1000:.0f} ms a post"
    rows = [
        against(
            "answer time",
            ours.total,
            "s",
            "the model's own",
            model,
            at_most=1.02,
            note=f"{pace}; {ours.frames} frames; a post per chunk: {peer.total / model:.2f}",
        ),
        against("answer time", ours.total, "s", "a post per chunk", peer.total, note=pace),
    ]
    rows += [
        against(
            f"delay of a delta, p{round(share * 100)}",
            ours.delay(share) * 1000,
            "ms",
            "one post",
            ours.post * 1000,
            at_most=at_most,
            note=pace,
        )
        for share, at_most in ((0.5, 0.7), (0.99, 2.0))
    ]
    return rows


async def sizes() -> Row:
    """Returns the row of bytes posted for a long answer."""
    ours = await ask(OURS, TOKENS, RATE, POST_SECONDS)
    peer = await ask(CUMULATIVE, TOKENS, RATE, 0.0)
    return against(
        f"bytes posted for {TOKENS:,} tokens",
        ours.size,
        "B",
        "the seed's cumulative frames",
        peer.size,
        at_most=1 / 400,
        note=f"{ours.frames} frames against {peer.frames}",
    )


async def post_counts(chunks: int) -> list[Row]:
    """Returns the number of posts for each duration of a post."""
    rows: list[Row] = []
    for seconds in LATENCIES:
        answer = await ask(OURS, chunks, RATE, seconds)
        p50, p99 = (answer.delay(share) / answer.post for share in (0.5, 0.99))
        note = f"delay of a delta: p50 {p50:.2f}, p99 {p99:.2f} of a post"
        name = f"posts per 1,000 chunks, {seconds * 1000:.0f} ms a post"
        rows.append(
            against(
                name,
                answer.frames / chunks * 1000,
                "",
                "a post per chunk",
                1000.0,
                note=note,
            )
        )
    return rows


def cpu_per_chunk(script: Path, *arguments: object) -> float:
    """Returns microseconds, from a new process of the peers' interpreter."""
    command = [str(machine.PEERS_PYTHON), str(script), *map(str, arguments)]
    credentials = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    environment = os.environ | credentials | {"AWS_DEFAULT_REGION": "us-east-1"}
    process = subprocess.run(  # noqa: S603 - ours
        command,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=True,
    )
    return float(process.stdout)


async def cpu(runs: int) -> list[Row]:
    """Returns the rows of CPU per chunk, without pauses and at a model's rate."""
    rows: list[Row] = []
    async with backends(say=_silent, log=_silent) as running:
        for rate, pace in ((0, "without pauses"), (RATE, f"at {RATE}/s")):
            kinds = ("ours", "botocore", "http")
            samples: dict[str, list[float]] = {kind: [] for kind in (*kinds, "peer")}
            for _ in range(runs):
                arguments = (running.bedrock.url, PACED_CHUNKS if rate else CPU_CHUNKS, rate)
                for kind in kinds:
                    samples[kind].append(
                        await asyncio.to_thread(cpu_per_chunk, PROBE, *arguments, kind)
                    )
                peer = PEERS / "chat_bedrock.py"
                samples["peer"].append(await asyncio.to_thread(cpu_per_chunk, peer, *arguments))
            median = {kind: statistics.median(each) for kind, each in samples.items()}
            rows.append(
                against(
                    f"CPU per chunk, {pace}",
                    median["ours"],
                    "us",
                    "ChatBedrock.stream",
                    median["peer"],
                    at_most=None if rate else MAX_CPU_RATIO,
                    note=f"of that, botocore's reading {median['botocore']:.0f} us"
                    f" (its HTTP {median['http']:.0f} us)",
                )
            )
    return rows


def _silent(_: str) -> None:
    """Discards a line of output."""


async def _all(*, quick: bool) -> list[Row]:
    chunks = QUICK_CHUNKS if quick else CHUNKS
    return [
        *await answers(chunks),
        await sizes(),
        *await post_counts(chunks // 2),
        *await cpu(QUICK_CPU_RUNS if quick else CPU_RUNS),
    ]


def measure(quick: bool) -> list[Row]:
    """Returns the rows."""
    return asyncio.run(_all(quick=quick))


if __name__ == "__main__":
    sys.stdout.write(report.table(measure("--quick" in sys.argv)))

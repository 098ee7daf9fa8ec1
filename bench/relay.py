"""An answer on its way to the client: `python -m bench.relay`.

- Answer time: 2,000 chunks at 200 a second where each post takes 15 ms, in relation to the model's
  own time; beside it a post per chunk (`bench/peers`).
- Delay: what a delta gains between leaving Bedrock and reaching the client beside its own post,
  which it would need in any case; in relation to that post, as long as it took in the same run.
- Bytes: the frames of a 4,000-token answer, against the seed's cumulative ones.
- Posts: how many there are where a post takes 5, 15, 50 and 150 ms.
- CPU: from Bedrock's bytes to frames, against `ChatBedrock.stream`, both on the peers' interpreter,
  in fresh processes, in turn; and what botocore alone takes of it.

The first four run over the local stack: real workers, a real gateway and WebSocket client. Chunks
are timed where they enter the function (`bench/taps.py`), deltas where the client has them.
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

WORD = "word "  # a token's worth
CHUNKS, QUICK_CHUNKS = 2_000, 400
RATE = 200
POST_SECONDS = 0.015  # what a post takes within a Region
LATENCIES = (0.005, 0.015, 0.050, 0.150)
TOKENS = 4_000
# Lambda bills wall time, so this is a courtesy; botocore's own reading of the stream is more than
# half of what ChatBedrock takes, so that less than 0.5 cannot be reached on boto3.
CPU_MOST = 0.5
CPU_CHUNKS, PACED_CHUNKS, CPU_RUNS, QUICK_CPU_RUNS = 2_000, 600, 5, 2
PATIENCE = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: its seconds, frames and their bytes, and each delta's delay in seconds.

    `post` is what a post took, from leaving the function to its answer (the median).
    """

    total: float
    frames: int
    size: int
    delays: Sequence[float]
    post: float

    def delay(self, share: float) -> float:
        """The delay beside the post that this share of the deltas stays within."""
        return sorted(self.delays)[int(share * (len(self.delays) - 1))] - self.post


async def ask(code: tuple[Path, str], chunks: int, rate: int, post_seconds: float) -> Answer:
    """One answer over a new connection, on a stack that is warm; checked to be whole."""
    async with tapped(*code, concurrency=1) as stack, connect(stack.url, max_size=None) as socket:

        async def answer(chunks: int, rate: int) -> tuple[list[tuple[float, int]], int, int]:
            """Where its text was how long when; its frames and bytes."""
            order = json.dumps({"chunks": chunks, "rate": rate, "text": WORD})
            await socket.send(f"/script {order}")
            text, came, frames, size = "", [], 0, 0
            while True:
                raw = await socket.recv()
                frame = json.loads(raw)
                frames, size = frames + 1, size + len(raw.encode() if isinstance(raw, str) else raw)
                text = frame.get("msg") or text + frame.get("text", "")
                came.append((time.perf_counter(), len(text) // len(WORD)))
                if frame.get("type") == "done" or frame.get("status") == "completed":
                    break
            if text != WORD * chunks:
                raise RuntimeError("the answer is not whole")
            return came, frames, size

        async with asyncio.timeout(PATIENCE):
            await answer(5, 100)
            stack.forget()
            stack.slow_posts(post_seconds)
            began = time.perf_counter()
            came, frames, size = await answer(chunks, rate)
            total = time.perf_counter() - began
        left = departures(stack.bedrock.seen[0], chunks)
        post = statistics.median(
            call.pieces[0] - call.asked for call in stack.posts.seen if call.pieces
        )
        return Answer(total, frames, size, delays(left, came), post)


def departures(call: Exchange, chunks: int) -> list[float]:
    """When each chunk of text had passed: all are of one size, and some pass together.

    Counted in bytes from the first that passed alone; one may have passed with what begins the
    stream.
    """
    size = Counter(call.sizes).most_common(1)[0][0]
    alone = call.sizes.index(size)
    begun = [call.pieces[alone - 1]] if call.sizes[alone - 1] >= 2 * size else []
    ends = itertools.accumulate(call.sizes[alone:])
    counts = [0, *(end // size for end in ends)]
    passed = [
        at
        for at, (before, after) in zip(call.pieces[alone:], itertools.pairwise(counts), strict=True)
        for _ in range(before, after)
    ]
    return (begun + passed)[:chunks]


def delays(left: Sequence[float], came: Sequence[tuple[float, int]]) -> list[float]:
    """For each chunk, from its passing to the first frame that has it."""
    gained: list[float] = []
    for at, heard in came:
        gained += [at - passed for passed in left[len(gained) : heard]]
    return gained


async def answers(chunks: int) -> list[Row]:
    """The rows of the whole stack."""
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
            most=1.02,
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
            most=most,
            note=pace,
        )
        for share, most in ((0.5, 0.7), (0.99, 2.0))
    ]
    return rows


async def sizes() -> Row:
    """What is posted for a long answer."""
    ours = await ask(OURS, TOKENS, RATE, POST_SECONDS)
    peer = await ask(CUMULATIVE, TOKENS, RATE, 0.0)
    return against(
        f"bytes posted for {TOKENS:,} tokens",
        ours.size,
        "B",
        "the seed's cumulative frames",
        peer.size,
        most=1 / 400,
        note=f"{ours.frames} frames against {peer.frames}",
    )


async def adapting(chunks: int) -> list[Row]:
    """How posts grow fewer where they take longer."""
    rows: list[Row] = []
    for seconds in LATENCIES:
        answer = await ask(OURS, chunks, RATE, seconds)
        half, most = (answer.delay(share) / answer.post for share in (0.5, 0.99))
        note = f"delay of a delta: p50 {half:.2f}, p99 {most:.2f} of a post"
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
    """Microseconds, from a fresh process of the peers' interpreter."""
    command = [str(machine.PEERS_PYTHON), str(script), *map(str, arguments)]
    credentials = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    environment = os.environ | credentials | {"AWS_DEFAULT_REGION": "us-east-1"}
    done = subprocess.run(  # noqa: S603 - ours
        command, env=environment, stdout=subprocess.PIPE, text=True, timeout=PATIENCE, check=True
    )
    return float(done.stdout)


async def cpu(runs: int) -> list[Row]:
    """From bytes to frames: as fast as they come, and at the pace of a model."""
    rows: list[Row] = []
    async with backends(say=_silent, log=_silent) as running:
        for rate, pace in ((0, "as fast as it comes"), (RATE, f"at {RATE}/s")):
            kinds = ("ours", "botocore", "http")
            taken: dict[str, list[float]] = {kind: [] for kind in (*kinds, "peer")}
            for _ in range(runs):
                arguments = (running.bedrock.url, PACED_CHUNKS if rate else CPU_CHUNKS, rate)
                for kind in kinds:
                    taken[kind].append(
                        await asyncio.to_thread(cpu_per_chunk, PROBE, *arguments, kind)
                    )
                peer = PEERS / "chat_bedrock.py"
                taken["peer"].append(await asyncio.to_thread(cpu_per_chunk, peer, *arguments))
            middle = {kind: statistics.median(each) for kind, each in taken.items()}
            rows.append(
                against(
                    f"CPU per chunk, {pace}",
                    middle["ours"],
                    "us",
                    "ChatBedrock.stream",
                    middle["peer"],
                    most=None if rate else CPU_MOST,
                    note=f"of it botocore's reading {middle['botocore']:.0f} us"
                    f" (HTTP alone {middle['http']:.0f} us)",
                )
            )
    return rows


def _silent(_: str) -> None:
    """Says nothing."""


async def _all(*, quick: bool) -> list[Row]:
    chunks = QUICK_CHUNKS if quick else CHUNKS
    return [
        *await answers(chunks),
        await sizes(),
        *await adapting(chunks // 2),
        *await cpu(QUICK_CPU_RUNS if quick else CPU_RUNS),
    ]


def measure(quick: bool) -> list[Row]:
    """The rows."""
    return asyncio.run(_all(quick=quick))


if __name__ == "__main__":
    sys.stdout.write(report.table(measure("--quick" in sys.argv)))

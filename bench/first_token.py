"""Latency that the function adds to the model's own: `python -m bench.first_token`.

- From a frame's arrival at the gateway to the function's request to Bedrock.
- From Bedrock's first text to the client's first delta.
- DynamoDB's round trips in a turn, and those before the call to Bedrock. They are counted, since on
  AWS each takes some milliseconds; the time that moto takes for them is subtracted.

Measured on the warm local stack, through taps (`bench/taps.py`). The peer has no store, so its
figures are the cost of the transport alone.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from bench import report
from bench.row import Row, alone
from bench.taps import Tapped, tapped
from local.stack import ROOT

PEERS = Path(__file__).parent / "peers"
RATE = 20  # chunks a second: `start` is posted well before the first text arrives
ORDER = "/script " + json.dumps({"reasoning": 1, "chunks": 3, "rate": RATE})
TIMEOUT_SECONDS = 30  # an answer takes a fraction of a second
RUNS, QUICK_RUNS = 60, 8


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: milliseconds and round trips. `to_bedrock` excludes DynamoDB's time."""

    to_bedrock: float
    in_dynamodb: float
    to_client: float
    before: int
    trips: int
    posts: int


async def ask(stack: Tapped, socket: ClientConnection) -> Turn:
    """Sends one question and returns what the taps recorded."""
    stack.clear()
    await socket.send(ORDER)
    first, frame = 0.0, {"type": ""}
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while frame["type"] != "done":
            frame = json.loads(await socket.recv())
            if frame["type"] == "delta":
                first = first or time.perf_counter()
            if frame["type"] == "error":
                raise RuntimeError(f"no answer: {frame}")
    call = stack.bedrock.exchanges[0]
    # Reasoning arrives at once and is not sent to the client; the text follows after a pause.
    text_at = next(
        later
        for earlier, later in zip(call.chunk_times, call.chunk_times[1:], strict=False)
        if later - earlier > 0.5 / RATE
    )
    before = [trip for trip in stack.dynamodb.exchanges if trip.started < call.started]
    in_dynamodb = sum(trip.chunk_times[-1] - trip.started for trip in before)
    return Turn(
        to_bedrock=(call.started - stack.frames_received[0] - in_dynamodb) * 1000,
        in_dynamodb=in_dynamodb * 1000,
        to_client=(first - text_at) * 1000,
        before=len(before),
        trips=len(stack.dynamodb.exchanges),
        posts=len(stack.posts.exchanges),
    )


async def turns(code: Path, handler: str, runs: int) -> list[Turn]:
    """Returns so many turns of one conversation, after a warm-up turn."""
    async with tapped(code, handler, concurrency=1) as stack, connect(stack.url) as socket:
        await ask(stack, socket)
        return [await ask(stack, socket) for _ in range(runs)]


def p95(values: Sequence[float]) -> float:
    """Returns the 95th percentile."""
    return sorted(values)[int(len(values) * 0.95)]


def measure(quick: bool) -> list[Row]:
    """Returns the rows."""
    runs = QUICK_RUNS if quick else RUNS
    ours = asyncio.run(turns(ROOT / "src", "handler.lambda_handler", runs))
    peer = asyncio.run(turns(PEERS, "post_per_chunk.lambda_handler", runs))
    rows = [
        alone(
            "DynamoDB round trips before Bedrock is called",
            max(turn.before for turn in ours),
            "",
            at_most=3,
            note="connection, lease, history; in turns after the first",
        ),
        alone("DynamoDB round trips in a turn", max(turn.trips for turn in ours), ""),
    ]
    moto = statistics.median(turn.in_dynamodb for turn in ours)
    for name, part, note in (
        ("frame to Bedrock's request, warm", "to_bedrock", f"without {moto:.1f} ms of moto"),
        ("Bedrock's first text to first delta, warm", "to_client", ""),
    ):
        mine = [getattr(turn, part) for turn in ours]
        theirs = [getattr(turn, part) for turn in peer]
        ours_p50, peer_p50 = statistics.median(mine), statistics.median(theirs)
        rows.append(
            Row(
                name,
                ours_p50,
                "ms",
                "no history, no lease",
                peer_p50,
                ours_p50 / peer_p50,
                "",
                None,
                f"p50; p95: {p95(mine):.1f} and {p95(theirs):.1f} ms; {note}".removesuffix("; "),
            )
        )
    return rows


if __name__ == "__main__":
    sys.stdout.write(report.table(measure("--quick" in sys.argv)))

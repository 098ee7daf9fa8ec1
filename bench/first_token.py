"""What a person waits for beside the model: `python -m bench.first_token`.

- From the frame's arrival at the gateway to Bedrock's request leaving the function.
- From Bedrock's first words to the client's first delta.
- DynamoDB's round trips in a turn, and those before Bedrock is called: on AWS each takes some
  milliseconds, so they are counted; what moto takes for them here is left out of the times.

On the warm local stack, through taps (`bench/taps.py`); the peer, which asks nobody and remembers
nothing, is what the way itself costs.
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
PACE = 20  # chunks a second: the first words come when `start` has long been posted
ORDER = "/script " + json.dumps({"reasoning": 1, "chunks": 3, "rate": PACE})
PATIENCE = 30  # seconds; an answer takes a fraction of one
RUNS, QUICK_RUNS = 60, 8


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn, in milliseconds and round trips. `to_bedrock` is without DynamoDB's own time."""

    to_bedrock: float
    in_dynamodb: float
    to_client: float
    before: int
    trips: int
    posts: int


async def ask(stack: Tapped, socket: ClientConnection) -> Turn:
    """One question, and what was seen of it."""
    stack.forget()
    await socket.send(ORDER)
    first, frame = 0.0, {"type": ""}
    async with asyncio.timeout(PATIENCE):
        while frame["type"] != "done":
            frame = json.loads(await socket.recv())
            if frame["type"] == "delta":
                first = first or time.perf_counter()
            if frame["type"] == "error":
                raise RuntimeError(f"no answer: {frame}")
    call = stack.bedrock.seen[0]
    # What the model thinks comes at once and is not shown; its words come after a silence.
    words = next(
        later
        for earlier, later in zip(call.pieces, call.pieces[1:], strict=False)
        if later - earlier > 0.5 / PACE
    )
    before = [trip for trip in stack.dynamodb.seen if trip.asked < call.asked]
    in_dynamodb = sum(trip.pieces[-1] - trip.asked for trip in before)
    return Turn(
        to_bedrock=(call.asked - stack.arrived[0] - in_dynamodb) * 1000,
        in_dynamodb=in_dynamodb * 1000,
        to_client=(first - words) * 1000,
        before=len(before),
        trips=len(stack.dynamodb.seen),
        posts=len(stack.posts.seen),
    )


async def turns(code: Path, handler: str, runs: int) -> list[Turn]:
    """So many turns of one conversation, after one that warms."""
    async with tapped(code, handler, concurrency=1) as stack, connect(stack.url) as socket:
        await ask(stack, socket)
        return [await ask(stack, socket) for _ in range(runs)]


def p95(values: Sequence[float]) -> float:
    """The 95th percentile."""
    return sorted(values)[int(len(values) * 0.95)]


def measure(quick: bool) -> list[Row]:
    """The rows."""
    runs = QUICK_RUNS if quick else RUNS
    ours = asyncio.run(turns(ROOT / "src", "handler.lambda_handler", runs))
    peer = asyncio.run(turns(PEERS, "post_per_chunk.lambda_handler", runs))
    rows = [
        alone(
            "DynamoDB round trips before Bedrock is called",
            max(turn.before for turn in ours),
            "",
            most=3,
            note="connection, claim, history; in turns later than the first",
        ),
        alone("DynamoDB round trips in a turn", max(turn.trips for turn in ours), ""),
    ]
    moto = statistics.median(turn.in_dynamodb for turn in ours)
    for name, part, note in (
        ("frame to Bedrock's request, warm", "to_bedrock", f"without {moto:.1f} ms of moto's own"),
        ("Bedrock's first words to first delta, warm", "to_client", ""),
    ):
        mine = [getattr(turn, part) for turn in ours]
        theirs = [getattr(turn, part) for turn in peer]
        middle, beside = statistics.median(mine), statistics.median(theirs)
        rows.append(
            Row(
                name,
                middle,
                "ms",
                "no memory, no claim",
                beside,
                middle / beside,
                "",
                None,
                f"p50; p95: {p95(mine):.1f} and {p95(theirs):.1f} ms; {note}".removesuffix("; "),
            )
        )
    return rows


if __name__ == "__main__":
    sys.stdout.write(report.table(measure("--quick" in sys.argv)))

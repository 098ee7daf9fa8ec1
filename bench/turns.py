"""The cost of a turn late in a conversation: `python -m bench.turns`.

Measured are DynamoDB's calls, the bytes of its responses (which it charges reads by), and the
function's CPU. Wall time is not: moto's grows with a conversation, DynamoDB's does not.

The window is 20 turns and full in both conversations, one with 20 earlier turns and one with 1,000.
With the default of 50 turns, turn 20 reads less than the window; the last row shows that. The two
conversations have different sessions, and each measured turn extends its own.
"""

import asyncio
import contextlib
import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import msgspec
from websockets.asyncio.client import ClientConnection, connect

from bench import report
from bench.row import Row, against
from bench.taps import Tapped, tapped
from local.aws.account import CREDENTIALS, REGION
from local.stack import ROOT, TABLE

sys.path[:0] = [str(ROOT / "src")]

from memory import Turn  # noqa: E402 - needs the path above
from settings import MAX_BATCH_WRITE  # noqa: E402 - as above
from store.conversations import session_key, turn_sk  # noqa: E402 - as above

PROBES = Path(__file__).parent / "probes"
WINDOW = 20
EARLY, LATE = 20, 1_000
QUESTION = "What about it? " * 10  # 150 bytes
ANSWER = "It depends on several things. " * 20  # 600 bytes, about 150 tokens
TOKENS = 190
ORDER = "/script " + json.dumps({"chunks": 20, "text": "w "})
RUNS, QUICK_RUNS = 15, 3
TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Cost:
    """One turn: DynamoDB's calls, the bytes of their responses, and milliseconds of CPU."""

    calls: int
    read: int
    cpu: float


def fill(url: str, session_id: str, turns: int) -> None:
    """Writes so many turns to the table."""
    client: Any = boto3.client(
        "dynamodb",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    puts = [{"PutRequest": {"Item": item(session_id, n)}} for n in range(1, turns + 1)]
    for start in range(0, turns, MAX_BATCH_WRITE):
        client.batch_write_item(RequestItems={TABLE: puts[start : start + MAX_BATCH_WRITE]})
    client.close()


def item(session_id: str, number: int) -> dict[str, dict[str, str]]:
    """Returns a turn as a DynamoDB item."""
    now = int(time.time())
    turn = Turn(
        number=number,
        request_id=f"r{number}",
        user=QUESTION,
        assistant=ANSWER,
        state="complete",
        tokens=TOKENS,
        created_at=now,
        stop_reason="end_turn",
    )
    attributes = {
        **session_key(session_id, turn_sk(number)),
        **msgspec.structs.asdict(turn),
        "expires_at": now + 86_400,
    }
    return {
        name: {"S": value} if isinstance(value, str) else {"N": str(value)}
        for name, value in attributes.items()
    }


async def cost(stack: Tapped, socket: ClientConnection) -> Cost:
    """Runs one more turn of the conversation and returns its cost."""
    stack.clear()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await socket.send(ORDER)
        frame = {"type": ""}
        while frame["type"] != "done":
            frame = json.loads(await socket.recv())
            if frame["type"] == "error":
                raise RuntimeError(f"no answer: {frame}")
        while not (cpu := [line for line in stack.logged if "cpu_ms" in line]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # logged after the last frame
    trips = stack.dynamodb.exchanges
    return Cost(
        len(trips), sum(trip.response_bytes for trip in trips), json.loads(cpu[0])["cpu_ms"]
    )


async def costs(window: int, runs: int) -> tuple[list[Cost], list[Cost]]:
    """Returns the costs of so many early and late turns, interleaved."""
    environment = {"HISTORY_TURNS": str(window)}
    async with contextlib.AsyncExitStack() as parts:
        stack = await parts.enter_async_context(
            tapped(PROBES, "timed_handler.lambda_handler", environment=environment, concurrency=1)
        )
        await asyncio.to_thread(fill, stack.table_url, "early", EARLY)
        await asyncio.to_thread(fill, stack.table_url, "late", LATE)
        # All before the first turn: the one worker refuses a connection while it ends a turn.
        sockets = [
            await parts.enter_async_context(connect(f"{stack.url}?session_id={name}"))
            for name in ("warm", "early", "late")
        ]
        await cost(stack, sockets[0])
        pairs = [[await cost(stack, each) for each in sockets[1:]] for _ in range(runs)]
    return [early for early, _ in pairs], [late for _, late in pairs]


def measure(quick: bool) -> list[Row]:
    """Returns the rows."""
    runs = QUICK_RUNS if quick else RUNS
    rows = []
    early, late = asyncio.run(costs(WINDOW, runs))
    for name, part, unit in (
        ("turn 1,000: DynamoDB calls", "calls", ""),
        ("turn 1,000: bytes read from DynamoDB", "read", "bytes"),
        ("turn 1,000: the function's CPU", "cpu", "ms"),
    ):
        ours, theirs = (
            statistics.median(getattr(each, part) for each in samples) for samples in (late, early)
        )
        rows.append(against(name, ours, unit, "turn 20", theirs, at_most=1.1))
    if quick:
        return rows
    early, late = asyncio.run(costs(50, 1))
    note = "the default window, 50 turns, is not full at turn 20"
    name, peer = "turn 1,000: bytes read, window of 50", "turn 20"
    rows.append(against(name, late[0].read, "bytes", peer, early[0].read, note=note))
    return rows


if __name__ == "__main__":
    sys.stdout.write(report.table(measure("--quick" in sys.argv)))

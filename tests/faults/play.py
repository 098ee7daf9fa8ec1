"""Plays rows, several at a time."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from faults.rows import Outcome, Row
from faults.scene import Scene
from faults.stage import Pace, stage

# At once: as many as keep two cores busy; and those that mostly wait, for a lease or for patience.
BUSY, WAITING = 6, 14


async def play(
    rows: Sequence[Row], pace: Pace, log: Callable[[str], None]
) -> Mapping[str, Outcome]:
    """What came of each row, by its id."""
    rooms = {False: asyncio.Semaphore(BUSY), True: asyncio.Semaphore(WAITING)}
    outcomes: dict[str, Outcome] = {}

    async with stage(pace, log) as stack:

        async def one(row: Row) -> None:
            async with rooms[row.waits]:
                outcomes[row.id] = await Scene(stack, row).play()
                log(f"{row.id}: {outcomes[row.id]}")

        async with asyncio.TaskGroup() as playing:
            for row in sorted(rows, key=lambda row: not row.waits):
                playing.create_task(one(row))
    return {row.id: outcomes[row.id] for row in rows}

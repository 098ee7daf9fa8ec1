"""Plays rows, several at a time."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from faults.harness import Pace, Stage, stage
from faults.rows import Outcome, Row
from faults.scenario import Scene

# A machine that is busy with other things may be too slow for a fault to find its place in time:
# the row is played again, with an answer that takes longer.
TRIES = 3
LONGER = 2.5

Told = Callable[[Row, Outcome], None]


async def play(
    rows: Sequence[Row], pace: Pace, log: Callable[[str], None], told: Told
) -> Mapping[str, Outcome]:
    """What came of each row, by its id. `told` hears of each as it ends."""
    rooms = {False: asyncio.Semaphore(pace.busy), True: asyncio.Semaphore(pace.waiting)}
    outcomes: dict[str, Outcome] = {}

    async with stage(pace, len(rows), log) as ready:

        async def one(row: Row) -> None:
            async with rooms[row.waits]:
                outcomes[row.id] = await _until_it_happens(ready, row)
            told(row, outcomes[row.id])

        async with asyncio.TaskGroup() as playing:
            for row in sorted(rows, key=lambda row: not row.waits):
                playing.create_task(one(row))
    return {row.id: outcomes[row.id] for row in rows}


async def _until_it_happens(ready: Stage, row: Row) -> Outcome:
    outcome = await Scene(ready, row).play()
    for _ in range(TRIES - 1):
        if not outcome.missed:
            break
        row = replace(row, paced=True, stretch=row.stretch * LONGER)
        outcome = await Scene(ready, row).play()
    return outcome

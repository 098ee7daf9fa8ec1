"""Runs rows, several at a time."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from faults.harness import Pace, running
from faults.rows import Outcome, Row
from faults.scenario import Scenario

Report = Callable[[Row, Outcome], None]


async def run(
    rows: Sequence[Row], pace: Pace, log: Callable[[str], None], report: Report
) -> Mapping[str, Outcome]:
    """The outcome of each row, by its id. `report` is called as each one ends."""
    slots = {False: asyncio.Semaphore(pace.busy), True: asyncio.Semaphore(pace.waiting)}
    outcomes: dict[str, Outcome] = {}

    async with running(pace, len(rows), log) as harness:

        async def one(row: Row) -> None:
            async with slots[row.waits]:
                outcomes[row.id] = await Scenario(harness, row).run()
            report(row, outcomes[row.id])

        async with asyncio.TaskGroup() as group:
            for row in sorted(rows, key=lambda row: not row.waits):
                group.create_task(one(row))
    return {row.id: outcomes[row.id] for row in rows}

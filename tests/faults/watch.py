"""What the proxy asks about the calls of one run."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from faults.proxy import Fault

POSTS = ("start", "delta", "end")
MEMORY = "memory"  # any call to DynamoDB
MID_STREAM = "mid-stream"  # a look, when some of the answer is written down, and some is not


@dataclass
class Watch:
    """What the proxy asks about the calls of one run: counts them, and knows what befalls which."""

    faults: tuple[Fault, ...]
    on_strike: Callable[[Fault], Coroutine[Any, Any, None]]
    calls: Counter[str] = field(default_factory=Counter)
    strikes: Counter[Fault] = field(default_factory=Counter)
    happening: list[asyncio.Future[None]] = field(default_factory=list)
    process: int = 0  # that was struck last

    def meets(self, call: str) -> Fault | None:
        """Counts a try of this call, and among those of memory; gives what befalls it."""
        names = [call] if call in POSTS else [call, MEMORY]
        if call == "look" and self.calls["note"]:
            names.append(MID_STREAM)
        self.calls.update(names)
        for fault in self.faults:
            if fault.at in names and 0 <= self.calls[fault.at] - fault.nth < fault.times:
                return fault
        return None

    async def struck(self, fault: Fault, process: int) -> None:
        """The fault happens now. It takes its time, also where the caller does not wait for it."""
        self.strikes[fault] += 1
        self.process = process
        if self.strikes[fault] == 1:
            happening = asyncio.ensure_future(self.on_strike(fault))
            self.happening.append(happening)
            await asyncio.shield(happening)

    @property
    def missed(self) -> list[Fault]:
        """What never came to pass."""
        return [fault for fault in self.faults if not self.strikes[fault]]

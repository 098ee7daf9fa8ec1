"""The calls of one run, as the proxy sees them: their counts, and the fault that each one meets."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from faults.proxy import Fault

POSTS = ("start", "delta", "end")
ANY_DYNAMODB = "any DynamoDB call"
MID_STREAM = "mid-stream"  # a poll after a checkpoint: part of the answer is stored, part is not
AFTER_THE_ANSWER = {"save", "end"}
HELD_AFTER = 12  # deltas: so many are sent of an answer that is held


@dataclass
class CallMonitor:
    """Counts the calls of one run, selects their faults, and holds its answer where that is needed.

    An answer is held until every call in `holds_until` has met its fault (or was made, where it has
    none) and `release` was called if `holds_for_client`. Until then a delta is let through only
    when the one before it was posted, and at most `HELD_AFTER` of them.

    `on_fault` is awaited once for each fault, the first time that it happens. `abandoned` counts
    calls whose caller did not wait for the response.
    """

    faults: tuple[Fault, ...]
    on_fault: Callable[[Fault], Coroutine[Any, Any, None]]
    holds_until: frozenset[str] = frozenset()
    holds_for_client: bool = False
    calls: Counter[str] = field(default_factory=Counter)
    happened: Counter[Fault] = field(default_factory=Counter)
    reactions: list[asyncio.Future[None]] = field(default_factory=list)
    process: int = 0  # that made the call of the newest fault
    abandoned: int = 0
    _streaming: bool = False
    _first_delta: asyncio.Event = field(default_factory=asyncio.Event)

    async def fault_for(self, call: str) -> Fault | None:
        """Counts an attempt of this call; returns the fault that it meets."""
        if call in ("poll", "renew") and self._streaming:
            # An answer is polled for a stop once it has begun; here it has a first word by then.
            await self._first_delta.wait()
        names = [call] if call in POSTS else [call, ANY_DYNAMODB]
        if call == "poll" and self.calls["checkpoint"]:
            names.append(MID_STREAM)
        self.calls.update(names)
        for fault in self.faults:
            if fault.call in names and 0 <= self.calls[fault.call] - fault.nth < fault.times:
                return fault
        return None

    async def fault_happens(self, fault: Fault, process: int) -> None:
        """Waits for the reaction to a fault, which is not cancelled with the caller."""
        self.happened[fault] += 1
        self.process = process
        if self.happened[fault] == 1:
            reaction = asyncio.ensure_future(self.on_fault(fault))
            self.reactions.append(reaction)
            await asyncio.shield(reaction)

    @property
    def holds(self) -> bool:
        """Whether the answer may not end yet."""
        faults = {fault.call: fault for fault in self.faults}
        waiting = (
            not (self.happened[faults[call]] if call in faults else self.calls[call])
            for call in self.holds_until
        )
        reacting = not all(reaction.done() for reaction in self.reactions)
        return any(waiting) or self.holds_for_client or (bool(self.holds_until) and reacting)

    def stream_begins(self) -> None:
        """Bedrock is called."""
        self._streaming = True

    def may_send(self, delta: int) -> bool:
        """Whether the nth delta of the answer (from 1) may be let through."""
        return not self.holds or (self.calls["delta"] >= delta - 1 and delta <= HELD_AFTER)

    def delta_sent(self) -> None:
        """A delta was let through."""
        self._first_delta.set()

    def release(self) -> None:
        """The client no longer holds the answer."""
        self.holds_for_client = False

    @property
    def missed(self) -> list[Fault]:
        """The faults that never happened."""
        return [fault for fault in self.faults if not self.happened[fault]]

"""The values of the matrix: a row, what it must end in, and what it ended in."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from faults.monitor import AFTER_THE_ANSWER
from faults.proxy import FOREVER, Fault

if TYPE_CHECKING:
    from faults.scenario import Scenario

CHUNKS = 24
WAITING = ("killed before", "killed after", "frozen", "silent")

ClientScript = Callable[["Scenario"], Awaitable[None]]


async def ask_and_listen(scenario: "Scenario") -> None:
    """Sends a question and receives its answer."""
    await scenario.ask()
    await scenario.listen()


async def leave(scenario: "Scenario") -> None:
    """Closes the connection."""
    await scenario.leave()


@dataclass(frozen=True, slots=True)
class Expected:
    """The end of a row: the terminal frame, the turn's state, and the number of calls charged.

    A terminal frame is written `done end_turn` or `error throttled`; `-` means that there is no
    turn. `charged` is None where the fault and the model's first word race: 0 or 1.
    """

    end: str = "done end_turn"
    turn: str = "complete"
    charged: int | None = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row. `order` is for the scripted model; `frame` is added to the client's own frame.

    The answer is held (see `monitor`) until the `faults` of calls before its end have happened and
    the calls in `reaches` were made; with `held_by_client` until the client script releases it.
    `quiet` is how many seconds without a frame the client waits before it resumes. The event is
    delivered `deliveries` times at once. `meanwhile` runs when a fault of that kind happens.
    `resume_faults` affect the calls that serve a resume. `overlaps`: some frames may arrive twice.
    `reports_disconnect`: whether `$disconnect` is delivered. `extended`: another row is similar, so
    this one is left out where time is short.
    """

    group: str
    name: str
    expected: Expected = Expected()
    faults: tuple[Fault, ...] = ()
    resume_faults: tuple[Fault, ...] = ()
    order: Mapping[str, Any] = field(default_factory=dict)
    frame: Mapping[str, Any] = field(default_factory=dict)
    reaches: frozenset[str] = frozenset()
    held_by_client: bool = False
    quiet: float = 75.0
    deliveries: int = 1
    reports_disconnect: bool = True
    overlaps: bool = False
    extended: bool = False
    client: ClientScript = ask_and_listen
    meanwhile: ClientScript = leave

    @property
    def waits(self) -> bool:
        """Whether it spends its time waiting, and not on the processor."""
        faults = (*self.faults, *self.resume_faults)
        return any(fault.kind in WAITING or fault.times == FOREVER for fault in faults)

    @property
    def holds_until(self) -> frozenset[str]:
        """The calls that must be made before the answer may end."""
        calls = frozenset(fault.call for fault in self.faults)
        return (calls - AFTER_THE_ANSWER) | self.reaches

    @property
    def holds(self) -> bool:
        """Whether the answer is held at all."""
        return bool(self.holds_until) or self.held_by_client

    @property
    def recovers(self) -> bool:
        """Whether another request recovers the turn, once its lease has expired."""
        return self.expected.turn == "unfinished"

    @property
    def id(self) -> str:
        return f"{self.group}: {self.name}"

    def question(self, word: str) -> str:
        """The order to the model."""
        return f"/script {json.dumps({'chunks': CHUNKS, 'text': word, **self.order})}"

    def answer(self, word: str) -> str:
        """The complete answer of the model."""
        return word * CHUNKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of a row. `seconds`: from the fault to the terminal frame.

    `calls`: what the function called. `missed`: a fault never happened, so that the rest means
    nothing. `trace`: what the client sent and received, and the faults, with their seconds.
    """

    end: str
    turn: str
    charged: int
    ends: int
    posts: int
    resumes: int
    seconds: float | None
    calls: frozenset[str]
    missed: bool
    problems: tuple[str, ...]
    trace: tuple[str, ...] = ()

    def deviations(self, expected: Expected) -> list[str]:
        """Everything that is not as expected."""
        charged = self.charged if expected.charged is None else expected.charged
        same = (expected.end, expected.turn, charged) == (self.end, self.turn, self.charged)
        ends = [] if self.ends == 1 else [f"{self.ends} terminal frames"]
        missed = ["the fault never happened"] if self.missed else []
        other = [] if same else [f"{self.end}, {self.turn}, {self.charged} charged"]
        return [*self.problems, *missed, *ends, *other]

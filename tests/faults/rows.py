"""What a row of the matrix is, and what came of it. Values."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from faults.proxy import FOREVER, Fault

if TYPE_CHECKING:
    from faults.scenario import Scene

CHUNKS = 24
WAITS = ("killed before", "killed after", "frozen", "silent")

Story = Callable[["Scene"], Awaitable[None]]


async def ask_and_listen(scene: "Scene") -> None:
    """What a client does with a question."""
    await scene.ask()
    await scene.listen()


async def leave(scene: "Scene") -> None:
    """The client is gone."""
    await scene.leave()


@dataclass(frozen=True, slots=True)
class Expected:
    """What the row ends in: the terminal frame, the turn's state, and how many calls are charged.

    A terminal frame is written `done end_turn` or `error throttled`; `-` is a turn that is not.
    `charged` is None where the fault and the model's first word race each other: 0 or 1.
    """

    heard: str = "done end_turn"
    kept: str = "complete"
    charged: int | None = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row. `order` is for the scripted model, `frame` goes into the client's own.

    `paced`: the answer lasts as long as the function needs to look and to renew, or `stretch` times
    that. `quiet` is how
    long the client hears nothing before it resumes. `deliveries`: so often the event is delivered,
    at once. `meanwhile` is done when a fault of that name says so. `later` befalls the calls of
    those who serve a resume. `overlaps`: some frames rightly arrive twice. `longer`: it is left
    out where time is short, for another row is much like it.
    """

    group: str
    name: str
    expected: Expected = Expected()
    faults: tuple[Fault, ...] = ()
    later: tuple[Fault, ...] = ()
    order: Mapping[str, Any] = field(default_factory=dict)
    frame: Mapping[str, Any] = field(default_factory=dict)
    paced: bool = False
    stretch: float = 1.0
    quiet: float = 75.0
    deliveries: int = 1
    goodbye: bool = True
    overlaps: bool = False
    longer: bool = False
    story: Story = ask_and_listen
    meanwhile: Story = leave

    @property
    def waits(self) -> bool:
        """Whether it spends its time waiting, and not the machine's."""
        faults = (*self.faults, *self.later)
        return any(fault.way in WAITS or fault.times == FOREVER for fault in faults)

    @property
    def id(self) -> str:
        return f"{self.group}: {self.name}"

    def question(self, word: str, span: float) -> str:
        """The order to the model."""
        rate = {"rate": CHUNKS / span / self.stretch} if self.paced else {}
        order = {"chunks": CHUNKS, "text": word, **rate, **self.order}
        return f"/script {json.dumps(order)}"

    def said(self, word: str) -> str:
        """All that the model would say."""
        return word * CHUNKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a row. `seconds`: from the fault to the terminal frame.

    `calls`: what the function called for it. `missed`: its fault never came to pass, so that this
    says nothing.
    """

    heard: str
    kept: str
    charged: int
    ends: int
    posts: int
    resumes: int
    seconds: float | None
    calls: frozenset[str]
    missed: bool
    troubles: tuple[str, ...]

    def wrong(self, expected: Expected) -> list[str]:
        """All that is not as it should be."""
        charged = self.charged if expected.charged is None else expected.charged
        same = (expected.heard, expected.kept, charged) == (self.heard, self.kept, self.charged)
        ends = [] if self.ends == 1 else [f"{self.ends} terminal frames"]
        missed = ["the fault never came to pass"] if self.missed else []
        other = [] if same else [f"{self.heard}, {self.kept}, {self.charged} charged"]
        return [*self.troubles, *missed, *ends, *other]

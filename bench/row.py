"""One line of the table that `make bench` prints. Pure.

Rules
- A row is a ratio wherever there is a peer: machines differ, and ratios hardly do.
- A goal is written as it is judged: `goal` says the bound, `met` what became of it, and None that
  nothing is to be reached.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One measurement: ours, in `unit`, beside a peer's in the same run.

    `ratio` is ours / the peer's, and None where there is no peer.
    """

    name: str
    ours: float
    unit: str
    peer: str
    peer_value: float | None
    ratio: float | None
    goal: str
    met: bool | None
    note: str = ""


def against(  # noqa: PLR0913 - a row has this many cells
    name: str,
    ours: float,
    unit: str,
    peer: str,
    peer_value: float,
    *,
    most: float | None = None,
    note: str = "",
) -> Row:
    """Ours in relation to a peer's; the goal is a ratio of at most `most`."""
    ratio = ours / peer_value
    goal = "" if most is None else f"ratio at most {most:g}"
    met = None if most is None else ratio <= most
    return Row(name, ours, unit, peer, peer_value, ratio, goal, met, note)


def alone(name: str, ours: float, unit: str, *, most: float | None = None, note: str = "") -> Row:
    """A figure with no peer; the goal is at most `most`, in its own unit."""
    goal = "" if most is None else f"at most {most:g} {unit}".rstrip()
    return Row(name, ours, unit, "", None, None, goal, None if most is None else ours <= most, note)

"""One row of the table that `make bench` prints. Pure.

Rules
- A row with a peer has a ratio, which differs less between machines than absolute figures.
- `goal` states the bound as it is checked, `met` the result. `met` is None if there is no goal.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One measurement of ours and of a peer in the same run, both in `unit`.

    `ratio` is ours / the peer's, or None without a peer.
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


def against(  # noqa: PLR0913 - the cells of a row
    name: str,
    ours: float,
    unit: str,
    peer: str,
    peer_value: float,
    *,
    at_most: float | None = None,
    note: str = "",
) -> Row:
    """Returns a row with a peer; the goal is a ratio of at most `at_most`."""
    ratio = ours / peer_value
    goal = "" if at_most is None else f"ratio at most {at_most:g}"
    met = None if at_most is None else ratio <= at_most
    return Row(name, ours, unit, peer, peer_value, ratio, goal, met, note)


def alone(
    name: str, ours: float, unit: str, *, at_most: float | None = None, note: str = ""
) -> Row:
    """Returns a row without a peer; the goal is at most `at_most`, in `unit`."""
    goal = "" if at_most is None else f"at most {at_most:g} {unit}".rstrip()
    return Row(
        name, ours, unit, "", None, None, goal, None if at_most is None else ours <= at_most, note
    )

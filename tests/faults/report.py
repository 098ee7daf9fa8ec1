"""The matrix as a table, on a terminal and in docs/reliability.md.

The first columns are what the function guarantees, and are checked; posts and seconds are figures
of one run on one machine, and are not.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from faults.rows import Expected, Outcome, Row

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- made by `make faults ARGS=--write` -->", "<!-- up to here -->"
HEADINGS = ("what happens", "the client receives", "the turn", "charged", "posts", "seconds")
CHECKED = 4  # columns

Cells = tuple[str, ...]


def guaranteed(row: Row, expected: Expected) -> Cells:
    """The columns that are checked."""
    charged = "0 or 1" if expected.charged is None else str(expected.charged)
    return row.name, expected.end, expected.turn, charged


def figures(row: Row, outcome: Outcome) -> Cells:
    """The columns that are figures of one run."""
    recovered = row.waits and outcome.seconds is not None
    return str(outcome.posts), f"{outcome.seconds:.1f}" if recovered else ""


def line(row: Row, outcome: Outcome) -> str:
    """A row for the terminal."""
    deviations = outcome.deviations(row.expected)
    cells = (f"{row.group}: {row.name}", *guaranteed(row, row.expected)[1:], *figures(row, outcome))
    widths = (64, 24, 11, 7, 6, 6)
    columns = " ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return f"{'FAIL' if deviations else 'ok  '} {columns} {'; '.join(deviations)}".rstrip()


def document(rows: Sequence[Row], outcomes: Mapping[str, Outcome], text: str) -> str:
    """The document with its tables replaced by those of this run."""
    tables = [
        "\n".join([f"### {group}", "", *_table(list(of_group), outcomes)])
        for group, of_group in groupby(rows, key=lambda row: row.group)
    ]
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return "\n\n".join([before + BEGIN, *tables, END + after])


def _table(rows: Sequence[Row], outcomes: Mapping[str, Outcome]) -> list[str]:
    lines = [HEADINGS, ("---",) * len(HEADINGS)]
    lines += [(*guaranteed(row, row.expected), *figures(row, outcomes[row.id])) for row in rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def documented(text: str) -> list[tuple[str, Cells]]:
    """Each row of the document: its group, and its columns that are checked."""
    found, group = [], ""
    for each in text.partition(BEGIN)[2].partition(END)[0].splitlines():
        if each.startswith("### "):
            group = each.removeprefix("### ")
        elif each.startswith("| ") and not each.startswith(("| ---", f"| {HEADINGS[0]}")):
            cells = [cell.strip() for cell in each.strip("|").split("|")]
            found.append((group, tuple(cells[:CHECKED])))
    return found

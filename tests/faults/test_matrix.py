"""The fault matrix, against the whole local stack: `matrix` has its rows, `scene` its checks.

Rows that are much like another one (`Row.longer`) are played by `make faults` alone, or here with
FAULTS=all in the environment.
"""

import asyncio
import os
from collections.abc import Mapping

import pytest
from faults import report
from faults.harness import SHORT
from faults.matrix import PLAIN, ROWS
from faults.play import play
from faults.rows import Outcome, Row
from faults.services import CALLS
from faults.watch import MEMORY, POSTS

PLAYED = [row for row in ROWS if not row.longer or os.environ.get("FAULTS") == "all"]

# The first test waits for all rows: they are played side by side.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def outcomes() -> Mapping[str, Outcome]:
    """What came of each row."""
    return asyncio.run(play(PLAYED, SHORT, lambda _: None, lambda *_: None))


@pytest.mark.parametrize("row", PLAYED, ids=lambda row: row.id)
def test_row(outcomes: Mapping[str, Outcome], row: Row) -> None:
    """The client and memory end as the row says, and nothing is lost, doubled or paid for twice."""
    assert [] == outcomes[row.id].wrong(row.expected)


def test_every_call_of_a_turn_is_in_the_matrix(outcomes: Mapping[str, Outcome]) -> None:
    """What the function calls where nothing goes wrong: no more and no less than what is broken."""
    assert {*CALLS, *POSTS, MEMORY} == outcomes[PLAIN.id].calls - {"mid-stream"}


def test_rows_have_names_of_their_own() -> None:
    """No outcome hides another."""
    assert len(ROWS) == len({row.id for row in ROWS})


def test_the_document_is_current() -> None:
    """docs/reliability.md promises what is checked: `make faults ARGS=--write` makes it so."""
    promised = [(row.group, report.promised(row, row.expected)) for row in ROWS]
    assert promised == report.documented(report.DOCUMENT.read_text())

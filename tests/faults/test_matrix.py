"""The fault matrix, against the whole local stack: `matrix` has its rows, `scenario` its checks.

Rows that are similar to another one (`Row.extended`) run in `make faults` alone, or here with
FAULTS=all in the environment. A row that fails leaves what its client sent and
received, and the log of the stack, under build/failures.
"""

import asyncio
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from faults import report
from faults.harness import SHORT
from faults.matrix import PLAIN, ROWS
from faults.monitor import ANY_DYNAMODB, POSTS
from faults.rows import Outcome, Row
from faults.runner import run
from faults.service_rows import CALLS
from support import unmeasured
from support.artifacts import copies, log_file, on_failure

INCLUDED = [row for row in ROWS if not row.extended or os.environ.get("FAULTS") == "all"]

# The first test waits for all rows: they run side by side.
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def outcomes() -> Iterator[Mapping[str, Outcome]]:
    """The outcome of each row."""
    path = log_file("faults")
    with on_failure(copies(path)):
        with unmeasured.this_process(), path.open("w") as log:
            found = asyncio.run(
                run(INCLUDED, SHORT, lambda line: print(line, file=log, flush=True), _nothing)
            )
        yield found


def _nothing(_row: Row, _outcome: Outcome) -> None:
    pass


@pytest.mark.parametrize("row", INCLUDED, ids=lambda row: row.id)
def test_row_ends_as_expected(outcomes: Mapping[str, Outcome], row: Row) -> None:
    """Nothing is lost, doubled or charged twice."""
    outcome = outcomes[row.id]

    def save(folder: Path) -> None:
        (folder / "row.txt").write_text("\n".join(outcome.trace))

    with on_failure(save):
        assert [] == outcome.deviations(row.expected)


def test_every_call_of_a_turn_is_in_the_matrix(outcomes: Mapping[str, Outcome]) -> None:
    """The calls of a turn without faults are exactly those that the matrix breaks."""
    assert {*CALLS, *POSTS, ANY_DYNAMODB} == outcomes[PLAIN.id].calls - {"mid-stream"}


def test_each_row_has_a_name_of_its_own() -> None:
    """No outcome replaces another."""
    assert len(ROWS) == len({row.id for row in ROWS})


def test_the_document_is_current() -> None:
    """docs/reliability.md has the rows that are checked: `make faults ARGS=--write` updates it."""
    expected = [(row.group, report.guaranteed(row, row.expected)) for row in ROWS]
    assert expected == report.documented(report.DOCUMENT.read_text())

"""Runs the whole matrix and prints it: `python -m tests.faults`, or `make faults`.

It uses the function's own seconds, which takes some minutes; `--short` uses the tests' seconds, and
`--only TEXT` runs the rows whose name contains the text. `--write` writes the tables into
docs/reliability.md, unless a row is not as expected.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from faults import report  # noqa: E402 - found through the line above
from faults.harness import REAL, SHORT  # noqa: E402
from faults.matrix import ROWS  # noqa: E402
from faults.rows import Outcome, Row  # noqa: E402
from faults.runner import run  # noqa: E402


def report_row(row: Row, outcome: Outcome) -> None:
    """Prints a row as it ends."""
    sys.stdout.write(report.line(row, outcome) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Exits with 1 if a row is not as expected."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--short", action="store_true", help="with the tests' seconds")
    parser.add_argument("--only", default="", help="rows whose name contains this text")
    parser.add_argument("--write", action="store_true", help=f"into {report.DOCUMENT.name}")
    parser.add_argument("--log", type=Path, help="write the log of the stack to this file")
    arguments = parser.parse_args()

    rows = [row for row in ROWS if arguments.only in row.id]
    began = time.monotonic()
    with (arguments.log or Path("/dev/null")).open("w") as log:
        outcomes = asyncio.run(
            run(
                rows,
                SHORT if arguments.short else REAL,
                lambda line: print(line, file=log, flush=True),
                report_row,
            )
        )
    deviating = [row for row in rows if outcomes[row.id].deviations(row.expected)]
    sys.stdout.write(
        f"{len(rows)} rows, {len(deviating)} not as expected; charged at most "
        f"{max(outcome.charged for outcome in outcomes.values())} times per request, "
        f"{sum(outcome.ends for outcome in outcomes.values())} terminal frames, "
        f"{sum(outcome.posts for outcome in outcomes.values())} posts, "
        f"{time.monotonic() - began:.0f} s\n"
    )
    if arguments.write and not arguments.only and not deviating:
        text = report.DOCUMENT.read_text()
        report.DOCUMENT.write_text(report.document(rows, outcomes, text))
    sys.exit(bool(deviating))


if __name__ == "__main__":
    main()

"""Plays the whole matrix and prints it: `python -m tests.faults`, or `make faults`.

With the function's own seconds, which takes some minutes; `--short` takes the tests' seconds and
`--only TEXT` the rows whose name has that text. `--write` puts the tables into docs/reliability.md,
unless something is wrong.
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
from faults.play import play  # noqa: E402
from faults.rows import Outcome, Row  # noqa: E402


def told(row: Row, outcome: Outcome) -> None:
    """Prints a row as it ends."""
    sys.stdout.write(report.line(row, outcome) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Exits with 1 if a row is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--short", action="store_true", help="with the tests' seconds")
    parser.add_argument("--only", default="", help="rows whose name has this text")
    parser.add_argument("--write", action="store_true", help=f"into {report.DOCUMENT.name}")
    parser.add_argument("--log", type=Path, help="what the stack says, into this file")
    asked = parser.parse_args()

    rows = [row for row in ROWS if asked.only in row.id]
    began = time.monotonic()
    with (asked.log or Path("/dev/null")).open("w") as log:
        outcomes = asyncio.run(
            play(
                rows,
                SHORT if asked.short else REAL,
                lambda line: print(line, file=log, flush=True),
                told,
            )
        )
    wrong = [row for row in rows if outcomes[row.id].wrong(row.expected)]
    sys.stdout.write(
        f"{len(rows)} rows, {len(wrong)} not as they should be; charged at most "
        f"{max(outcome.charged for outcome in outcomes.values())} times a request, "
        f"{sum(outcome.ends for outcome in outcomes.values())} terminal frames, "
        f"{sum(outcome.posts for outcome in outcomes.values())} posts, "
        f"{time.monotonic() - began:.0f} s\n"
    )
    if asked.write and not asked.only and not wrong:
        text = report.DOCUMENT.read_text()
        report.DOCUMENT.write_text(report.document(rows, outcomes, text))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

"""`make bench`, or `python -m bench`: everything beside its peers, in one run, on this machine.

Prints one table and writes `build/bench.json`; `python -m bench.report` takes that into the
documents. Each module measures in a process of its own, one after another: they share the cores.
Ends with status 1 where a goal is missed or a module fails; the others are measured all the same.
"""

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

from bench import machine, report
from bench.row import Row

# In this order, each a module with `measure(quick) -> list[Row]`.
MODULES = ("cold", "first_frame", "first_token", "relay", "posting", "turns", "scale")
SECONDS = 1800  # no measurement takes half as long: one that hangs fails


def measured(name: str, *, quick: bool) -> list[Row] | str:
    """The rows of one module, from a process of its own; else what it said."""
    command = [sys.executable, "-m", "bench", "--rows", name, *(["--quick"] if quick else [])]
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            command, cwd=report.ROOT, stdout=subprocess.PIPE, text=True, timeout=SECONDS, check=True
        )
    except subprocess.SubprocessError as error:
        return str(error)
    return report.from_json(done.stdout)


def rows_of(name: str, *, quick: bool) -> list[Row]:
    """Measures one module here."""
    rows: list[Row] = importlib.import_module(f"bench.{name}").measure(quick=quick)
    return rows


def run(names: list[str], *, quick: bool, build: Path = report.BUILD) -> int:
    """Measures, prints and writes; the exit status."""
    say = sys.stdout.write
    on, peers = machine.facts(), machine.peers()
    rows: list[Row] = []
    failed: dict[str, str] = {}
    for name in names:
        sys.stderr.write(f"measuring {name} ...\n")
        outcome = measured(name, quick=quick)
        if isinstance(outcome, str):
            failed[name] = outcome
        else:
            rows += outcome
    build.mkdir(exist_ok=True)
    (build / "bench.json").write_text(report.to_json(rows))
    (build / "machine.json").write_text(json.dumps({"machine": on, "peers": peers}, indent=1))
    say(f"\n{report.table(rows)}\n{report.measured_on(on, peers)}\n")
    for name, problem in failed.items():
        say(f"{name} was not measured: {problem}\n")
    return 1 if failed or any(row.met is False for row in rows) else 0


def main() -> None:
    """Reads what is asked."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs: to see that it works")
    parser.add_argument("--only", default=",".join(MODULES), help="some of " + ",".join(MODULES))
    parser.add_argument("--rows", metavar="MODULE", help="one module's rows, as JSON")
    asked = parser.parse_args()
    if asked.rows:
        rows = rows_of(asked.rows, quick=asked.quick)
        sys.stdout.write(report.to_json(rows))
        return
    names = asked.only.split(",")
    unknown = set(names) - set(MODULES)
    if unknown:
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    sys.exit(run(names, quick=asked.quick))


if __name__ == "__main__":
    main()

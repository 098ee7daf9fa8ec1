"""`make bench`, or `python -m bench`: runs all benchmarks and their peers on this machine.

Prints one table and writes `build/bench.json`; `python -m bench.report` copies that into the
documents. Each module measures in its own process, one after another, since they share the cores.
The exit status is 1 if a goal is missed or a module fails; the other modules still run.
"""

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path

from bench import machine, report
from bench.row import Row

# Modules with `measure(quick) -> list[Row]`, in the order in which they run.
MODULES = ("cold", "first_frame", "first_token", "relay", "posting", "turns", "scale")
TIMEOUT_SECONDS = 1800  # twice as long as any module takes; a module that hangs fails


def run_module(name: str, *, quick: bool) -> list[Row] | str:
    """Runs one module in a new process; returns its rows, or the error message if it failed."""
    command = [sys.executable, "-m", "bench", "--rows", name, *(["--quick"] if quick else [])]
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            command,
            cwd=report.ROOT,
            stdout=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=True,
        )
    except subprocess.SubprocessError as error:
        return str(error)
    return report.from_json(done.stdout)


def rows_of(name: str, *, quick: bool) -> list[Row]:
    """Runs one module in this process."""
    rows: list[Row] = importlib.import_module(f"bench.{name}").measure(quick=quick)
    return rows


def run(names: list[str], *, quick: bool, build: Path = report.BUILD) -> int:
    """Runs the modules, prints and writes the results, and returns the exit status."""
    write = sys.stdout.write
    host, peers = machine.facts(), machine.peers()
    rows: list[Row] = []
    failed: dict[str, str] = {}
    for name in names:
        sys.stderr.write(f"measuring {name} ...\n")
        outcome = run_module(name, quick=quick)
        if isinstance(outcome, str):
            failed[name] = outcome
        else:
            rows += outcome
    build.mkdir(exist_ok=True)
    (build / "bench.json").write_text(report.to_json(rows))
    (build / "machine.json").write_text(json.dumps({"machine": host, "peers": peers}, indent=1))
    write(f"\n{report.table(rows)}\n{report.measured_on(host, peers)}\n")
    for name, problem in failed.items():
        write(f"{name} was not measured: {problem}\n")
    return 1 if failed or any(row.met is False for row in rows) else 0


def main() -> None:
    """Parses the command line and runs the modules."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs, to check that it works")
    parser.add_argument(
        "--only",
        default=",".join(MODULES),
        help="modules, separated by commas: " + ",".join(MODULES),
    )
    parser.add_argument("--rows", metavar="MODULE", help="print one module's rows as JSON")
    arguments = parser.parse_args()
    if arguments.rows:
        rows = rows_of(arguments.rows, quick=arguments.quick)
        sys.stdout.write(report.to_json(rows))
        return
    names = arguments.only.split(",")
    unknown = set(names) - set(MODULES)
    if unknown:
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    sys.exit(run(names, quick=arguments.quick))


if __name__ == "__main__":
    main()

"""Mutation tests: changes `src` in one place at a time, and lists the changes that no test notices.

    python -m tools.mutants                      all modules
    python -m tools.mutants src/relay.py         one
    python -m tools.mutants src/relay.py --only "_ended"   the mutants whose name has that text
    python -m tools.mutants src/relay.py --tests tests/test_relay.py   what these tests notice

tools/mutation/changes.py says what is changed, selection.py which tests are tried, and session.py
how they run. All mutants are tried, with the fast tests (TESTS). The lines that each test runs are
kept in build/mutants-tests.json until `src` or the test's file changes.

Outcomes: *caught* (a test fails, or takes too long), *survived* (also where no test runs the line),
and *equivalent*: the mutants that change no behaviour, listed with the reason in
tools/equivalent_mutants.toml. build/mutants.json has each one. Exits with 1 if less than GOAL of
those that are not equivalent are caught, or if a listed one no longer exists.

Why this is not mutmut: docs/decisions/0025-mutation-tests.md.
"""

import argparse
import hashlib
import os
import resource
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tools.mutation import processes, session, trials
from tools.mutation.changes import Mutant, mutants
from tools.mutation.selection import SLOW, Measured, Selection
from tools.mutation.session import BUILD, ROOT, SOURCE

EQUIVALENTS = ROOT / "tools" / "equivalent_mutants.toml"
RESULTS = BUILD / "mutants.json"
MEASURED = BUILD / "mutants-tests.json"
GOAL = 0.97
# DIED: its process ended without a result; build/mutants.log says why.
NOT_CAUGHT = (trials.SURVIVED, session.NOT_EXECUTED, processes.DIED)
JOBS = (os.cpu_count() or 1) + 1  # some tests wait
CONTROL = -1  # in place of a mutant: none. Tests that fail here would seem to catch all
OUTCOMES = CAUGHT, EQUIVALENT, SURVIVED = ("caught", "equivalent", "survived")

TESTS = ("tests/families", "tests/store", "tests/wire", "tests/tools/test_documents.py",
         "tests/tools/test_protocol_schema.py", "tests/test_*.py")  # fmt: skip
# What all tests depend on, beside their own file.
SHARED = ("src", "local", "tests/support", "tests/conftest.py")


@dataclass(frozen=True)
class Result:
    """What became of a mutant, and by what: the test, or the reason why it is equivalent."""

    module: str
    line: int
    name: str
    outcome: str
    by: str


# -- what is known ---------------------------------------------------------------------------------


def equivalents(text: str) -> dict[tuple[str, str], str]:
    """The reasons of equivalent mutants, by module and name."""
    entries = tomllib.loads(text).get("mutant", [])
    return {(entry["module"], entry["name"]): entry["reason"] for entry in entries}


def test_files(names: Iterable[str]) -> list[str]:
    """The files of tests in folders, or that match a pattern."""
    found: list[Path] = []
    for each in names:
        path = ROOT / each
        found += path.glob("test_*.py") if path.is_dir() else ROOT.glob(each)
    return [str(path.relative_to(ROOT)) for path in sorted(found)]


def digests(files: Iterable[str]) -> dict[str, str]:
    """By file: changes when a test of it may run other lines."""
    shared = hashlib.sha256()
    for name in SHARED:
        path = ROOT / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            shared.update(file.read_bytes())
    found = {}
    for name in files:
        own = shared.copy()
        own.update((ROOT / name).read_bytes())
        found[name] = own.hexdigest()
    return found


class Kept(msgspec.Struct):
    """The content of MEASURED."""

    digests: dict[str, str] = {}
    tests: list[Measured] = []


def kept() -> Kept:
    """What earlier runs have measured."""
    try:
        return msgspec.json.decode(MEASURED.read_bytes(), type=Kept)
    except (OSError, msgspec.DecodeError):
        return Kept()


# -- the run ---------------------------------------------------------------------------------------


def tried(made: Sequence[Mutant], files: Sequence[str], jobs: int) -> list[str]:
    """For each mutant the test that notices it, trials.SURVIVED or session.NOT_EXECUTED."""
    current, old = digests(files), kept()
    known = [test for test in old.tests if old.digests[test.file] == current.get(test.file)]
    session.preload()
    collected = session.serve(files, known, made, jobs)
    others = [test for test in old.tests if test.file not in current]
    new = Kept({**old.digests, **current}, [*others, *collected.tests])
    MEASURED.write_bytes(msgspec.json.encode(new))
    if collected.failing:
        raise SystemExit(f"the tests fail without a mutant: {' '.join(collected.failing)}")
    selection = Selection(collected.tests, collected.at_import, session.sources(), ROOT)
    found = dict(collected.outcomes)
    save(so_far(made, found))

    left = {
        number: selection.tests(mutant) for number, mutant in enumerate(made) if number not in found
    }
    quick = {test.name: test for tests in left.values() for test in tests if test.cpu <= SLOW}
    first: dict[int, list[Measured]] = {CONTROL: list(quick.values())} if left else {}
    for number, tests in left.items():
        own = selection.own_files(made[number].module)
        first[number] = [test for test in tests if test.name in quick and test.file in own]

    def fresh(number: int, tests: Sequence[Measured]) -> str:
        return session.run_fresh(None if number == CONTROL else made[number], tests)

    found |= trials.caught_by(first, fresh, jobs, say, "others, with their own tests")
    if found.pop(CONTROL, trials.SURVIVED):
        raise SystemExit("tests fail without a mutant where they are imported again")
    save(so_far(made, found))
    rest = {
        number: [test for test in tests if test not in first[number]]
        for number, tests in left.items()
        if found[number] == trials.SURVIVED
    }
    found |= trials.caught_by(rest, fresh, jobs, say, "others, with more tests")
    return [found[number] for number in range(len(made))]


def so_far(made: Sequence[Mutant], by: Mapping[int, str]) -> list[Result]:
    """The results of those that were tried."""
    return [
        Result(
            made[number].module,
            made[number].line,
            made[number].name,
            SURVIVED if test in NOT_CAUGHT else CAUGHT,
            test,
        )
        for number, test in sorted(by.items())
    ]


def save(found: Sequence[Result]) -> None:
    """Writes the results, also after each part of a run: it may be ended before its end."""
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(found)))


def results(
    made: Sequence[Mutant],
    reasons: Mapping[tuple[str, str], str],
    files: Sequence[str],
    jobs: int,
) -> list[Result]:
    """What became of all mutants."""
    unknown = [each for each in made if (each.module, each.name) not in reasons]
    tests = iter(tried(unknown, files, jobs) if unknown else ())
    found = []
    for each in made:
        reason = reasons.get((each.module, each.name), "")
        by = reason or next(tests)
        survived = by in NOT_CAUGHT
        outcome = EQUIVALENT if reason else SURVIVED if survived else CAUGHT
        found.append(Result(each.module, each.line, each.name, outcome, by))
    return found


def table(found: Sequence[Result]) -> str:
    """The number of each outcome, by module."""
    lines = [f"{'module':28}" + "".join(f"{each:>12}" for each in OUTCOMES)]
    for module in [*dict.fromkeys(each.module for each in found), "all"]:
        counts = Counter(each.outcome for each in found if module in (each.module, "all"))
        lines.append(f"{module:28}" + "".join(f"{counts[each]:12}" for each in OUTCOMES))
    return "\n".join(lines)


def share(found: Sequence[Result]) -> float:
    """The share that is caught of those that are not equivalent."""
    counts = Counter(each.outcome for each in found)
    relevant = counts[CAUGHT] + counts[SURVIVED]
    return counts[CAUGHT] / relevant if relevant else 1.0


def say(line: str) -> None:
    """Prints a line at once."""
    print(line, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Reads the command line. Returns 1 if too many survive, or if a listed one is gone."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.mutants", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("modules", nargs="*", type=Path, help="files of src; default: all")
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--only", default="", help="mutants whose name contains this text")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="other tests than the fast ones")
    parser.add_argument("--list", action="store_true", help="list the mutants, run nothing")
    given = parser.parse_args(arguments)
    chosen = {str(path.resolve().relative_to(SOURCE)) for path in given.modules}
    texts = {name: text for name, text in session.sources().items() if not chosen or name in chosen}
    every = [each for name, text in texts.items() for each in mutants(name, text)]
    reasons = equivalents(EQUIVALENTS.read_text())
    names = {(each.module, each.name) for each in every}
    gone = {key for key in reasons if key[0] in texts} - names
    for module, name in sorted(gone):
        say(f"no such mutant any more: {module}: {name}")
    made = [each for each in every if given.only in each.name]
    if given.list:
        for each in made:
            say(f"src/{each.module}:{each.line}: {each.name}")
        return int(bool(gone))
    began = time.monotonic()
    BUILD.mkdir(exist_ok=True)
    found = results(made, reasons, test_files(given.tests), given.jobs)
    save(found)
    for result in found:
        if result.outcome == SURVIVED:
            say(f"SURVIVED src/{result.module}:{result.line}: {result.name} {result.by}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    say(
        f"{table(found)}\n{100 * share(found):.1f} % caught, {time.monotonic() - began:.0f} s, "
        f"{used.ru_utime + used.ru_stime:.0f} s of CPU time"
    )
    return int(share(found) < GOAL or bool(gone))


if __name__ == "__main__":
    sys.exit(main())

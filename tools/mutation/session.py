"""Runs tests with mutants, in two ways. Both are sessions of pytest in forked processes.

`serve`: one session imports and collects everything. It measures which lines each test runs, and
forks a process for each mutant that changes a function: there the function's code is replaced, and
the tests of these lines run. Nothing is imported again, so a mutant costs what its tests cost.

`run_fresh`: for the others, `src` is imported with the mutant in it, and the files of its tests are
collected. Everything else has been imported before the fork (`preload`).

A mutant is also noticed if a test takes too long: SLOWER times what it takes without a mutant, and
some seconds more. Endless loops meet the limit of CPU time first, which a busy machine does not
change.
"""

import gc
import importlib
import importlib.abc
import importlib.util
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import msgspec

from tools.mutation import processes, trials
from tools.mutation.changes import Mutant
from tools.mutation.selection import Lines, Measured, Selection
from tools.mutation.trials import SURVIVED, WHOLE

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
BUILD = ROOT / "build"
LOG = BUILD / "mutants.log"

# Imported before the first fork: what the tests import beside `src`.
PRELOAD = ("_pytest.capture", "aiohttp.web", "boto3", "botocore.eventstream", "coverage",
           "hypothesis.stateful", "jsonschema", "moto", "moto.dynamodb", "msgspec", "pytest",
           "websockets.sync.client", "websockets.sync.server", "xdist.scheduler")  # fmt: skip
# 20 seconds of CPU time for each mutant that survives the rest; other tests of its file try all of
# its actions.
LEFT_OUT = "tests/test_sequences.py::test_no_sequence_of_events_loses_doubles_or_charges_twice"
# -s: all processes would share the files of the capture. The plugins are imported already, which
# would be a warning.
OPTIONS = ("-x", "-q", "-s", "--tb=no", "-p", "no:cacheprovider", "-p", "no:timeout",
           "-W", "ignore::pytest.PytestAssertRewriteWarning", "--hypothesis-profile=mutants",
           f"--deselect={LEFT_OUT}")  # fmt: skip
SLOWER = 10
MORE = 20.0  # seconds
MORE_CPU = 2.0
UNKNOWN = Measured("", 60.0, 60.0, {})  # not measured yet
# Fewer of the random inputs: of thousands, the first ones find what a mutant breaks.
FEWER = {"FUZZ": "1000"}
DAY = 86400.0

FRESH = "fresh"  # not an outcome: the mutant has to be imported
NOT_EXECUTED = "not executed"


def preload() -> None:
    """Imports what all processes need; from then on they are forked."""
    os.chdir(ROOT)
    os.environ.update(FEWER)
    for each in PRELOAD:
        importlib.import_module(each)
    hypothesis = importlib.import_module("hypothesis")
    # The same examples as in other runs, but a failure is not made smaller.
    hypothesis.settings.register_profile(
        "mutants",
        deadline=None,
        derandomize=True,
        database=None,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
    )


class _Watch:
    """A plugin: notes the first failure, and ends the process when a test takes too long."""

    def __init__(self, tests: Mapping[str, Measured]) -> None:
        self.failed = ""
        self.tests = tests

    def pytest_addoption(self, parser: Any) -> None:
        parser.addini("timeout", "of pytest-timeout, which is replaced here")

    def pytest_configure(self, config: Any) -> None:
        config.addinivalue_line("markers", "timeout(seconds): of pytest-timeout")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        usual = self.tests.get(nodeid, UNKNOWN)
        signal.setitimer(signal.ITIMER_REAL, MORE + SLOWER * usual.seconds)
        signal.setitimer(signal.ITIMER_PROF, MORE_CPU + SLOWER * usual.cpu)

    def pytest_runtest_logfinish(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed = self.failed or report.nodeid

    pytest_collectreport = pytest_runtest_logreport


def _silence(output: str = os.devnull) -> None:
    """What tests print goes nowhere, and errors to LOG."""
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    printed = os.open(output, os.O_WRONLY | os.O_APPEND)
    for source, target in ((nothing, 0), (printed, 1), (log, 2)):
        os.dup2(source, target)


# -- mutants that are imported ---------------------------------------------------------------------


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module of `src` with a mutant in it."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant
        self._file = str(SOURCE / mutant.module)
        self._name = mutant.module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def find_spec(self, name: str, *_: Any) -> Any:
        if name != self._name:
            return None
        return importlib.util.spec_from_file_location(name, self._file, loader=self)

    def exec_module(self, module: Any) -> None:
        exec(compile(self._mutant.tree, self._file, "exec"), vars(module))  # noqa: S102 - on purpose


class _Chosen:
    """A plugin: runs these tests alone, in this order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._order = {name: number for number, name in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [each for each in items if each.nodeid in self._order]
        items.sort(key=lambda each: self._order[each.nodeid])


def run_fresh(mutant: Mutant | None, tests: Sequence[Measured]) -> str:
    """Runs tests in this process, with a mutant. Returns the name of the first that fails."""
    import pytest  # noqa: PLC0415 - it is preloaded

    if not tests:
        return SURVIVED
    _silence()
    if mutant:
        sys.meta_path.insert(0, _Finder(mutant))
    watch = _Watch({each.name: each for each in tests})
    files = dict.fromkeys(each.file for each in tests)
    chosen = _Chosen([each.name for each in tests])
    status = pytest.main([*OPTIONS, *files], plugins=[watch, chosen])
    left_out = status == pytest.ExitCode.NO_TESTS_COLLECTED
    return SURVIVED if status == 0 or left_out else watch.failed or "import"


# -- mutants that replace code ---------------------------------------------------------------------


def live_functions() -> dict[str, list[FunctionType]]:
    """All functions of `src`, by file."""
    found = defaultdict(list)
    gc.unfreeze()  # src/gc_startup.py hides them from the collector
    for each in gc.get_objects():
        # A proxy of something that is gone fails at `isinstance`; FunctionType has no subclass.
        if type(each) is FunctionType and each.__code__.co_filename.startswith(str(SOURCE)):
            found[each.__code__.co_filename].append(each)
    return found


def replace(mutant: Mutant, live: Mapping[str, Iterable[FunctionType]]) -> bool:
    """Gives functions the code of the mutant. False where that is not possible."""
    file = SOURCE / mutant.module
    old = _codes(compile(file.read_text(), file, "exec"))
    new = _codes(compile(mutant.tree, file, "exec"))
    changed = [
        function
        for function in live.get(str(file), ())
        if old[_place(function.__code__)] != new[_place(function.__code__)]
    ]
    for function in changed:
        codes = new[_place(function.__code__)]
        if len(codes) != 1 or len(codes[0].co_freevars) != len(function.__code__.co_freevars):
            return False
        function.__code__ = codes[0]
    return bool(changed)


def _place(code: CodeType) -> tuple[str, int]:
    return code.co_qualname, code.co_firstlineno


def _codes(code: CodeType) -> dict[tuple[str, int], list[CodeType]]:
    """The code of each function, by its place. There are several where lambdas share a line."""
    found: dict[tuple[str, int], list[CodeType]] = defaultdict(list)
    rest = [code]
    while rest:
        for each in rest.pop().co_consts:
            if isinstance(each, CodeType):
                found[_place(each)].append(each)
                rest.append(each)
    return found


# -- the session that has collected everything -----------------------------------------------------


@dataclass(frozen=True)
class Collected:
    """What the session found. `outcomes` are those of some mutants, by their number."""

    failing: list[str]
    tests: list[Measured]
    at_import: dict[str, frozenset[int]]
    outcomes: dict[int, str]


def serve(
    files: Sequence[str], known: Sequence[Measured], mutants: Sequence[Mutant], jobs: int
) -> Collected:
    """Measures the tests that are not known, and tries the mutants that replace code."""
    terminal = os.dup(sys.__stdout__.fileno() if sys.__stdout__ else 1)

    def say(line: str) -> None:
        os.write(terminal, f"{line}\n".encode())

    def work(_: int) -> Collected:
        _silence(str(LOG))
        return _Server(known, mutants, jobs, say).run(files)

    [(_, found)] = processes.each_in_a_child([0], work, 1, DAY)
    os.close(terminal)
    if not isinstance(found, dict):
        raise SystemExit(f"the session of pytest {found}: {LOG}")
    return msgspec.convert(found, Collected, str_keys=True)


class _Server:
    """A plugin that runs no tests itself; its children do."""

    def __init__(
        self,
        known: Sequence[Measured],
        mutants: Sequence[Mutant],
        jobs: int,
        say: Callable[[str], None],
    ) -> None:
        self._tests = {each.name: each for each in known}
        self._mutants, self._jobs, self._say = mutants, jobs, say
        self._watch = _Watch({})
        self._failing: list[str] = []
        self._outcomes: dict[int, str] = {}
        self._at_import: Lines = {}
        self._counted = _counter()

    def run(self, files: Sequence[str]) -> Collected:
        import pytest  # noqa: PLC0415 - it is preloaded

        self._counted.start()
        status = pytest.main([*OPTIONS, *files], plugins=[self, self._watch])
        if status:
            self._failing.append(self._watch.failed or f"pytest returned {status}")
        return Collected(
            self._failing, list(self._tests.values()), dict(self._at_import), self._outcomes
        )

    def pytest_runtestloop(self, session: Any) -> bool:
        _warm_up(session.config)
        self._counted.stop()
        self._at_import = _lines(self._counted)[""]
        items = {item.nodeid: item for item in session.items}
        live = live_functions()
        gc.collect()
        gc.freeze()  # or each child would copy what its collector visits
        self._measure(items)
        if not self._failing:
            self._try(items, live)
        return True

    def _measure(self, items: Mapping[str, Any]) -> None:
        files: dict[str, list[Any]] = defaultdict(list)
        self._tests = {name: test for name, test in self._tests.items() if name in items}
        for name, item in items.items():
            if name not in self._tests:
                files[name.partition("::")[0]].append(item)
        # First those of whole turns, which take longest, and of these the few long ones.
        tasks = sorted(files.values(), key=lambda each: (each[0].nodeid.count("/"), len(each)))
        if tasks:
            self._say(f"measuring the tests of {len(tasks)} files")
        failing = self._measure_files(tasks)
        if failing:
            self._say(f"a second time: {' '.join(failing)}")
            self._failing = self._measure_files([[items[name]] for name in failing])

    def _measure_files(self, tasks: Sequence[Sequence[Any]]) -> list[str]:
        """Returns the tests that fail."""
        failing = []
        for task, found in processes.each_in_a_child(tasks, self._measured, self._jobs, WHOLE):
            if isinstance(found, dict):
                failing += found["failing"]
                for test in msgspec.convert(found["tests"], list[Measured], str_keys=True):
                    self._tests[test.name] = test
            else:
                failing += [item.nodeid for item in task]
        return failing

    def _measured(self, items: Sequence[Any]) -> dict[str, Any]:
        import coverage  # noqa: PLC0415 - it is preloaded

        # A fixture stops the measurement for tests with thousands of inputs: not this one.
        coverage.Coverage.current = lambda: None  # type: ignore[method-assign]
        counted = _counter()
        counted.start()
        times: dict[str, tuple[float, float]] = {}
        failing = []
        for item, following in pairwise([*items, None]):
            counted.switch_context(item.nodeid)
            began, cpu = time.monotonic(), time.process_time()
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            times[item.nodeid] = (time.monotonic() - began, time.process_time() - cpu)
            if self._watch.failed:
                failing.append(self._watch.failed)
                self._watch.failed = ""
        counted.stop()
        lines = _lines(counted)
        tests = [Measured(name, *took, lines.get(name, {})) for name, took in times.items()]
        return {"failing": failing, "tests": [each for each in tests if each.name not in failing]}

    def _try(self, items: Mapping[str, Any], live: Mapping[str, Iterable[FunctionType]]) -> None:
        self._watch.tests = self._tests
        selection = Selection(self._tests.values(), self._at_import, sources(), ROOT)

        def run(number: int, tests: Sequence[Measured]) -> str:
            _silence()
            if not replace(self._mutants[number], live):
                return FRESH
            for item, following in pairwise([*(items[test.name] for test in tests), None]):
                item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
                if self._watch.failed:
                    break
            return self._watch.failed

        chosen = {
            number: selection.tests(mutant)
            for number, mutant in enumerate(self._mutants)
            if selection.only_runs_in_tests(mutant)
        }
        self._outcomes = {number: NOT_EXECUTED for number, tests in chosen.items() if not tests}
        chosen = {number: tests for number, tests in chosen.items() if tests}
        found = trials.caught_by(chosen, run, self._jobs, self._say, "mutants of functions")
        self._outcomes |= {number: by for number, by in found.items() if by != FRESH}


def sources() -> dict[str, str]:
    """The text of each module of `src`."""
    files = sorted(SOURCE.rglob("*.py"))
    return {str(file.relative_to(SOURCE)): file.read_text() for file in files}


def _warm_up(config: Any) -> None:
    """Makes the client and the table of moto that the tests share: both take long."""
    tests = config.pluginmanager.get_plugin(str(ROOT / "tests" / "conftest.py"))
    with tests.mock_aws():
        tests.define_table(tests.dynamodb(), "warm")


def _counter() -> Any:
    import coverage  # noqa: PLC0415 - it is preloaded

    counter = coverage.Coverage(data_file=None, include=[f"{SOURCE}/*"], config_file=False)
    counter.set_option("run:disable_warnings", ["no-data-collected"])
    return counter


def _lines(counted: Any) -> dict[str, dict[str, frozenset[int]]]:
    """The lines of each module, by test."""
    found: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    data = counted.get_data()
    for file in data.measured_files():
        module = str(Path(file).relative_to(SOURCE))
        for line, contexts in data.contexts_by_lineno(file).items():
            for context in contexts:
                found[context][module].add(line)
    return {
        context: {module: frozenset(lines) for module, lines in modules.items()}
        for context, modules in found.items()
    }

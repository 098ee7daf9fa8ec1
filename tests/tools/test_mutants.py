"""The mutation tester: its changes, and how it distinguishes caught ones from survivors."""

import ast
import gc
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import pytest

from tools import mutants
from tools.mutation import changes, session, trials
from tools.mutation.selection import BUDGET, Measured, Selection

ROOT = Path(__file__).parents[2]

# Python 3.12 warns where a process with threads is forked, as that of pytest-xdist is.
pytestmark = pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")

MODULE = '''"""A docstring, which is not changed."""

import os

LIMIT = 3


def grows(value: int, *, on: bool = True) -> str:
    """Nor is this one."""
    if value >= LIMIT and not on:
        raise ValueError("this is wording")
    while on:
        break
    total = {}
    total["x"] = value + 1
    total["y"] += 2
    return "many" if value in (1, 2) else f"few {value}"
'''


def made(text: str = MODULE, module: str = "x.py") -> dict[str, changes.Mutant]:
    return {each.name: each for each in changes.mutants(module, text)}


# -- which mutants ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "module: 3 -> 4",
        "grows: True -> False",
        "grows: value >= LIMIT -> value > LIMIT",
        "grows: value >= LIMIT and (not on) -> value >= LIMIT or not on",
        "grows: not on -> on",
        "grows: raise ValueError('this is wording') -> pass",
        "grows: break -> continue",
        "grows: total['x'] = value + 1 -> pass",
        "grows: value + 1 -> value - 1",
        "grows: total['y'] += 2 -> pass",
        "grows: value in (1, 2) -> value not in (1, 2)",
        "grows: 'many' -> 'manyX'",
    ],
)
def test_each_kind_of_change_is_made(change: str) -> None:
    assert change in made()


def test_docstrings_imports_annotations_and_wording_are_not_changed() -> None:
    names = " ".join(made())

    assert "docstring" not in names
    assert "Nor is" not in names
    assert "import" not in names
    assert "'int'" not in names
    assert "wordingX" not in names


@pytest.mark.parametrize("text", ["SET expires_at = :at", "a, b", "(?i)too long|too many", " AND "])
def test_expressions_patterns_and_short_texts_are_changed(text: str) -> None:
    assert f"module: {text!r} -> {text + 'X'!r}" in made(f"a = {text!r}")


def test_every_mutant_differs_from_the_module_and_from_the_others() -> None:
    """Two of one name are numbered, so that a list of equivalents can name each."""
    found = made("a = 1\nb = 1\n")

    assert ["module: 1 -> 2", "module: 1 -> 2 (2)"] == list(found)
    assert ["a = 2\nb = 1", "a = 1\nb = 2"] == [ast.unparse(each.tree) for each in found.values()]
    assert [1, 2] == [each.line for each in found.values()]


def test_the_order_and_the_names_are_the_same_each_time() -> None:
    assert changes.mutants("x.py", MODULE) == changes.mutants("x.py", MODULE)


def test_a_mutant_knows_the_lines_and_the_name_that_it_is_part_of() -> None:
    condition, default = made()["grows: not on -> on"], made()["grows: True -> False"]

    assert {10} == condition.lines
    assert condition.in_function
    assert {"grows"} == default.defines
    assert not default.in_function


def test_a_default_is_part_of_its_method_and_of_its_class() -> None:
    found = made("class A:\n    def b(self, c=1):\n        pass")

    assert {"A", "b"} == found["A.b: 1 -> 2"].defines


# -- which tests -----------------------------------------------------------------------------------

SOURCES = {
    "kinds.py": "LIMIT = 3\nTABLE = {LIMIT: 1}\n",
    "use.py": "def uses():\n    return TABLE\n\ndef other():\n    return 1\n",
}


def selected(mutant: changes.Mutant, tests: Iterable[Measured], root: Path = ROOT) -> list[str]:
    selection = Selection(tests, {"use.py": frozenset({1, 4})}, SOURCES, root)
    return [test.name for test in selection.tests(mutant)]


def covering(name: str, seconds: float, *lines: int) -> Measured:
    return Measured(name, 0, seconds, {"use.py": frozenset(lines)})


def test_a_change_in_a_function_is_tried_with_the_tests_that_run_its_line(tmp_path: Path) -> None:
    """Those of its own file first, slow ones last."""
    own = tmp_path / "tests" / "test_use.py"
    own.parent.mkdir()
    own.touch()
    tests = [
        covering("tests/test_a.py::slow", 2, 5),
        covering("tests/test_a.py::quick", 0.1, 5),
        covering("tests/test_use.py::own", 0.2, 5),
        covering("tests/test_use.py::elsewhere", 0.1, 2),
    ]
    mutant = made(SOURCES["use.py"], "use.py")["other: 1 -> 2"]

    expected = ["tests/test_use.py::own", "tests/test_a.py::quick", "tests/test_a.py::slow"]
    assert expected == selected(mutant, tests, tmp_path)


def test_other_files_have_a_budget_and_the_own_file_has_none(tmp_path: Path) -> None:
    own = tmp_path / "tests" / "test_use.py"
    own.parent.mkdir()
    own.touch()
    names = ("tests/test_a.py::a", "tests/test_a.py::b", "tests/test_use.py::own")
    tests = [covering(name, 0.6 * BUDGET + number, 5) for number, name in enumerate(names)]
    mutant = made(SOURCES["use.py"], "use.py")["other: 1 -> 2"]

    assert ["tests/test_use.py::own", "tests/test_a.py::a"] == selected(mutant, tests, tmp_path)


def test_a_constant_is_tried_with_the_tests_that_run_its_users() -> None:
    """Through the names that are made of it, too."""
    tests = [covering("tests/test_a.py::uses", 0, 2), covering("tests/test_a.py::other", 0, 5)]
    mutant = made(SOURCES["kinds.py"], "kinds.py")["module: 3 -> 4"]

    assert ["tests/test_a.py::uses"] == selected(mutant, tests)


@pytest.mark.parametrize(("line", "expected"), [(5, True), (4, False)])
def test_what_ran_while_modules_were_imported_must_be_imported(
    line: int, *, expected: bool
) -> None:
    selection = Selection([], {"use.py": frozenset({9 - line})}, SOURCES, ROOT)
    mutant = made(SOURCES["use.py"], "use.py")["other: 1 -> 2"]

    assert expected == selection.only_runs_in_tests(mutant)


# -- trials ----------------------------------------------------------------------------------------


def test_a_mutant_is_caught_by_a_test_that_fails_twice(tmp_path: Path) -> None:
    """Test `a` fails for both, but for the second mutant only the first time; `b` never does."""
    tests = [covering("a", 0), covering("b", 0)]

    def run(number: int, given: Sequence[Measured]) -> str:
        first_time = tmp_path / str(number)
        fails = number == 1 or not first_time.exists()
        first_time.touch()
        return "a" if fails and tests[0] in given else ""

    said: list[str] = []
    found = trials.caught_by({1: tests, 2: tests}, run, 1, said.append, "all")

    assert {1: "a", 2: trials.SURVIVED} == found
    assert [
        "all: 2 of 2",
        "all, the failing tests a second time: 2 of 2",
        "all, again where these passed: 1 of 1",
    ] == said


# -- replacing code --------------------------------------------------------------------------------

NESTED = """
def outer(factor):
    def inner(value):
        return value * factor + 1
    return inner

double = outer(2)
"""


@pytest.fixture
def namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The names of the module `x` of a folder that takes the place of `src`."""
    monkeypatch.setattr(session, "SOURCE", tmp_path)
    file = tmp_path / "x.py"
    file.write_text(NESTED)
    names: dict[str, object] = {}
    exec(compile(NESTED, str(file), "exec"), names)
    return names


def test_a_function_that_exists_already_gets_the_code_of_the_mutant(
    namespace: dict[str, object],
) -> None:
    """Also one that another function has made."""
    mutant = made(NESTED)["outer.inner: value * factor + 1 -> value * factor - 1"]

    assert session.replace(mutant, session.live_functions())
    assert [5, 5] == [eval(text, namespace) for text in ("double(3)", "outer(2)(3)")]


def test_functions_are_found_that_the_collector_no_longer_visits(
    namespace: dict[str, object],
) -> None:
    gc.freeze()

    found = session.live_functions()[str(session.SOURCE / "x.py")]
    assert {namespace["outer"], namespace["double"]} == {*found}


def test_code_with_other_variables_is_not_replaced(namespace: dict[str, object]) -> None:
    """This mutant has no `factor`; it is imported instead."""
    mutant = made(NESTED)["outer.inner: return value * factor + 1 -> return None"]

    assert not session.replace(mutant, session.live_functions())
    assert 7 == eval("double(3)", namespace)


# -- the command -----------------------------------------------------------------------------------


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of results, and an empty list of equivalent mutants."""
    for name in ("BUILD", "RESULTS", "EQUIVALENTS"):
        monkeypatch.setattr(mutants, name, tmp_path / name)
    mutants.EQUIVALENTS.write_text("")


def outcomes(monkeypatch: pytest.MonkeyPatch, survivor: str, by: str = "") -> None:
    """The only survivor is the mutant of that name."""
    monkeypatch.setattr(
        mutants, "tried", lambda given, *_: [by if each.name == survivor else "a" for each in given]
    )


LOG = str(session.SOURCE / "log.py")
SURVIVOR = "digest: 12 -> 13"


@pytest.mark.usefixtures("build")
@pytest.mark.parametrize("by", ["", "not executed", "died"])
def test_survivors_are_reported_by_line_and_counted_by_module(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    outcomes(monkeypatch, SURVIVOR, by)

    status = mutants.main([LOG])

    printed = capsys.readouterr().out.splitlines()
    found = msgspec.json.decode(mutants.RESULTS.read_bytes(), type=list[mutants.Result])
    assert 1 == status
    assert f"SURVIVED src/log.py:49: {SURVIVOR} {by}" == printed[0]
    assert ["log.py", "19", "0", "1"] == printed[2].split()
    assert printed[-1].startswith("95.0 % caught, ")
    assert [SURVIVOR] == [each.name for each in found if each.outcome == "survived"]


@pytest.mark.usefixtures("build")
def test_equivalent_mutants_are_not_tried_and_have_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outcomes(monkeypatch, SURVIVOR)
    entry = f'[[mutant]]\nmodule = "log.py"\nname = "{SURVIVOR}"\nreason = "because"\n'
    mutants.EQUIVALENTS.write_text(entry)

    assert 0 == mutants.main([LOG])
    found = msgspec.json.decode(mutants.RESULTS.read_bytes(), type=list[mutants.Result])
    assert [("equivalent", "because")] == [
        (each.outcome, each.by) for each in found if each.name == SURVIVOR
    ]


@pytest.mark.usefixtures("build")
def test_a_listed_mutant_that_no_longer_exists_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes(monkeypatch, "none")
    mutants.EQUIVALENTS.write_text('[[mutant]]\nmodule = "log.py"\nname = "a"\nreason = "b"\n')

    assert 1 == mutants.main([LOG])
    assert "no such mutant any more: log.py: a\n" in capsys.readouterr().out


def test_the_list_of_equivalents_names_mutants_that_exist() -> None:
    texts = session.sources()
    listed = mutants.equivalents((ROOT / "tools" / "equivalent_mutants.toml").read_text())
    names = {
        (module, name) for module in {module for module, _ in listed}
        for name in made(texts[module], module)
    }  # fmt: skip

    assert set() == set(listed) - names


def test_the_list_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == mutants.main(["--list", "--only", "freeze", str(session.SOURCE / "gc_startup.py")])
    assert "src/gc_startup.py:17: done: gc.freeze() -> pass\n" == capsys.readouterr().out


def test_the_command_tries_mutants_with_real_tests() -> None:
    """One is imported, the others replace the code of a function; a test notices each."""
    command = [sys.executable, "-m", "tools.mutants", "src/validation.py", "--only", "missing"]
    done = subprocess.run(
        [*command, "--tests", "tests/test_validation.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert "mutants of functions: 2 of 2" in done.stdout, done.stderr
    assert "others, with their own tests: 2 of 2" in done.stdout  # one of them is no mutant
    assert "100.0 % caught" in done.stdout
    assert 0 == done.returncode

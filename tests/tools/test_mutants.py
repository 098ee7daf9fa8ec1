"""The mutation tester: which changes it makes, and that it tells noticed ones from survivors."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools import mutants

ROOT = Path(__file__).parents[2]

MODULE = '''"""A docstring, which is not changed."""

import os

LIMIT = 3


def grows(value: int, *, on: bool = True) -> str:
    """Nor is this one."""
    if value >= LIMIT and not on:
        raise ValueError
    while on:
        break
    total = {}
    total["x"] = value + 1
    total["y"] += 2
    return "many" if value in (1, 2) else f"few {value}"
'''


def names(text: str = MODULE) -> list[str]:
    return [each.name for each in mutants.mutants("x.py", text)]


@pytest.mark.parametrize(
    "change",
    [
        "module: 3 -> 4",
        "grows: True -> False",
        "grows: value >= LIMIT -> value > LIMIT",
        "grows: value >= LIMIT and (not on) -> value >= LIMIT or not on",
        "grows: not on -> on",
        "grows: raise ValueError -> pass",
        "grows: break -> continue",
        "grows: total['x'] = value + 1 -> pass",
        "grows: value + 1 -> value - 1",
        "grows: total['y'] += 2 -> pass",
        "grows: value in (1, 2) -> value not in (1, 2)",
        "grows: 'many' -> 'manyX'",
    ],
)
def test_each_kind_of_change_is_made(change: str) -> None:
    assert change in names()


def test_docstrings_imports_and_annotations_are_not_changed() -> None:
    made = " ".join(names())

    assert "docstring" not in made
    assert "Nor is" not in made
    assert "import" not in made
    assert "'int'" not in made


def test_every_mutant_differs_from_the_module_and_from_the_others() -> None:
    """Two of one name are numbered, so that a list of equivalents can name each."""
    made = mutants.mutants("x.py", "a = 1\nb = 1\n")

    assert ["module: 1 -> 2", "module: 1 -> 2 (2)"] == [each.name for each in made]
    assert ["a = 2\nb = 1", "a = 1\nb = 2"] == [each.source for each in made]
    assert [1, 2] == [each.line for each in made]


def test_the_order_and_the_names_are_the_same_each_time() -> None:
    assert mutants.mutants("x.py", MODULE) == mutants.mutants("x.py", MODULE)


def test_a_module_is_tried_with_its_own_tests_first() -> None:
    assert ["tests/test_relay.py"] == mutants.own_tests("relay.py")
    assert ["tests/store/test_budget.py", "tests/store"] == mutants.own_tests("store/budget.py")


def test_equivalent_mutants_are_listed_with_their_reason() -> None:
    text = '[[mutant]]\nmodule = "x.py"\nname = "a"\nreason = "because"\n'

    assert {"x.py": {"a": "because"}} == mutants.equivalents(text)
    assert mutants.equivalents(mutants.EQUIVALENT.read_text()) is not None


def test_the_list_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    found = mutants.main(["--list", "--only", "gc_startup", str(mutants.SOURCE / "gc_startup.py")])

    assert 0 == found
    assert "src/gc_startup.py: 0 mutants, 0 equivalent\n" == capsys.readouterr().out


def test_a_mutant_that_a_test_notices_does_not_survive(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And one that none notices is reported by its line. Both in processes of their own."""
    monkeypatch.setattr(mutants, "preload", lambda: None)
    monkeypatch.setattr(mutants, "own_tests", lambda _: ["tests/test_log.py"])
    monkeypatch.setattr(mutants, "WIDER", ())
    monkeypatch.setattr(
        mutants,
        "_passes",
        lambda mutant, *_: mutant is None or "digest" not in mutant.name,
    )
    monkeypatch.chdir(ROOT)

    found = mutants.main(["--jobs", "1", str(mutants.SOURCE / "log.py")])

    printed = capsys.readouterr().out
    assert 1 == found
    assert " noticed by tests/test_log.py, " in printed
    assert "SURVIVES line" in printed
    assert "digest" not in printed.partition("SURVIVES")[2]


def test_tests_that_fail_without_a_mutant_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutants, "_passes", lambda *_: False)

    with pytest.raises(SystemExit, match=r"the tests fail without a mutant: tests/x.py"):
        mutants.survivors([], ["tests/x.py"], 1, lambda _: None)


def test_the_command_tries_mutants_with_the_real_tests() -> None:
    """One mutant of `log.digest`, tried in a forked process with the tests of `log`."""
    command = [sys.executable, "-m", "tools.mutants", "--jobs", "1"]
    done = subprocess.run(
        [*command, "--only", "12 -> 13", "src/log.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert "src/log.py: 1 mutants, 0 equivalent\n" in done.stdout, done.stderr
    assert "1 of 1 noticed by tests/test_log.py" in done.stdout
    assert 0 == done.returncode

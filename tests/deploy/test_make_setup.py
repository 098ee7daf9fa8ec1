"""Covers what `make test` installs: as little as the tests need, announced before, and counted.

Nothing is installed: make prints what it would run, or runs a fake Python in another environment.
"""

import os
import subprocess
from pathlib import Path

import pytest
from support.e2e_clients import PATIENCE, ROOT

# Variables that `make test` or CI set for child processes.
OTHERS = ("ARGS", "CI", "EXTRAS", "MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS")
STAMPS = ("dev", "weights", "checkov", "oracle")
# The largest of each: the name of its stamp, and what is announced.
ANNOUNCED = {
    "dev": "340 MB",
    "weights": "200 MB",
    "checkov": "290 MB",
    "oracle": "130 MB",
}
# pip's output for two packages, in a virtual environment that has no other program.
PIP = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/calls"
echo 'Collecting one'
echo '  Downloading one-1.whl (1 kB)'
echo '  Using cached two-1.whl (1 kB)'
echo 'Successfully installed one-1 two-1'
"""


def make(venv: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["make", f"VENV={venv}", *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in OTHERS},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        ([], {"dev", "weights"}),
        (["EXTRAS=1"], {"dev", "weights", "checkov", "oracle"}),
        (["ARGS=tests/store"], {"dev"}),
        (["ARGS=-k name tests/terminal tests/local/test_stack.py"], {"dev", "weights"}),
        (["ARGS=tests/terraform"], {"dev", "checkov"}),
        (["ARGS=tests/oracle"], {"dev", "oracle"}),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_make_test_installs_and_announces_what_the_named_tests_need(
    tmp_path: Path, arguments: list[str], needed: set[str]
) -> None:
    """All but the large extras, or what the named folders need; in both places the same."""
    steps = make(tmp_path, "--dry-run", "test", *arguments)
    said = make(tmp_path, "announce", *arguments)

    assert needed == {each for each in STAMPS if f"touch {tmp_path}/{each}.stamp" in steps}
    assert needed == {each for each, size in ANNOUNCED.items() if f"  {size}  " in said}
    assert said.startswith("To be installed first, once, on disk:\n")


def test_make_test_announces_before_it_installs(tmp_path: Path) -> None:
    """And the tests come last."""
    steps = make(tmp_path, "--dry-run", "test", "EXTRAS=1")
    places = [
        steps.index(step)
        for step in ("To be installed first", "-m pip", "oracle.stamp\n", "coverage run -m pytest")
    ]

    assert sorted(places) == places


def test_nothing_is_announced_if_everything_is_installed(tmp_path: Path) -> None:
    """A second run begins with the tests."""
    (tmp_path / "dev.stamp").touch()

    assert "" == make(tmp_path, "announce", "ARGS=tests/store")


def test_an_installation_says_its_size_and_counts_packages(tmp_path: Path) -> None:
    """In one line that grows; pip's own lines are not shown."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(PIP)
    (tmp_path / "bin" / "python").chmod(0o755)
    (tmp_path / "made.stamp").touch()
    output = make(tmp_path, f"{tmp_path}/oracle.stamp", "--silent")
    calls = (tmp_path / "bin" / "calls").read_text()

    counted = ["  1 packages", "  2 packages"]

    assert [
        "installing what the tests and checks need (once; 340 MB on disk)",
        *counted,
        "installing langchain-aws, to compare the decoding of streams with (once; 130 MB on disk)",
        *counted,
    ] == [line for line in output.replace(" ...\n", "\n").splitlines() if line]
    assert calls.index(".[local,chat,dev]") < calls.index(".[oracle]")
    assert (tmp_path / "oracle.stamp").exists()

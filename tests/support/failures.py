"""Files that a failed test leaves under build/failures/, to show why it failed.

A conftest.py imports `pytest_runtest_makereport`; a fixture's teardown then saves what it has.
"""

import re
from collections.abc import Generator
from pathlib import Path

import pytest
from support.e2e_clients import ROOT

FOLDER = ROOT / "build" / "failures"
_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Record on the test that its setup or call failed."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


def has_failed(item: pytest.Item) -> bool:
    """Whether the test has failed so far."""
    return item.stash.get(_FAILED, False)


def path_for(item: pytest.Item, name: str) -> Path:
    """Return the path of a file of this test, in a folder that exists."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    test = re.sub(r"[^\w.-]+", "-", item.nodeid.removeprefix("tests/"))
    return FOLDER / f"{test}.{name}"

"""Code whose coverage is not measured: thousands of random inputs, and whole stacks.

Measuring multiplies their time, and adds nothing: tests by example execute the same lines. Of the
child processes, tests/conftest.py decides.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import coverage
from coverage.exceptions import CoverageWarning

_VARIABLE = "COVERAGE_PROCESS_CONFIG"  # by which coverage starts in a new process
FUNCTION = {_VARIABLE: ""}  # for a function's variables: its processes are started at any time


@contextmanager
def processes() -> Iterator[None]:
    """Processes that are started in this block are not measured."""
    config = os.environ.pop(_VARIABLE, None)
    try:
        yield
    finally:
        if config is not None:
            os.environ[_VARIABLE] = config


@contextmanager
def this_process() -> Iterator[None]:
    """This process is not measured in this block."""
    measuring = coverage.Coverage.current()
    if measuring:
        measuring.stop()
    try:
        yield
    finally:
        if measuring:
            with warnings.catch_warnings(category=CoverageWarning, action="ignore"):
                measuring.start()  # warns of each module that is imported already

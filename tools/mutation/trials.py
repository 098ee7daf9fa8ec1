"""Tries mutants, each with its tests. A mutant is caught by a test that fails twice.

A test that fails once could have failed without the mutant, on a busy machine: then all tests of
the mutant run again.
"""

from collections.abc import Callable, Mapping, Sequence

from tools.mutation import processes
from tools.mutation.selection import Measured

SURVIVED = ""
WHOLE = 1200.0  # seconds, for all tests of a mutant
EVERY = 100  # mutants are reported together

Chosen = Mapping[int, Sequence[Measured]]  # the tests, by the number of the mutant
Run = Callable[[int, Sequence[Measured]], str]  # returns the test that fails, or another reason
Say = Callable[[str], None]


def caught_by(chosen: Chosen, run: Run, jobs: int, say: Say, title: str) -> dict[int, str]:
    """By the number of the mutant: the test that fails twice, another reason, or SURVIVED."""
    found = _each(chosen, run, jobs, say, title)
    failed = {
        number: [test for test in chosen[number] if test.name == by] for number, by in found.items()
    }
    failed = {number: tests for number, tests in failed.items() if tests}
    second = _each(failed, run, jobs, say, f"{title}, the failing tests a second time")
    once = {number: chosen[number] for number, by in second.items() if by == SURVIVED}
    return found | _each(once, run, jobs, say, f"{title}, again where these passed")


def _each(chosen: Chosen, run: Run, jobs: int, say: Say, title: str) -> dict[int, str]:
    found = {}
    ended = processes.each_in_a_child(
        list(chosen), lambda number: run(number, chosen[number]), jobs, WHOLE
    )
    for count, (number, by) in enumerate(ended, start=1):
        found[number] = by
        if count % EVERY == 0 or count == len(chosen):
            say(f"{title}: {count} of {len(chosen)}")
    return found

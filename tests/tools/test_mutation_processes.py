"""The processes of the mutation tester."""

import os
import signal
import subprocess
import sys

import pytest

from tools.mutation import processes

SECONDS = 60.0

# Python 3.12 warns where a process with threads is forked, as that of pytest-xdist is.
pytestmark = pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")


def test_each_task_is_returned_with_what_its_process_returned() -> None:
    found = processes.each_in_a_child([1, 2, 3], lambda task: [task, "x" * 100_000], 2, SECONDS)

    assert [(task, [task, "x" * 100_000]) for task in (1, 2, 3)] == sorted(found)


def test_a_process_that_raises_or_is_ended_has_died(capfd: pytest.CaptureFixture[str]) -> None:
    def work(task: str) -> None:
        if task == "raises":
            raise ValueError(task)
        os._exit(0)

    found = processes.each_in_a_child(["raises", "ends"], work, 2, SECONDS)

    assert {"raises": processes.DIED, "ends": processes.DIED} == dict(found)
    assert "ValueError: raises" in capfd.readouterr().err


@pytest.mark.parametrize("timer", [signal.ITIMER_REAL, signal.ITIMER_PROF])
def test_a_process_that_a_timer_ends_has_timed_out(timer: int) -> None:
    def work(_: int) -> None:
        signal.setitimer(timer, 0.01)
        while True:
            pass

    assert [(1, processes.TIMED_OUT)] == list(processes.each_in_a_child([1], work, 1, SECONDS))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the limits end them")
def test_a_process_ends_with_its_parent() -> None:
    reading, writing = os.pipe()

    def child(task: str) -> None:
        if task == "stays":
            os.write(writing, b"x")
            signal.pause()
        os.read(reading, 1)  # until the other one has started

    def parent(_: int) -> None:
        ended = processes.each_in_a_child(["stays", "ends"], child, 2, SECONDS)
        next(ended)
        os._exit(0)

    assert [(1, processes.DIED)] == list(processes.each_in_a_child([1], parent, 1, SECONDS))
    os.close(writing)
    assert b"" == os.read(reading, 1)  # the one that stays would have the other end
    os.close(reading)


def test_at_its_limit_a_process_is_ended_with_what_it_started() -> None:
    reading, writing = os.pipe()

    def work(_: int) -> None:
        program = "import signal; signal.pause()"
        subprocess.Popen([sys.executable, "-c", program], pass_fds=[writing])
        signal.pause()

    found = list(processes.each_in_a_child([1], work, 1, 1.0))
    os.close(writing)

    assert [(1, processes.TIMED_OUT)] == found
    assert b"" == os.read(reading, 1)  # no process has the other end any more
    os.close(reading)

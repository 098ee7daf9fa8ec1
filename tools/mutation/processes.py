"""Forked processes: one for each task, some at a time. None outlives its task, or its parent.

A child returns a JSON value through a pipe. One that ends without has DIED or, if a timer or the
limit of its task ended it, has TIMED_OUT.
"""

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

DIED = "died"
TIMED_OUT = "timeout"
TIMERS = (signal.SIGALRM, signal.SIGPROF, signal.SIGKILL)
CHUNK = 1 << 16
PR_SET_PDEATHSIG = 1  # linux/prctl.h: the signal that a process gets when its parent ends

Task = TypeVar("Task")


@dataclass
class _Child:
    task: Any
    pid: int
    pipe: int
    deadline: float
    received: bytearray = field(default_factory=bytearray)


def each_in_a_child(
    tasks: Sequence[Task], work: Callable[[Task], Any], jobs: int, seconds: float
) -> Iterator[tuple[Task, Any]]:
    """The tasks with what `work` returned for them, in the order in which they end."""
    waiting = list(reversed(tasks))
    running: dict[int, _Child] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                child = _fork(waiting.pop(), work, seconds)
                running[child.pipe] = child
            first = min(running.values(), key=lambda each: each.deadline)
            patience = max(0.0, first.deadline - time.monotonic())
            ready, _, _ = select.select(list(running), [], [], patience)
            for pipe in ready or [first.pipe]:
                received = os.read(pipe, CHUNK) if ready else b""
                running[pipe].received += received
                if not received:  # it has ended, or its time has
                    child = running.pop(pipe)
                    yield child.task, _ended(child)
    finally:
        for child in running.values():
            _ended(child)


def _fork(task: Any, work: Callable[[Any], Any], seconds: float) -> _Child:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        with contextlib.suppress(BaseException):
            os.setsid()
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # a timer ends it
            if sys.platform == "linux":
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            os.close(reading)
            status = _work(task, work, writing)
        os._exit(status)
    os.close(writing)
    return _Child(task, pid, reading, time.monotonic() + seconds)


def _work(task: Any, work: Callable[[Any], Any], pipe: int) -> int:
    try:
        rest = memoryview(msgspec.json.encode(work(task)))
    except BaseException:  # noqa: BLE001 - it must not continue as its parent
        traceback.print_exc()
        return 1
    while rest:
        rest = rest[os.write(pipe, rest) :]
    return 0


def _ended(child: _Child) -> Any:
    """Ends the child with all that it started. Returns its result."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    _, status = os.waitpid(child.pid, 0)
    os.close(child.pipe)
    if child.received:
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(child.received)
    return TIMED_OUT if -os.waitstatus_to_exitcode(status) in TIMERS else DIED

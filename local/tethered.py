"""Runs a Python module in such a way that it dies with whoever started it.

`python tethered.py MODULE [ARGUMENTS]`, in a process group of its own and with a pipe as its
standard input: when that pipe ends, the whole group is killed, whatever it is doing. awslambdaric
alone would notice a dead supervisor only between two events, which may be fifteen minutes away.

Rules: the module must not notice. It finds its working folder first in `sys.path` and nothing of
the local stack, and an empty standard input. So this file imports nothing but the standard library,
and little of it.
"""

import os
import runpy
import signal
import sys
import threading


def die_with_parent() -> None:
    """Keeps the parent's pipe aside and ends the whole process group when it closes."""
    pipe = os.dup(0)  # not inherited by what the module starts
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def watch() -> None:
        os.read(pipe, 1)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent", daemon=True).start()


if __name__ == "__main__":
    die_with_parent()
    sys.path[0] = os.getcwd()  # noqa: PTH109 - sys.path holds strings; pathlib would only cost time
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)

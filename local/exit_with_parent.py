"""Runs a Python module that is killed when its parent process ends.

`python exit_with_parent.py MODULE [ARGUMENTS]`, in a process group of its own and with a pipe as
its standard input: when that pipe closes, the process group is killed, whatever it is doing.
awslambdaric alone would notice that its supervisor is gone only between two events, which may be
fifteen minutes apart.

Rules: the module must not notice. It finds its working folder first in `sys.path` and nothing of
the local stack, and an empty standard input. So this file imports nothing but the standard library,
and little of it.
"""

import os
import runpy
import signal
import sys
import threading


def exit_with_parent() -> None:
    """Takes over the standard input, and kills the process group when it closes."""
    pipe = os.dup(0)  # not inherited by the module's own child processes
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def watch() -> None:
        os.read(pipe, 1)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, name="parent", daemon=True).start()


if __name__ == "__main__":
    exit_with_parent()
    sys.path[0] = os.getcwd()  # noqa: PTH109 - sys.path holds strings; pathlib would only cost time
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)

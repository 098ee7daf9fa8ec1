"""Child processes: read their output, signal them, wait for their end.

Rules: a child leads a process group of its own (`start_new_session=True`), so that Ctrl-C in the
terminal reaches the supervisor only, and a signal to the group reaches the child's own children. A
child has a pipe as its standard input and ends when that pipe closes, so that no process survives
even a `kill -9` of the supervisor. Knows nothing of what the children do.
"""

import asyncio
import contextlib
import os
import signal
import threading
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path

# How long a child may take to end after SIGTERM before it is killed.
GRACE_SECONDS = 1.0
# CloudWatch Logs quota: event size, 1 MB. A longer line is passed on in pieces.
LINE_LIMIT_BYTES = 1024 * 1024


async def lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Yields each line without its end, as it arrives; invalid UTF-8 is replaced."""
    rest = b""
    while chunk := await stream.read(65_536):
        *complete, rest = (rest + chunk).split(b"\n")
        for line in complete:
            yield line.decode(errors="replace")
        if len(rest) > LINE_LIMIT_BYTES:
            yield rest.decode(errors="replace")
            rest = b""
    if rest:
        yield rest.decode(errors="replace")


def module_command(python: str, module: str, *arguments: str) -> list[str]:
    """The command that runs `python -m module` so that it ends when its standard input closes."""
    script = Path(__file__).with_name("exit_with_parent.py")
    return [python, str(script), module, *arguments]


def signal_group(process: Process, number: signal.Signals) -> None:
    """Signals the child and everything it started; does nothing if the group is gone already."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a zombie
        os.killpg(process.pid, number)


async def stop(process: Process, grace: float = GRACE_SECONDS) -> None:
    """Ends a child and its group: SIGTERM, `grace` seconds to obey, then SIGKILL."""
    if process.returncode is None and grace:
        signal_group(process, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), grace)
    signal_group(process, signal.SIGKILL)
    await process.wait()


def on_end_of_input(callback: Callable[[], object]) -> None:
    """In a child: calls `callback`, in a thread, when standard input closes: the parent is gone."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        callback()

    threading.Thread(target=watch, name="end-of-input", daemon=True).start()

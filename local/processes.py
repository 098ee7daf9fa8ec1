"""Child processes: read their output, signal them, see them gone.

Rules: a child leads a process group of its own (`start_new_session=True`), so Ctrl-C in the
terminal reaches only the supervisor and a child's own children go with it. A child gets a pipe as
its standard input and ends when that pipe does, so nothing survives even a `kill -9` of the
supervisor. Knows nothing of what the children do.
"""

import asyncio
import contextlib
import os
import signal
import threading
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path

# How long a child may take to end by itself before it is killed; everything stops "within seconds".
GRACE_SECONDS = 1.0
# CloudWatch Logs quota: event size, 1 MB. A longer line is passed on in pieces.
LINE_LIMIT_BYTES = 1024 * 1024


async def lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Yields each line without its end, as it comes; bytes that are no UTF-8 are replaced."""
    rest = b""
    while chunk := await stream.read(65_536):
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")
        if len(rest) > LINE_LIMIT_BYTES:
            yield rest.decode(errors="replace")
            rest = b""
    if rest:
        yield rest.decode(errors="replace")


def tethered(python: str, module: str, *arguments: str) -> list[str]:
    """The command that runs `python -m module` so that it dies when its standard input ends."""
    return [python, str(Path(__file__).with_name("tethered.py")), module, *arguments]


def signal_group(process: Process, number: signal.Signals) -> None:
    """Signals the child and everything it started; a group that is gone already is fine."""
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


def on_end_of_input(then: Callable[[], object]) -> None:
    """In a child: calls `then`, in a thread, once standard input ends: the parent is gone."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        then()

    threading.Thread(target=watch, name="end-of-input", daemon=True).start()

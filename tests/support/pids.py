"""Process ids: whether the processes still run."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

PATIENCE = 60.0  # seconds: an upper bound for "it never ends", not a measurement


def runs(pid: int) -> bool:
    """Whether the process runs. A zombie, whose parent has not waited for it yet, does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:  # not Linux, or it has ended meanwhile
        return not stat.parent.parent.exists()


def wait_until_gone(pids: Iterable[int]) -> None:
    """Waits until none of the processes runs; fails if one does not end."""
    deadline = time.monotonic() + PATIENCE
    for pid in pids:
        while runs(pid):
            assert time.monotonic() < deadline, f"process {pid} still runs"
            time.sleep(0.01)

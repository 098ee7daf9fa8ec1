"""What explains a failure is left under build/: a folder for each test that failed.

Whatever can explain one registers itself with `on_failure` for as long as it runs: a stack with its
log, a terminal with its screen, a browser with its page.
"""

import os
import re
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

BUILD = Path(__file__).resolve().parents[2] / "build"
FAILURES, LOGS = BUILD / "failures", BUILD / "logs"

Save = Callable[[Path], None]
_active: list[Save] = []
_failed: list[Save] = []  # those that an exception ended, until the test's report


@contextmanager
def on_failure(save: Save) -> Iterator[None]:
    """While this is entered, `save(folder)` is called for each test that fails."""
    _active.append(save)
    try:
        yield
    except BaseException:
        _failed.append(save)
        raise
    finally:
        _active.remove(save)


def copies(*files: Path) -> Save:
    """Copies files, whose folders may be gone later."""

    def save(folder: Path) -> None:
        for file in files:
            if file.exists():
                shutil.copy(file, folder / f"{file.parent.name}-{file.name}")

    return save


def writes(name: str, lines: list[str]) -> Save:
    """Writes the lines that there are by then."""

    def save(folder: Path) -> None:
        (folder / name).write_text("".join(f"{line}\n" for line in lines))

    return save


class Log:
    """The newest lines of a part, with the time that each was written at, for a test that fails."""

    def __init__(self, name: str, lines: int = 5000) -> None:
        self._name = name
        self._lines: deque[str] = deque(maxlen=lines)

    def __call__(self, line: str) -> None:
        self._lines.append(f"{datetime.now(UTC):%H:%M:%S.%f} {line}\n")

    @property
    def lines(self) -> list[str]:
        """The lines so far."""
        return list(self._lines)

    def save(self, folder: Path) -> None:
        """A `Save`."""
        (folder / f"{self._name}.log").write_text("".join(self._lines))


def save_all(test: str) -> Path | None:
    """Saves everything that is registered for this test; returns the folder, if there is any."""
    saves = [*_active, *_failed]
    _failed.clear()
    if not saves:
        return None
    folder = FAILURES / re.sub(r"[^\w.-]+", "_", test.removeprefix("tests/"))[:150]
    folder.mkdir(parents=True, exist_ok=True)
    for save in saves:
        try:
            save(folder)
        except Exception as error:  # noqa: BLE001 - the test's own failure is the one to report
            (folder / "not-saved").write_text(repr(error))
    return folder


def log_file(name: str) -> Path:
    """The path of a log with this name, of this worker alone."""
    LOGS.mkdir(parents=True, exist_ok=True)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    return LOGS / (f"{name}-{worker}.log" if worker else f"{name}.log")

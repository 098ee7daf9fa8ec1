"""What explains a failure is left under build/: a folder for each test that failed.

Whatever can explain one registers itself with `on_failure` for as long as it runs: a stack with its
log, a terminal with its screen, a browser with its page.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    """Writes the lines that there are by then, after those of others of the same name."""

    def save(folder: Path) -> None:
        with (folder / name).open("a") as file:
            file.writelines(f"{line}\n" for line in lines)

    return save


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

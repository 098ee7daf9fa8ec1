"""A real terminal for tests: tmux, with a server of its own and no settings of this machine."""

import itertools
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from support.e2e_clients import PATIENCE, ROOT

ONES = itertools.count()
UP = re.compile(r"\x1b\[(\d+)A")
SGR = re.compile(r"\x1b\[[0-9;]*m")
ENTER, STOP, LEAVE = "Enter", "C-c", "C-d"


class Terminal:
    """A terminal of so many columns and rows in which one program runs."""

    def __init__(self, socket: str, columns: int, rows: int, command: str) -> None:
        self._socket = socket
        size = ("-x", str(columns), "-y", str(rows))
        self.tmux("-f", "/dev/null", "new-session", "-d", *size, command)

    def tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._socket, *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        return done.stdout

    def type(self, text: str, *keys: str) -> None:
        self.tmux("send-keys", "-l", text)
        self.press(*keys)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.tmux("send-keys", key)

    def ask(self, text: str) -> None:
        self.type(text, ENTER)

    def paste(self, text: str) -> None:
        self.tmux("set-buffer", text)
        self.tmux("paste-buffer", "-p")

    def screen(self) -> str:
        """What is seen."""
        return self.tmux("capture-pane", "-p")

    def all(self, *more: str) -> str:
        """What is seen, and what has scrolled away."""
        return self.tmux("capture-pane", "-p", "-J", "-S", "-", *more)

    def until(self, holds: str | Callable[[str], object]) -> str:
        """Waits until this is seen, or was, however it wraps; gives all there is then."""
        deadline = time.monotonic() + PATIENCE
        while True:
            seen = self.all()
            if holds(seen) if callable(holds) else holds in " ".join(seen.split()):
                return seen
            assert time.monotonic() < deadline, seen
            time.sleep(0.05)

    def ready(self, prompts: int = 1) -> str:
        """Waits until so many prompts were there, the last of them empty."""
        return self.until(
            lambda seen: (
                len(re.findall("^›", seen, re.MULTILINE)) >= prompts
                and re.search(r"^›\s*^(?:not )?connected", seen, re.MULTILINE)
            )
        )


@contextmanager
def chatting(
    folder: Path,
    url: str,
    *arguments: str,
    size: tuple[int, int] = (80, 24),
    variables: Mapping[str, str] | None = None,
) -> Iterator[Terminal]:
    given = {"XDG_STATE_HOME": str(folder / "state"), "TERM": "tmux-256color", **(variables or {})}
    command = shlex.join(
        ["env", "-u", "NO_COLOR", "-u", "COLUMNS", "-u", "LINES"]
        + [f"{name}={value}" for name, value in given.items()]
        + [f"PYTHONPATH={ROOT}", sys.executable, "-m", "bedrock_chat", url, *arguments]
    )
    socket = f"bedrock-chat-{os.getpid()}-{next(ONES)}"
    # The shell stays, so that what was said last can be read.
    shell = f"cd {shlex.quote(str(folder))}; {command}; echo status: $?; exec cat"
    terminal = Terminal(socket, *size, shell)
    try:
        yield terminal
    finally:
        with suppress(subprocess.CalledProcessError):
            terminal.tmux("kill-server")


def played(text: str) -> list[str]:
    """The rows of a terminal that is high enough, after this was written to it."""
    rows, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x1b\n\r]+|\n|\r", SGR.sub("", text)):
        if up := UP.fullmatch(token):
            row -= int(up[1])
        elif token == "\n":  # a terminal's line discipline adds the return
            row, column = row + 1, 0
            rows += [""] * (row == len(rows))
        elif token == "\r":
            column = 0
        elif token == "\x1b[K":
            rows[row] = rows[row][:column]
        elif not token.startswith("\x1b"):
            rows[row] = rows[row][:column] + token + rows[row][column + len(token) :]
            column += len(token)
        assert row >= 0, "above the first row"
    return [row.rstrip() for row in rows]

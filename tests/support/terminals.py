"""A real terminal for tests: tmux, with its own server and without this machine's settings."""

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

NUMBERS = itertools.count()
CURSOR_UP = re.compile(r"\x1b\[(\d+)A")
SGR = re.compile(r"\x1b\[[0-9;]*m")
ENTER, STOP, LEAVE = "Enter", "C-c", "C-d"


class Terminal:
    """A terminal with one program."""

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
        """Return the visible rows."""
        return self.tmux("capture-pane", "-p")

    def all(self, *more: str) -> str:
        """Return the scrollback and the visible rows, with wrapped lines joined."""
        return self.tmux("capture-pane", "-p", "-J", "-S", "-", *more)

    def until(self, holds: str | Callable[[str], object]) -> str:
        """Wait until scrollback and screen contain the text, however it wraps; return them."""
        deadline = time.monotonic() + PATIENCE
        while True:
            text = self.all()
            if holds(text) if callable(holds) else holds in " ".join(text.split()):
                return text
            assert time.monotonic() < deadline, text
            time.sleep(0.05)

    def ready(self, prompts: int = 1) -> str:
        """Wait until there have been so many prompts, and the last one is empty."""
        return self.until(
            lambda text: (
                len(re.findall("^›", text, re.MULTILINE)) >= prompts
                and re.search(r"^›\s*^(?:not )?connected", text, re.MULTILINE)
            )
        )


@contextmanager
def client_in_terminal(
    folder: Path,
    url: str,
    *arguments: str,
    size: tuple[int, int] = (80, 24),
    variables: Mapping[str, str] | None = None,
) -> Iterator[Terminal]:
    """Run the client in a new terminal, which is closed afterwards."""
    environment = {
        "XDG_STATE_HOME": str(folder / "state"),
        "TERM": "tmux-256color",
        **(variables or {}),
    }
    command = shlex.join(
        ["env", "-u", "NO_COLOR", "-u", "COLUMNS", "-u", "LINES"]
        + [f"{name}={value}" for name, value in environment.items()]
        + [f"PYTHONPATH={ROOT}", sys.executable, "-m", "bedrock_chat", url, *arguments]
    )
    socket = f"bedrock-chat-{os.getpid()}-{next(NUMBERS)}"
    # The terminal stays open, so that the last output can be read.
    shell = f"cd {shlex.quote(str(folder))}; {command}; echo status: $?; exec cat"
    terminal = Terminal(socket, *size, shell)
    try:
        yield terminal
    finally:
        with suppress(subprocess.CalledProcessError):
            terminal.tmux("kill-server")


def rendered_rows(text: str) -> list[str]:
    """Return the rows of a tall terminal after this was written to it."""
    rows, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x1b\n\r]+|\n|\r", SGR.sub("", text)):
        if up := CURSOR_UP.fullmatch(token):
            row -= int(up[1])
        elif token == "\n":  # the line discipline adds the carriage return
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

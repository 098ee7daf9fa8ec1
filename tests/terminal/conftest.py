"""Fixtures of the terminal client's tests. A failed test leaves its screens in build/failures."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support import closed_port as ports
from support.artifacts import on_failure
from support.stacks import Stacks, served
from support.terminals import Terminal, client_in_terminal


@pytest.fixture(scope="session")
def stacks() -> Iterator[Stacks]:
    """Three local stacks: without authentication, with IAM, and with JWT."""
    with served() as running:
        yield running


@pytest.fixture
def start_client(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Run the client as `client_in_terminal` does; its terminal is closed after the test."""
    terminals: list[Terminal] = []

    def start(url: str, *arguments: str, **options: Any) -> Terminal:
        terminal = open_terminals.enter_context(
            client_in_terminal(tmp_path, url, *arguments, **options)
        )
        terminals.append(terminal)
        return terminal

    def save(folder: Path) -> None:
        for number, terminal in enumerate(terminals, 1):
            (folder / f"terminal-{number}.txt").write_text(terminal.all())

    with ExitStack() as open_terminals, on_failure(save):
        yield start


@pytest.fixture
def chat(stacks: Stacks, start_client: Callable[..., Terminal]) -> Terminal:
    """The client at its prompt, in a terminal of 80 by 24."""
    terminal = start_client(stacks.url())
    terminal.ready()
    return terminal


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections, and that no other program can take meanwhile."""
    with ports.closed_port() as port:
        yield port

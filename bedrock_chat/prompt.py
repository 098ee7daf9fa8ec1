"""The input prompt: prompt_toolkit with this client's keys, commands and status line.

Rules
- Enter sends; Alt+Enter, which terminals send as Esc and Enter, inserts a line break; pasted text
  is one question, whatever line endings it contains.
- Typed lines are stored in a file that only its owner can read, or not at all.

Does not know what happens to a typed line.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output
from prompt_toolkit.styles import Style

from bedrock_chat.commands import COMMANDS

MARK = "› "
REFRESH_SECONDS = 1.0  # the connection may close while the prompt waits

STYLE = Style.from_dict(
    {
        "mark": "bold",
        "bottom-toolbar": "noreverse",
        "bottom-toolbar.text": "ansibrightblack",
        "scrollbar.background": "bg:default",
        "scrollbar.button": "bg:default",
        "completion-menu": "bg:default",
        "completion-menu.completion": "bg:default fg:default",
        "completion-menu.completion.current": "bg:default fg:default bold reverse",
        "completion-menu.meta.completion": "bg:default fg:ansibrightblack",
        "completion-menu.meta.completion.current": "bg:default fg:ansibrightblack",
    }
)


class CommandCompleter(Completer):
    """Completes command names and shows what each does."""

    def get_completions(self, document: Document, _event: CompleteEvent) -> Iterable[Completion]:
        """Yield the commands that begin with the typed text."""
        typed = document.text_before_cursor
        if not typed.startswith("/") or " " in typed:
            return
        for name, (_, does) in COMMANDS.items():
            if name.startswith(typed):
                yield Completion(name, start_position=-len(typed), display_meta=does)


def keys() -> KeyBindings:
    """Return this client's key bindings; prompt_toolkit's own add the Emacs ones."""
    bindings = KeyBindings()

    @bindings.add("enter")
    def _send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    def _insert_line_break(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @bindings.add("c-c")
    def _clear_line(event: KeyPressEvent) -> None:
        event.current_buffer.reset()

    return bindings


def history_file() -> Path:
    """Return the file for typed lines: XDG Base Directory Specification, `XDG_STATE_HOME`."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "bedrock-chat" / "history"


def history(path: Path | None) -> History:
    """Return the typed lines stored in this file; None stores nothing. Raises OSError."""
    if path is None:
        return InMemoryHistory()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    path.chmod(0o600)
    return FileHistory(str(path))


def _is_command() -> bool:
    return get_app().current_buffer.text.startswith("/")


def prompt(
    typed_lines: History,
    status: Callable[[], str],
    terminal: Input | None = None,
    screen: Output | None = None,
) -> "PromptSession[str]":
    """Return a prompt; await its `prompt_async`. `status` returns the text of the bottom line."""
    return PromptSession(
        FormattedText([("class:mark", MARK)]),
        multiline=True,
        prompt_continuation=" " * len(MARK),
        history=typed_lines,
        completer=CommandCompleter(),
        # Rows for the menu are reserved only then; otherwise they would push the conversation up.
        complete_while_typing=Condition(_is_command),
        key_bindings=keys(),
        bottom_toolbar=lambda: FormattedText([("class:bottom-toolbar.text", status())]),
        refresh_interval=REFRESH_SECONDS,
        style=STYLE,
        reserve_space_for_menu=len(COMMANDS) + 1,
        input=terminal,
        output=screen,
    )

"""Where a person types: prompt_toolkit, with our keys, commands and status line.

Rules
- Enter sends; Alt+Enter, which is Esc and Enter, begins a new line; what is pasted is one text,
  whatever line ends are in it.
- What was asked before is kept in a file that only its owner reads, or not at all.

Does not know what becomes of what was typed.
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
REFRESH_SECONDS = 1.0  # the connection may close while nobody types

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


class Commands(Completer):
    """Completes the names of commands, with what they do."""

    def get_completions(self, document: Document, _event: CompleteEvent) -> Iterable[Completion]:
        """The commands that begin with what was typed."""
        typed = document.text_before_cursor
        if not typed.startswith("/") or " " in typed:
            return
        for name, (_, does) in COMMANDS.items():
            if name.startswith(typed):
                yield Completion(name, start_position=-len(typed), display_meta=does)


def keys() -> KeyBindings:
    """Our keys; all others are prompt_toolkit's own, which are Emacs'."""
    bindings = KeyBindings()

    @bindings.add("enter")
    def _send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @bindings.add("c-c")
    def _empty(event: KeyPressEvent) -> None:
        event.current_buffer.reset()

    return bindings


def history_file() -> Path:
    """Where what was asked is kept: XDG Base Directory Specification, `XDG_STATE_HOME`."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "bedrock-chat" / "history"


def history(path: Path | None) -> History:
    """What was asked before, from this file; None keeps nothing. Raises OSError."""
    if path is None:
        return InMemoryHistory()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    path.chmod(0o600)
    return FileHistory(str(path))


def _begins_a_command() -> bool:
    return get_app().current_buffer.text.startswith("/")


def prompt(
    past: History,
    status: Callable[[], str],
    terminal: Input | None = None,
    screen: Output | None = None,
) -> "PromptSession[str]":
    """A prompt, which asks by `prompt_async`. `status` gives the text of the line at the bottom."""
    return PromptSession(
        FormattedText([("class:mark", MARK)]),
        multiline=True,
        prompt_continuation=" " * len(MARK),
        history=past,
        completer=Commands(),
        # Only then room is kept for the menu, which else would push the conversation up.
        complete_while_typing=Condition(_begins_a_command),
        key_bindings=keys(),
        bottom_toolbar=lambda: FormattedText([("class:bottom-toolbar.text", status())]),
        refresh_interval=REFRESH_SECONDS,
        style=STYLE,
        reserve_space_for_menu=len(COMMANDS) + 1,
        input=terminal,
        output=screen,
    )

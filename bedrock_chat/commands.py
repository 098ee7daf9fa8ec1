"""Parses a typed line: a command or a question. Pure.

Rules
- A line that begins with `/` is a command. An unknown command is an error and is never sent: a
  mistyped `/clear` must not become a question to the model.
- `//` begins a question that begins with `/`.
"""

from dataclasses import dataclass

# Each command: its argument, if it takes one, and what it does.
COMMANDS: dict[str, tuple[str, str]] = {
    "/new": ("", "start a new session; the current one stays on the server"),
    "/history": ("[turns]", "show this session's turns"),
    "/clear": ("", "delete this session's turns on the server"),
    "/continue": ("", "continue the last answer from where it stopped"),
    "/model": ("", "show the model"),
    "/save": ("[file]", "save this session's turns to a file, as Markdown"),
    "/help": ("", "show this list"),
    "/quit": ("", "quit, as Ctrl-D does"),
}

KEYS = [
    ("//text", "ask “/text”"),
    ("Enter", "send"),
    ("Alt+Enter", "insert a line break; or Esc, then Enter"),
    ("Ctrl-C", "stop the answer; at the prompt, clear the line"),
    ("Ctrl-D", "quit"),
]


@dataclass(frozen=True, slots=True)
class Command:
    """A command of `COMMANDS` and its argument."""

    name: str
    argument: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question for the model."""

    text: str


@dataclass(frozen=True, slots=True)
class InvalidCommand:
    """A line that is neither. The message says why, in a sentence."""

    message: str


def parse(line: str) -> Command | Question | InvalidCommand | None:
    """Return what the line means; None if it is blank."""
    text = line.strip()
    if not text:
        return None
    if not text.startswith("/"):
        return Question(line.rstrip())
    if text.startswith("//"):
        return Question(text[1:])
    name, _, argument = text.partition(" ")
    argument = argument.strip()
    if name not in COMMANDS:
        return InvalidCommand(
            f"Unknown command {name}. /help lists the commands; // at the start sends the line "
            "as a question."
        )
    if argument and not COMMANDS[name][0]:
        return InvalidCommand(f"{name} takes no argument.")
    return Command(name, argument)


def help_rows() -> list[tuple[str, str]]:
    """Return all commands and keys with what each does."""
    return [
        (f"{name} {argument}".strip(), does) for name, (argument, does) in COMMANDS.items()
    ] + KEYS

"""What a typed line means: a command, or a question. Pure.

Rules
- A line that begins with `/` is a command, and one that is none is said, never sent: whoever
  mistypes `/clear` does not want to ask a model about it.
- `//` begins a question that begins with `/`.
"""

from dataclasses import dataclass

# Each command, what may follow it, and what it does.
COMMANDS: dict[str, tuple[str, str]] = {
    "/new": ("", "begin another session; the one before is kept on the server"),
    "/history": ("[turns]", "show this session's turns"),
    "/clear": ("", "make the server forget this session's turns"),
    "/continue": ("", "have the last answer go on where it broke off"),
    "/model": ("", "show the model"),
    "/save": ("[file]", "write this session's turns to a file, as Markdown"),
    "/help": ("", "show this"),
    "/quit": ("", "leave, as Ctrl-D does"),
}

KEYS = [
    ("//text", "ask “/text”"),
    ("Enter", "send"),
    ("Alt+Enter", "begin a new line; or Esc, then Enter"),
    ("Ctrl-C", "stop the answer; at the prompt, empty the line"),
    ("Ctrl-D", "leave"),
]


@dataclass(frozen=True, slots=True)
class Command:
    """A command of `COMMANDS`, with what followed it."""

    name: str
    argument: str


@dataclass(frozen=True, slots=True)
class Question:
    """What the model is asked."""

    text: str


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with the line, in a sentence."""

    message: str


def parse(line: str) -> Command | Question | Mistake | None:
    """What the line means; None where nothing was typed."""
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
        return Mistake(f"There is no {name}: /help lists what there is. //… sends it as it is.")
    if argument and not COMMANDS[name][0]:
        return Mistake(f"{name} takes nothing after it.")
    return Command(name, argument)


def listing() -> list[tuple[str, str]]:
    """All commands and keys, and what each does."""
    return [(f"{name} {takes}".strip(), does) for name, (takes, does) in COMMANDS.items()] + KEYS

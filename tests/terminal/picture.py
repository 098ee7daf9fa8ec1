"""Draws docs/images/terminal.svg: `python -m tests.terminal.picture`.

A conversation with SmolLM2 on the complete local stack, in a real terminal, as rich exports it with
its colors. The function requests the model by a name that says what answers, so the client shows
that name. Each run gives other answers.
"""

import asyncio
import re
import sys
import tempfile
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from support.terminals import Terminal, chatting  # noqa: E402 - found through the line above

from local.stack import Stack, settings_for  # noqa: E402 - found through the line above

MODEL = "smollm2"
MODEL_ID = "arn:aws:bedrock:us-east-1:123456789012:imported-model/smollm2"
SETTINGS = {"MODEL_FAMILY": "openai-chat"}
COLUMNS, ROWS = 90, 25
QUESTIONS = (
    "What is the capital of France?",
    "Write a Python function that says whether a number is even.",
)
PICTURE = ROOT / "docs" / "images" / "terminal.svg"
BLACK, GREY, PALE, WHITE = (22, 24, 29), (120, 126, 140), (216, 219, 226), (255, 255, 255)
COLOURS = [(224, 108, 117), (152, 195, 121), (229, 192, 123)]
COLOURS += [(97, 175, 239), (198, 120, 221), (86, 182, 194)]
THEME = TerminalTheme(BLACK, PALE, [BLACK, *COLOURS, PALE], [GREY, *COLOURS, WHITE])


def screen_after_questions(terminal: Terminal) -> str:
    """Returns the screen after the questions were answered."""
    for n, question in enumerate(QUESTIONS, 1):
        terminal.ready(n)
        terminal.ask(question)
    terminal.ready(len(QUESTIONS) + 1)
    return terminal.tmux("capture-pane", "-p", "-e")


def to_svg(screen: str) -> str:
    """Returns the picture as SVG, without fonts that would have to be downloaded."""
    console = Console(width=COLUMNS, record=True, file=StringIO())
    console.print(Text.from_ansi(screen.rstrip("\n")))
    svg = console.export_svg(title="bedrock-chat", theme=THEME, unique_id="terminal")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


async def main() -> None:
    """Starts the stack, asks the questions and writes the picture."""
    environment = settings_for(MODEL, SETTINGS)
    stack = Stack(model=MODEL, model_id=MODEL_ID, environment=environment, log=lambda _: None)
    async with stack:
        with (
            tempfile.TemporaryDirectory() as folder,
            chatting(Path(folder), stack.url, size=(COLUMNS, ROWS)) as terminal,
        ):
            screen = await asyncio.to_thread(screen_after_questions, terminal)
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(to_svg(screen))


if __name__ == "__main__":
    asyncio.run(main())

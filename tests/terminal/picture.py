"""Makes docs/images/terminal.svg: `python -m tests.terminal.picture`.

A conversation with the small model, on the whole local stack, in a real terminal: the screen at its
end, with its colours, as exported by rich. Each run gives another conversation.
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

from support.pictures import MODEL, MODEL_ID, QUESTIONS, SETTINGS  # noqa: E402 - see above
from support.terminals import Terminal, client_in_terminal  # noqa: E402 - needs the path set above

from local.stack import Stack  # noqa: E402 - needs the path set above

COLUMNS, ROWS = 90, 27
PICTURE = ROOT / "docs" / "images" / "terminal.svg"
BLACK, GREY, PALE, WHITE = (22, 24, 29), (120, 126, 140), (216, 219, 226), (255, 255, 255)
COLOURS = [(224, 108, 117), (152, 195, 121), (229, 192, 123)]
COLOURS += [(97, 175, 239), (198, 120, 221), (86, 182, 194)]
THEME = TerminalTheme(BLACK, PALE, [BLACK, *COLOURS, PALE], [GREY, *COLOURS, WHITE])


def converse(terminal: Terminal) -> str:
    """Ask the questions; return the screen after the last answer."""
    for n, question in enumerate(QUESTIONS, 1):
        terminal.ready(n)
        terminal.ask(question)
    terminal.ready(len(QUESTIONS) + 1)
    return terminal.tmux("capture-pane", "-p", "-e")


def to_svg(screen: str) -> str:
    """Return the screen as SVG, without fonts that a browser would load from another host."""
    console = Console(width=COLUMNS, record=True, file=StringIO())
    console.print(Text.from_ansi(screen.rstrip("\n")))
    svg = console.export_svg(title="bedrock-chat", theme=THEME, unique_id="terminal")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


async def main() -> None:
    """Start the stack, converse, and write the file."""
    stack = Stack(model=MODEL, model_id=MODEL_ID, environment=SETTINGS, log=lambda _: None)
    async with stack:
        with (
            tempfile.TemporaryDirectory() as folder,
            client_in_terminal(Path(folder), stack.url, size=(COLUMNS, ROWS)) as terminal,
        ):
            screen = await asyncio.to_thread(converse, terminal)
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(to_svg(screen))


if __name__ == "__main__":
    asyncio.run(main())

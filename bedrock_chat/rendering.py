"""Blocks as lines for a terminal, by rich.

Rules
- Only the terminal's own sixteen colours, and none behind the text: it is read on a dark and on a
  light ground alike. Where rich is told not to colour (NO_COLOR, a dumb terminal), it does not.
- Nothing is as wide as the terminal, so that no line wraps where terminals differ in how wide they
  take a character to be; and prose is no wider than is read with ease.
- A link shows where it goes. No escape sequence comes from the text.
"""

import re
from dataclasses import dataclass
from typing import ClassVar

from pygments.token import Comment, Keyword, Name, Number, Operator, String
from pygments.token import Token as Code
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markdown import BlockQuote, CodeBlock, Heading, Markdown, MarkdownElement
from rich.padding import Padding
from rich.style import Style
from rich.syntax import ANSISyntaxTheme, Syntax
from rich.text import Text
from rich.theme import Theme

from bedrock_chat.blocks import PARSER
from bedrock_chat.disarm import disarm

MARGIN = 2
WIDEST = 100

THEME = Theme(
    {
        "markdown.code": "cyan",
        "markdown.h1": "bold underline",
        "markdown.h2": "bold",
        "markdown.h3": "bold",
        "markdown.h4": "bold italic",
        "markdown.h5": "italic",
        "markdown.h6": "italic",
        "markdown.block_quote": "italic",
        "markdown.item.bullet": "dim",
        "markdown.item.number": "dim",
        "markdown.link": "none",
        "markdown.link_url": "blue underline",
        "markdown.table.border": "dim",
        "markdown.table.header": "bold",
        "chat.aside": "dim",
        "chat.thought": "dim italic",
        "chat.error": "red",
        "chat.name": "bold",
    }
)

_CODE = ANSISyntaxTheme(
    {
        Code: Style(),
        Comment: Style(dim=True, italic=True),
        Keyword: Style(color="magenta"),
        Operator.Word: Style(color="magenta"),
        Name.Builtin: Style(color="cyan"),
        Name.Class: Style(color="blue"),
        Name.Decorator: Style(color="cyan"),
        Name.Function: Style(color="blue"),
        Name.Tag: Style(color="blue"),
        Number: Style(color="cyan"),
        String: Style(color="green"),
    }
)

_SGR = re.compile(r"\x1b\[[0-9;]*m")
_TRAILING = re.compile(r"(?:\s|\x1b\[[0-9;]*m)*\Z")
_RESET = "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it is written, and how many cells it takes."""

    written: str
    cells: int


class _Code(CodeBlock):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).removesuffix("\n")
        drawn = Syntax(
            code, self.lexer_name, theme=_CODE, word_wrap=True, background_color="default"
        )
        yield Padding(drawn, (0, 0, 0, 2))


class _Heading(Heading):
    LEVEL_ALIGN: ClassVar = {}


class _Quote(BlockQuote):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        inner = options.update(width=max(1, options.max_width - 2))
        for line in console.render_lines(self.elements, inner, style=self.style, pad=False):
            yield Text("│ ", style="dim", end="")
            yield from line
            yield Text("")


class _Document(Markdown):
    """rich's Markdown of our parser, with nothing in its words that a terminal obeys."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "blockquote_open": _Quote,
        "code_block": _Code,
        "fence": _Code,
        "heading_open": _Heading,
    }

    def __init__(self, text: str) -> None:
        super().__init__("", hyperlinks=False)
        self.parsed = PARSER.parse(text)
        for token in self._flatten_tokens(self.parsed):
            token.content = disarm(token.content)  # &#8238; is a character, too
        self.is_code = bool(self.parsed) and self.parsed[0].type in ("code_block", "fence")


def aside(text: str, style: str = "chat.aside") -> RenderableType:
    """What the client itself says."""
    return Text(text, style=style)


def width(console: Console) -> int:
    """How wide text is set."""
    return max(1, min(console.width - MARGIN, WIDEST))


def markdown(console: Console, text: str) -> list[Line]:
    """One block of an answer."""
    drawn = _Document(text)
    made = lines(console, drawn)
    if drawn.is_code:  # an empty line of it means something
        return made
    inked = [at for at, line in enumerate(made) if line.cells]
    return made[inked[0] : inked[-1] + 1] if inked else []


def thought(console: Console, text: str) -> list[Line]:
    """Lines of what the model thinks aloud."""
    return lines(console, Text(text, style="chat.thought")) if text else []


def lines(console: Console, drawn: RenderableType) -> list[Line]:
    """What is drawn, as lines without space at their ends."""
    with console.capture() as captured:
        console.print(drawn, width=width(console))
    return [_line(each) for each in captured.get().removesuffix("\n").split("\n")]


def _line(written: str) -> Line:
    ends = _TRAILING.search(written)
    assert ends is not None  # noqa: S101 - it matches nothing, too
    kept = written[: ends.start()]
    closed = f"{kept}{_RESET}" if _RESET in ends[0] else kept
    return Line(closed, cell_len(_SGR.sub("", kept)))

"""Renders Markdown blocks as lines for a terminal, with rich.

Rules
- Only the terminal's own sixteen colours, and no background colour: text is readable on dark and
  light backgrounds. No colour where rich disables it (NO_COLOR, a dumb terminal).
- Lines are narrower than the terminal, so that none wraps where a terminal disagrees about the
  width of a character; and no wider than `MAX_WIDTH`, which keeps prose readable.
- A link shows its address. No escape sequence comes from the text.
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
from bedrock_chat.sanitize import sanitize

MARGIN = 2
MAX_WIDTH = 100

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
        "chat.secondary": "dim",
        "chat.reasoning": "dim italic",
        "chat.error": "red",
        "chat.question": "bold",
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
    """A line with its escape sequences, and its width in cells."""

    text: str
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
    """rich's Markdown with this client's parser and sanitized text."""

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
            token.content = sanitize(token.content)  # the parser decodes entities such as &#8238;
        self.is_code = bool(self.parsed) and self.parsed[0].type in ("code_block", "fence")


def client_text(text: str, style: str = "chat.secondary") -> RenderableType:
    """Return a text of the client itself, as opposed to the model's."""
    return Text(text, style=style)


def width(console: Console) -> int:
    """Return the width of text, in cells."""
    return max(1, min(console.width - MARGIN, MAX_WIDTH))


def markdown(console: Console, text: str) -> list[Line]:
    """Render one Markdown block."""
    document = _Document(text)
    rendered = lines(console, document)
    if document.is_code:  # its empty lines are significant
        return rendered
    filled = [at for at, line in enumerate(rendered) if line.cells]
    return rendered[filled[0] : filled[-1] + 1] if filled else []


def reasoning(console: Console, text: str) -> list[Line]:
    """Render lines of reasoning, which is not Markdown."""
    return lines(console, Text(text, style="chat.reasoning")) if text else []


def lines(console: Console, renderable: RenderableType) -> list[Line]:
    """Render to lines without trailing white space."""
    with console.capture() as captured:
        console.print(renderable, width=width(console))
    return [_line(each) for each in captured.get().removesuffix("\n").split("\n")]


def _line(rendered: str) -> Line:
    trailing = _TRAILING.search(rendered)
    assert trailing is not None  # noqa: S101 - the pattern also matches an empty string
    text = rendered[: trailing.start()]
    closed = f"{text}{_RESET}" if _RESET in trailing[0] else text
    return Line(closed, cell_len(_SGR.sub("", text)))

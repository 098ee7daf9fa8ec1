"""Markdown that arrives in pieces, as blocks: the finished ones, and the last. Pure.

Rules
- A block is finished once a whole line of the next one is there: CommonMark decides by lines. How
  the text was cut into pieces makes no difference.
- A list or a block of code that grows long is finished in parts, so that whoever draws the
  unfinished tail has little to draw; any other block stays whole until its end.
- No word is taken for markup that would not be shown: HTML, link definitions, images and bare
  <links> are text here.

Does not know how a block looks.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

# Fewer and fewer terminals are lower than this; a longer part would not be seen whole anyway.
LONG_LINES = 16

PARSER = (
    MarkdownIt("commonmark", {"html": False})
    .enable(["strikethrough", "table"])
    .disable(["image", "autolink", "reference"])
)

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Block:
    """One block's Markdown. `joined`: it goes on with the one before, with no space between."""

    text: str
    joined: bool = False


class Blocks:
    """Takes text as it comes. `tail` is the block that may still change."""

    def __init__(self) -> None:
        self.tail = Block("")

    def add(self, text: str) -> list[Block]:
        """The blocks that this text finished."""
        whole, newline, partial = (self.tail.text + text).rpartition("\n")
        if not newline:
            self.tail = Block(partial, self.tail.joined)
            return []
        *finished, last = _parts(whole + newline, joined=self.tail.joined)
        self.tail = Block(last.text + partial, last.joined)
        return finished

    def end(self) -> list[Block]:
        """What is left, as it stands."""
        *finished, last = _parts(self.tail.text, joined=self.tail.joined)
        self.tail = Block("")
        return [each for each in (*finished, last) if each.text.strip()]


def _parts(text: str, *, joined: bool) -> Iterator[Block]:
    """The blocks of whole lines of text; the last one is the tail."""
    lines = text.split("\n")
    tokens = PARSER.parse(text)
    tops = [(at, token) for at, token in enumerate(tokens) if token.level == 0 and token.map]
    starts = [_first(token) for _, token in tops][1:]
    begin = 0
    for start in starts:
        yield Block("\n".join(lines[begin:start]) + "\n", joined)
        begin, joined = start, False
    rest = lines[begin:]
    if tops and len(rest) > LONG_LINES:
        at, token = tops[-1]
        if token.type == "fence":
            yield from _code(token, rest, joined=joined)
            return
        items = [each for each in tokens[at:] if each.type == "list_item_open" and each.level == 1]
        if len(items) > 1:
            cut = _first(items[-1]) - begin
            yield Block("\n".join(rest[:cut]) + "\n", joined)
            rest = [_numbered(token, len(items) - 1, rest[cut]), *rest[cut + 1 :]]
            joined = True
    yield Block("\n".join(rest), joined)


def _code(token: Token, rest: list[str], *, joined: bool) -> Iterator[Block]:
    """A long fence so far. It is cut at the last empty line, which few tokens of code go across."""
    content = token.content.split("\n")[:-1]
    opening, code = rest[0], rest[1 : 1 + len(content)]
    after = rest[1 + len(content) :]
    if after and after[0].strip():  # it is closed
        yield Block("\n".join([opening, *code, after[0]]) + "\n", joined)
        yield Block("\n".join(after[1:]))
        return
    empty = [at for at, line in enumerate(code) if not line.strip() and at]
    cut = (empty[-1] if empty else len(code) - 1) + 1
    yield Block("\n".join([opening, *code[:cut], token.markup]) + "\n", joined)
    yield Block("\n".join([opening, *code[cut:], *after]), joined=True)


def _numbered(token: Token, before: int, line: str) -> str:
    """An item's first line with the number that it has in the whole list."""
    if token.type != "ordered_list_open":
        return line
    start = token.attrGet("start")  # not there where it is 1
    return _NUMBER.sub(str(int(1 if start is None else start) + before), line, count=1)


def _first(token: Token) -> int:
    assert token.map is not None  # noqa: S101 - every opening block token has its lines
    return token.map[0]

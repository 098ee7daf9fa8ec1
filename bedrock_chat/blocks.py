"""Splits Markdown that arrives in chunks into blocks: finished ones, and an unfinished tail. Pure.

Rules
- A block is finished once a complete line of the next block has arrived: CommonMark decides by
  lines. Chunk boundaries make no difference.
- A long list or code block is finished in parts, so that redrawing the unfinished tail stays cheap;
  any other block is finished as one.
- All text remains visible: HTML, link definitions, images and bare <links> are plain text here.

Does not know how a block is rendered.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

# A list or code block with more lines than this is finished in parts. Most terminals are taller.
LONG_LINES = 16

PARSER = (
    MarkdownIt("commonmark", {"html": False})
    .enable(["strikethrough", "table"])
    .disable(["image", "autolink", "reference"])
)

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Block:
    """One block's Markdown. `continued`: it continues the block before, with no space between."""

    text: str
    continued: bool = False


class BlockParser:
    """Splits text incrementally. `tail` is the block that may still change."""

    def __init__(self) -> None:
        self.tail = Block("")

    def add(self, text: str) -> list[Block]:
        """Return the blocks that this text finished."""
        complete, newline, partial = (self.tail.text + text).rpartition("\n")
        if not newline:
            self.tail = Block(partial, self.tail.continued)
            return []
        *finished, last = _split(complete + newline, continued=self.tail.continued)
        self.tail = Block(last.text + partial, last.continued)
        return finished

    def end(self) -> list[Block]:
        """Return the blocks of the tail: no more text will arrive."""
        *finished, last = _split(self.tail.text, continued=self.tail.continued)
        self.tail = Block("")
        return [each for each in (*finished, last) if each.text.strip()]


def _split(text: str, *, continued: bool) -> Iterator[Block]:
    """Yield the blocks of complete lines; the last one is the tail."""
    lines = text.split("\n")
    tokens = PARSER.parse(text)
    tops = [(at, token) for at, token in enumerate(tokens) if token.level == 0 and token.map]
    starts = [_first_line(token) for _, token in tops][1:]
    begin = 0
    for start in starts:
        yield Block("\n".join(lines[begin:start]) + "\n", continued)
        begin, continued = start, False
    rest = lines[begin:]
    if tops and len(rest) > LONG_LINES:
        at, token = tops[-1]
        if token.type == "fence":
            yield from _split_code(token, rest, continued=continued)
            return
        items = [each for each in tokens[at:] if each.type == "list_item_open" and each.level == 1]
        if len(items) > 1:
            cut = _first_line(items[-1]) - begin
            yield Block("\n".join(rest[:cut]) + "\n", continued)
            rest = [_renumber(token, len(items) - 1, rest[cut]), *rest[cut + 1 :]]
            continued = True
    yield Block("\n".join(rest), continued)


def _split_code(token: Token, rest: list[str], *, continued: bool) -> Iterator[Block]:
    """Split a long code fence at its last empty line, which few tokens of code span."""
    content = token.content.split("\n")[:-1]
    opening, code = rest[0], rest[1 : 1 + len(content)]
    after = rest[1 + len(content) :]
    if after and after[0].strip():  # the fence is closed
        yield Block("\n".join([opening, *code, after[0]]) + "\n", continued)
        yield Block("\n".join(after[1:]))
        return
    empty = [at for at, line in enumerate(code) if not line.strip() and at]
    cut = (empty[-1] if empty else len(code) - 1) + 1
    yield Block("\n".join([opening, *code[:cut], token.markup]) + "\n", continued)
    yield Block("\n".join([opening, *code[cut:], *after]), continued=True)


def _renumber(token: Token, before: int, line: str) -> str:
    """Return an item's first line with its number in the complete list."""
    if token.type != "ordered_list_open":
        return line
    start = token.attrGet("start")  # absent if it is 1
    return _NUMBER.sub(str(int(1 if start is None else start) + before), line, count=1)


def _first_line(token: Token) -> int:
    assert token.map is not None  # noqa: S101 - every opening block token has a line range
    return token.map[0]

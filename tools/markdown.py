"""Markdown that is made: tables, fenced blocks, and the places in a document where they go. Pure.

A place is `<!-- make docs: NAME -->`, what is made, and `<!-- up to here -->`; all around it is a
person's. Knows nothing of what is written.
"""

import re
from collections.abc import Callable, Iterable, Mapping

END = "<!-- up to here -->"
_PLACE = re.compile(rf"<!-- make docs: ([a-z-]+) -->\n.*?{re.escape(END)}", re.DOTALL)

Section = Callable[[], str]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """One line a row; a bar in a cell does not end it."""
    lines = [tuple(head), *(tuple(row) for row in rows)]
    lines.insert(1, ("---",) * len(lines[0]))
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def code(text: str) -> str:
    """As code, in a line."""
    return f"`{text}`"


def size(count: int) -> str:
    """Bytes as a person reads them."""
    return f"{count // 1024} KB" if count % 1024 == 0 else f"{count:,} bytes"


def fenced(language: str, lines: Iterable[str]) -> str:
    """As code, in a block."""
    return "\n".join([f"```{language}", *lines, "```"])


def filled(text: str, sections: Mapping[str, Section]) -> str:
    """The document with each place filled anew. Raises KeyError for a name that nobody makes."""

    def fill(place: re.Match[str]) -> str:
        return f"<!-- make docs: {place[1]} -->\n{sections[place[1]]()}\n{END}"

    return _PLACE.sub(fill, text)


def places(text: str) -> list[str]:
    """The names of a document's places."""
    return _PLACE.findall(text)

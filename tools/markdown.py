"""Markdown: tables, code, and the generated sections of a document. Performs no I/O.

A generated section stands between `<!-- make docs: NAME -->` and `<!-- up to here -->`. Text
outside of these marks is written by hand and stays unchanged.

Does not know what the sections contain.
"""

import re
from collections.abc import Callable, Iterable, Mapping

END = "<!-- up to here -->"
_SECTION = re.compile(rf"<!-- make docs: ([a-z-]+) -->\n.*?{re.escape(END)}", re.DOTALL)

Section = Callable[[], str]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Returns a table with one line per row. A bar inside a cell is escaped."""
    lines = [tuple(head), *(tuple(row) for row in rows)]
    lines.insert(1, ("---",) * len(lines[0]))
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def code(text: str) -> str:
    """Returns inline code."""
    return f"`{text}`"


def size(count: int) -> str:
    """Returns a number of bytes with its unit."""
    return f"{count // 1024} KB" if count % 1024 == 0 else f"{count:,} bytes"


def fenced(language: str, lines: Iterable[str]) -> str:
    """Returns a fenced code block."""
    return "\n".join([f"```{language}", *lines, "```"])


def fill_sections(text: str, sections: Mapping[str, Section]) -> str:
    """Returns the document with each generated section replaced.

    Raises:
        KeyError: the document has a section that is not in `sections`.
    """

    def fill(section: re.Match[str]) -> str:
        name = section[1]
        return f"<!-- make docs: {name} -->\n{sections[name]()}\n{END}"

    return _SECTION.sub(fill, text)


def section_names(text: str) -> list[str]:
    """Returns the names of the generated sections, in order."""
    return _SECTION.findall(text)

"""The index of docs/decisions/, made of the pages' own headings. Pure, but for reading."""

from collections.abc import Iterator
from pathlib import Path

from tools.markdown import table

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "decisions"


def pages() -> Iterator[Path]:
    """Every decision, by its number."""
    yield from sorted(FOLDER.glob("[0-9][0-9][0-9][0-9]-*.md"))


def index() -> str:
    """A line for each, with its number and heading."""
    return table(
        ("", "decision"), ((path.name[:4], f"[{_heading(path)}]({path.name})") for path in pages())
    )


def _heading(path: Path) -> str:
    return path.read_text().splitlines()[0].removeprefix("# ")

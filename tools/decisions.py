"""The index of docs/decisions/, generated from the headings of the pages."""

from collections.abc import Iterator
from pathlib import Path

from tools.markdown import table

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "decisions"


def pages() -> Iterator[Path]:
    """Yields the page of each decision, in the order of their numbers."""
    yield from sorted(FOLDER.glob("[0-9][0-9][0-9][0-9]-*.md"))


def index() -> str:
    """Returns a table with the number and heading of each decision."""
    return table(
        ("", "decision"), ((path.name[:4], f"[{_heading(path)}]({path.name})") for path in pages())
    )


def _heading(path: Path) -> str:
    return path.read_text().splitlines()[0].removeprefix("# ")

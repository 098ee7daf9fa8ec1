"""`make docs`: fills the places in the documents that are made of the sources.

`python -m tools` with `src` on the path writes each document whose places are out of date, and the
pictures, and says which. A test fails while there is anything to write.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from tools import (
    architecture,
    badges,
    decisions,
    limits,
    protocol,
    protocol_schema,
    settings_tables,
)
from tools.markdown import Section, filled

ROOT = Path(__file__).resolve().parents[1]

SECTIONS: Mapping[str, Section] = {
    "badges": badges.shown,
    "client-frames": protocol.client_frames,
    "server-frames": protocol.server_frames,
    "seed-frames": protocol.seed_frames,
    "stop-reasons": protocol.stop_reasons,
    "states": protocol.states,
    "error-codes": protocol.error_codes,
    "protocol-limits": protocol.limits,
    "function-settings": settings_tables.of_the_function,
    "deployment-variables": settings_tables.of_the_deployment,
    "security-limits": limits.bounds,
    "worst-cost": limits.worst_cost,
    "decisions": decisions.index,
}


def documents() -> Iterator[tuple[Path, str]]:
    """Each file that is made, in part or as a whole, and what it should hold."""
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]):
        yield path, filled(path.read_text(), SECTIONS)
    yield architecture.PICTURE, architecture.drawn()
    yield badges.PICTURE, badges.drawn()
    yield protocol_schema.FILE, protocol_schema.text()


def main() -> None:
    """Writes what has changed."""
    for path, text in documents():
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"written: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

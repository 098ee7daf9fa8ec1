"""The results of a run: a table for a terminal, one for the README, and a chart.

`python -m bench.report` copies the last run's figures (`build/bench.json`, `build/machine.json`)
into the documents: `docs/bench.json`, the chart `docs/bench-ratios.svg`, and the table between the
two markers in the README. A test compares the README and the chart with `docs/bench.json`.

All functions but `main` are pure.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from bench.row import Row

ROOT = Path(__file__).resolve().parents[1]
BUILD, DOCS, README = ROOT / "build", ROOT / "docs", ROOT / "README.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"

_VERDICTS = {True: "yes", False: "NO", None: ""}


def number(value: float | None) -> str:
    """Formats a value with three significant digits: runs vary by more than the next one."""
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _cells(row: Row) -> tuple[str, ...]:
    ours = f"{number(row.ours)} {row.unit}".strip()
    theirs = f"{number(row.peer_value)} {row.unit}".strip() if row.peer_value is not None else ""
    return (row.name, ours, row.peer, theirs, number(row.ratio), row.goal, _VERDICTS[row.met])


HEADINGS = ("measurement", "ours", "against", "theirs", "ratio", "goal", "met")


def table(rows: Iterable[Row]) -> str:
    """Returns the table for a terminal, with notes below their rows."""
    listed = list(rows)
    lines = [HEADINGS, *(_cells(row) for row in listed)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(HEADINGS))]
    printed = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    with_notes = printed[:1]
    for row, line in zip(listed, printed[1:], strict=True):
        with_notes.append(line)
        if row.note:
            with_notes.append(f"    {row.note}")
    return "\n".join(with_notes) + "\n"


def markdown(rows: Iterable[Row], machine: Mapping[str, str], peers: Mapping[str, str]) -> str:
    """Returns the README's table: the rows that have a goal, and the machine."""
    head = f"| {' | '.join(HEADINGS)} |\n{'|---' * len(HEADINGS)}|\n"
    lines = "".join("| " + " | ".join(_cells(row)) + " |\n" for row in rows if row.met is not None)
    return f"{head}{lines}\n{measured_on(machine, peers)}\n"


def measured_on(machine: Mapping[str, str], peers: Mapping[str, str]) -> str:
    """Returns a sentence with the machine and the versions of the peers."""
    versions = ", ".join(f"{name} {version}" for name, version in peers.items())
    return (
        f"Measured on {machine['date']}: {machine['processor']}, {machine['cores']} cores (load "
        f"{machine['load']}), Python {machine['python']}, {machine['kernel']}"
        + (f"; peers: {versions}." if versions else ".")
    )


def to_json(rows: Iterable[Row]) -> str:
    """Returns the rows as the text of `build/bench.json`."""
    return json.dumps([asdict(row) for row in rows], indent=1) + "\n"


def from_json(text: str) -> list[Row]:
    """Parses the output of `to_json`."""
    return [Row(**each) for each in json.loads(text)]


# -- the chart -------------------------------------------------------------------------------------

WIDTH, LEFT, BAR_WIDTH, ROW_HEIGHT = 760, 330, 340, 40
# The ratio at the right end. A larger one has a bar of full width; its figure is printed beside it.
MAX_RATIO = 1.25

_STYLE = """
.t{font:13px system-ui,sans-serif;fill:#1f2328}.s{font:11px system-ui,sans-serif;fill:#59636e}
.b{fill:#2f7d4f}.m{fill:#b3541e}.g{stroke:#1f2328;stroke-width:2}
.p{stroke:#59636e;stroke-width:1;stroke-dasharray:3 3}.r{fill:#59636e;fill-opacity:.14}
@media(prefers-color-scheme:dark){.t{fill:#e6edf3}.s{fill:#9198a1}.b{fill:#4fb37a}.m{fill:#e08a4f}
.g{stroke:#e6edf3}.p{stroke:#9198a1}.r{fill:#9198a1;fill-opacity:.16}}
""".strip()


def goal_ratio(row: Row) -> float | None:
    """Returns the bound of a goal that is a ratio."""
    is_ratio = row.ratio is not None and row.goal.startswith("ratio")
    found = re.findall(r"\d+(?:\.\d+)?", row.goal) if is_ratio else []
    return float(found[-1]) if found else None


def chart(rows: Sequence[Row]) -> str:
    """Returns an SVG with a bar for each ratio that has a goal: the peer is 1, the goal a line."""
    shown = [row for row in rows if row.ratio is not None and goal_ratio(row) is not None]
    height = 52 + ROW_HEIGHT * len(shown)
    one = LEFT + BAR_WIDTH / MAX_RATIO
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" role="img">'
        ),
        "<title>Ratio of ours to the peer, for each measurement, with the goals</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="s" x="{one:.1f}" y="16" text-anchor="middle">the peer = 1</text>',
    ]
    for at, row in enumerate(shown):
        parts.extend(_bar(row, 26 + at * ROW_HEIGHT))
    parts.append(f'<line class="p" x1="{one:.1f}" y1="22" x2="{one:.1f}" y2="{height - 24}"/>')
    parts.append(
        f'<text class="s" x="{LEFT}" y="{height - 8}">bar: ours / the peer\'s, '
        "less is better · vertical line: the goal</text>"
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bar(row: Row, top: int) -> list[str]:
    goal = goal_ratio(row)
    assert row.ratio is not None  # noqa: S101 - selected by `chart`
    assert goal is not None  # noqa: S101 - selected by `chart`
    scale = BAR_WIDTH / MAX_RATIO
    length = max(1.5, min(row.ratio, MAX_RATIO) * scale)
    goal_x = LEFT + min(goal, MAX_RATIO) * scale
    return [
        f'<text class="t" x="8" y="{top + 15}">{escape(row.name)}</text>',
        f'<text class="s" x="8" y="{top + 30}">against {escape(row.peer)}</text>',
        f'<rect class="r" x="{LEFT}" y="{top + 8}" width="{BAR_WIDTH}" height="18" rx="2"/>',
        (
            f'<rect class="{"b" if row.met else "m"}" x="{LEFT}" y="{top + 8}" '
            f'width="{length:.1f}" height="18" rx="2"/>'
        ),
        f'<line class="g" x1="{goal_x:.1f}" y1="{top + 4}" x2="{goal_x:.1f}" y2="{top + 30}"/>',
        f'<text class="t" x="{LEFT + BAR_WIDTH + 12}" y="{top + 15}">{number(row.ratio)}</text>',
        f'<text class="s" x="{LEFT + BAR_WIDTH + 12}" y="{top + 30}">goal {goal:g}</text>',
    ]


# -- into the documents ----------------------------------------------------------------------------


def with_table(readme: str, block: str) -> str:
    """Returns the README with the text between the markers replaced."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"README.md lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n{block}{END}{after}"


def documents(results: Mapping[str, Any], readme: str) -> dict[Path, str]:
    """Returns the content of each file that is generated from `docs/bench.json`."""
    rows = [Row(**each) for each in results["rows"]]
    return {
        README: with_table(readme, markdown(rows, results["machine"], results["peers"])),
        DOCS / "bench-ratios.svg": chart(rows),
    }


def main() -> None:
    """Copies the last run's figures into the documents."""
    machine = json.loads((BUILD / "machine.json").read_text())
    rows = from_json((BUILD / "bench.json").read_text())
    results = {**machine, "rows": [asdict(row) for row in rows]}
    (DOCS / "bench.json").write_text(json.dumps(results, indent=1) + "\n")
    for path, text in documents(results, README.read_text()).items():
        path.write_text(text)


if __name__ == "__main__":
    main()

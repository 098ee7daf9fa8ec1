"""What a run comes to: a table for a terminal, one for the README, and a picture. Pure but `main`.

`python -m bench.report` takes the last run's figures (`build/bench.json`, `build/machine.json`)
into the documents: `docs/bench.json`, the pictures `docs/bench-*.svg`, and the table in the README
between its two marks. A test holds the README and the pictures to `docs/bench.json`.
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
    """Three figures, as many as a measurement on a shared machine is worth."""
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _cells(row: Row) -> tuple[str, ...]:
    ours = f"{number(row.ours)} {row.unit}".strip()
    theirs = f"{number(row.peer_value)} {row.unit}".strip() if row.peer_value is not None else ""
    return (row.name, ours, row.peer, theirs, number(row.ratio), row.goal, _VERDICTS[row.met])


HEAD = ("what", "ours", "against", "theirs", "ratio", "goal", "met")


def table(rows: Iterable[Row]) -> str:
    """For a terminal; notes stand below their rows."""
    listed = list(rows)
    lines = [HEAD, *(_cells(row) for row in listed)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(HEAD))]
    drawn = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    noted = drawn[:1]
    for row, line in zip(listed, drawn[1:], strict=True):
        noted.append(line)
        if row.note:
            noted.append(f"    {row.note}")
    return "\n".join(noted) + "\n"


def markdown(rows: Iterable[Row], machine: Mapping[str, str], peers: Mapping[str, str]) -> str:
    """For the README: only what has a goal, and what it was measured on."""
    head = (
        "| what | ours | against | theirs | ratio | goal | met |\n|---|---|---|---|---|---|---|\n"
    )
    lines = "".join("| " + " | ".join(_cells(row)) + " |\n" for row in rows if row.met is not None)
    return f"{head}{lines}\n{measured_on(machine, peers)}\n"


def measured_on(machine: Mapping[str, str], peers: Mapping[str, str]) -> str:
    """One sentence about the machine and the peers."""
    beside = ", ".join(f"{name} {version}" for name, version in peers.items())
    return (
        f"Measured on {machine['date']}: {machine['processor']}, {machine['cores']} cores (load "
        f"{machine['load']}), Python {machine['python']}, {machine['kernel']}"
        + (f"; beside {beside}." if beside else ".")
    )


def to_json(rows: Iterable[Row]) -> str:
    """The rows as `build/bench.json` has them."""
    return json.dumps([asdict(row) for row in rows], indent=1) + "\n"


def from_json(text: str) -> list[Row]:
    """What `to_json` wrote."""
    return [Row(**each) for each in json.loads(text)]


# -- the picture -----------------------------------------------------------------------------------

WIDTH, LEFT, BAR, TALL = 760, 330, 340, 40
# As far right as a bar goes: a ratio over it is cut, and its figure tells.
RIGHTMOST = 1.25

_STYLE = """
.t{font:13px system-ui,sans-serif;fill:#1f2328}.s{font:11px system-ui,sans-serif;fill:#59636e}
.b{fill:#2f7d4f}.m{fill:#b3541e}.g{stroke:#1f2328;stroke-width:2}
.p{stroke:#59636e;stroke-width:1;stroke-dasharray:3 3}.r{fill:#59636e;fill-opacity:.14}
@media(prefers-color-scheme:dark){.t{fill:#e6edf3}.s{fill:#9198a1}.b{fill:#4fb37a}.m{fill:#e08a4f}
.g{stroke:#e6edf3}.p{stroke:#9198a1}.r{fill:#9198a1;fill-opacity:.16}}
""".strip()


def goal_ratio(row: Row) -> float | None:
    """The bound that a ratio's goal names."""
    of_ratio = row.ratio is not None and row.goal.startswith("ratio")
    found = re.findall(r"\d+(?:\.\d+)?", row.goal) if of_ratio else []
    return float(found[-1]) if found else None


def picture(rows: Sequence[Row]) -> str:
    """Bars of the ratios that have a goal: the peer is 1, the goal a mark."""
    drawn = [row for row in rows if row.ratio is not None and goal_ratio(row) is not None]
    height = 52 + TALL * len(drawn)
    one = LEFT + BAR / RIGHTMOST
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" role="img">'
        ),
        "<title>Ours as a part of the peer's, for each measurement; the goals are marked</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="s" x="{one:.1f}" y="16" text-anchor="middle">the peer = 1</text>',
    ]
    for at, row in enumerate(drawn):
        parts.extend(_bar(row, 26 + at * TALL))
    parts.append(f'<line class="p" x1="{one:.1f}" y1="22" x2="{one:.1f}" y2="{height - 24}"/>')
    parts.append(
        f'<text class="s" x="{LEFT}" y="{height - 8}">bar: ours / the peer\'s, '
        "less is better · upright stroke: the goal</text>"
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bar(row: Row, top: int) -> list[str]:
    goal = goal_ratio(row)
    assert row.ratio is not None  # noqa: S101 - chosen by `picture`
    assert goal is not None  # noqa: S101 - chosen by `picture`
    scale = BAR / RIGHTMOST
    long = max(1.5, min(row.ratio, RIGHTMOST) * scale)
    mark = LEFT + min(goal, RIGHTMOST) * scale
    return [
        f'<text class="t" x="8" y="{top + 15}">{escape(row.name)}</text>',
        f'<text class="s" x="8" y="{top + 30}">against {escape(row.peer)}</text>',
        f'<rect class="r" x="{LEFT}" y="{top + 8}" width="{BAR}" height="18" rx="2"/>',
        (
            f'<rect class="{"b" if row.met else "m"}" x="{LEFT}" y="{top + 8}" width="{long:.1f}" '
            f'height="18" rx="2"/>'
        ),
        f'<line class="g" x1="{mark:.1f}" y1="{top + 4}" x2="{mark:.1f}" y2="{top + 30}"/>',
        f'<text class="t" x="{LEFT + BAR + 12}" y="{top + 15}">{number(row.ratio)}</text>',
        f'<text class="s" x="{LEFT + BAR + 12}" y="{top + 30}">goal {goal:g}</text>',
    ]


# -- into the documents ----------------------------------------------------------------------------


def with_table(readme: str, block: str) -> str:
    """The README with what stands between the marks replaced."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"README.md lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n{block}{END}{after}"


def documents(kept: Mapping[str, Any], readme: str) -> dict[Path, str]:
    """Every file that follows from `docs/bench.json`, with what it is to say."""
    rows = [Row(**each) for each in kept["rows"]]
    return {
        README: with_table(readme, markdown(rows, kept["machine"], kept["peers"])),
        DOCS / "bench-ratios.svg": picture(rows),
    }


def main() -> None:
    """Takes the last run's figures into the documents."""
    machine = json.loads((BUILD / "machine.json").read_text())
    rows = from_json((BUILD / "bench.json").read_text())
    kept = {**machine, "rows": [asdict(row) for row in rows]}
    (DOCS / "bench.json").write_text(json.dumps(kept, indent=1) + "\n")
    for path, text in documents(kept, README.read_text()).items():
        path.write_text(text)


if __name__ == "__main__":
    main()

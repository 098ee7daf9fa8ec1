"""The bench's table and picture, and the documents that come of them."""

import json
import xml.etree.ElementTree as ET
from dataclasses import asdict
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import machine, report
from bench.row import Row, against, alone

FAST = against("cold start <CPU>", 12.0, "ms", "plain & simple", 100.0, most=0.16)
SLOW = against("a turn", 3.0, "ms", "itself", 2.0, most=1.1, note="why so")
ROWS = [FAST, SLOW, alone("round trips", 3, "", most=3), alone("unjudged", 4, "")]
MACHINE = {
    "date": "2026-01-02",
    "processor": "P",
    "cores": "2",
    "python": "3.13",
    "kernel": "Linux",
    "load": "1.0",
}


def test_a_row_is_judged_by_its_ratio() -> None:
    """At most the goal is met; above it is not; without a goal nothing is judged."""
    assert (0.12, True) == (FAST.ratio, FAST.met)
    assert (1.5, False) == (SLOW.ratio, SLOW.met)
    assert [True, None] == [row.met for row in ROWS[2:]]


def test_the_table_has_each_row_and_its_note() -> None:
    """Every figure of a row stands in its line; a note below it."""
    lines = report.table(ROWS).splitlines()

    assert [*report.HEAD] == lines[0].split()
    assert ["cold start <CPU>", "12 ms", "plain & simple", "100 ms", "0.12"] == [
        part.strip() for part in lines[1].split("  ") if part.strip()
    ][:5]
    assert "    why so" == lines[3]
    assert len(ROWS) + 2 == len(lines)


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0.1234, "0.123"), (12345.6, "12,346"), (0.0, "0")]
)
def test_three_figures(value: float | None, text: str) -> None:
    """No more digits than a measurement is worth."""
    assert text == report.number(value)


def test_the_readme_shows_what_has_a_goal() -> None:
    """What is not judged stays out of it; the machine and the peers are named."""
    shown = report.markdown(ROWS, MACHINE, {"langchain": "1.0"})

    assert "unjudged" not in shown
    assert "| a turn | 3 ms | itself | 2 ms | 1.5 | ratio at most 1.1 | NO |" in shown
    assert "2026-01-02: P, 2 cores" in shown
    assert "langchain 1.0" in shown


def test_rows_come_back_from_json() -> None:
    """What a run wrote is what is read."""
    assert ROWS == report.from_json(report.to_json(ROWS))


def test_the_picture_is_well_formed() -> None:
    """One bar and one goal for each ratio with a goal, whatever their names hold."""
    drawn = ET.fromstring(report.picture(ROWS))
    names = {"{http://www.w3.org/2000/svg}" + name for name in ("rect", "line", "text")}

    assert {child.tag for child in drawn} >= names
    assert 2 == sum("g" == child.get("class") for child in drawn)
    assert ["b", "m"] == [c.get("class") for c in drawn if c.get("class") in ("b", "m")]
    assert "cold start <CPU>" in {child.text for child in drawn}


def test_a_bar_never_leaves_the_picture() -> None:
    """A ratio far above the peer is cut, and its figure still says it."""
    huge = against("huge", 1000.0, "", "one", 1.0, most=1.0)
    drawn = ET.fromstring(report.picture([huge]))
    bar = next(child for child in drawn if child.get("class") == "m")

    assert report.BAR == float(bar.get("width", ""))
    assert "1,000" in {child.text for child in drawn}


def test_the_marks_must_be_there() -> None:
    """A README without them is not written over."""
    assert "a" + report.BEGIN + "\nnew" + report.END + "z" == report.with_table(
        "a" + report.BEGIN + "old" + report.END + "z", "new"
    )
    with pytest.raises(ValueError, match="lacks"):
        report.with_table("nothing here", "new")


def test_the_documents_are_current() -> None:
    """The README's table and the picture say what docs/bench.json says."""
    kept = json.loads((report.DOCS / "bench.json").read_text())

    for path, text in report.documents(kept, report.README.read_text()).items():
        assert text == path.read_text(), f"{path.name}: run `python -m bench.report`"


def test_a_run_prints_writes_and_judges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missed goal is a status of 1, a failed module too; the others are measured all the same."""
    outcomes: dict[str, list[Row] | str] = {"a": [FAST], "b": "it broke", "c": [SLOW]}
    monkeypatch.setattr(bench, "measured", lambda name, **_: outcomes[name])
    monkeypatch.setattr(machine, "facts", lambda: MACHINE)
    monkeypatch.setattr(machine, "peers", dict)

    assert 0 == bench.run(["a"], quick=True, build=tmp_path)
    assert 1 == bench.run(["a", "b"], quick=True, build=tmp_path)
    assert "b was not measured: it broke" in capsys.readouterr().out
    assert 1 == bench.run(["c"], quick=True, build=tmp_path)
    assert [asdict(SLOW)] == json.loads((tmp_path / "bench.json").read_text())


def test_every_module_can_measure() -> None:
    """What the runner names is there."""
    assert [] == [name for name in bench.MODULES if not (report.ROOT / f"bench/{name}.py").exists()]

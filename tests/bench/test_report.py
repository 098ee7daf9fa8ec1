"""The benchmarks' table and chart, and the documents generated from them."""

import json
import xml.etree.ElementTree as ET
from dataclasses import asdict
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import machine, report
from bench.row import Row, against, alone

FAST = against("cold start <CPU>", 12.0, "ms", "plain & simple", 100.0, at_most=0.16)
SLOW = against("a turn", 3.0, "ms", "itself", 2.0, at_most=1.1, note="a note")
ROWS = [FAST, SLOW, alone("round trips", 3, "", at_most=3), alone("no goal", 4, "")]
MACHINE = {
    "date": "2026-01-02",
    "processor": "P",
    "cores": "2",
    "python": "3.13",
    "kernel": "Linux",
    "load": "1.0",
}


def test_a_goal_is_met_by_a_ratio_of_at_most_its_bound() -> None:
    """Without a goal, `met` is None."""
    assert (0.12, True) == (FAST.ratio, FAST.met)
    assert (1.5, False) == (SLOW.ratio, SLOW.met)
    assert [True, None] == [row.met for row in ROWS[2:]]


def test_the_table_has_each_row_and_its_note() -> None:
    """A row is one line with all its figures; its note is on the next line."""
    lines = report.table(ROWS).splitlines()

    assert [*report.HEADINGS] == lines[0].split()
    assert ["cold start <CPU>", "12 ms", "plain & simple", "100 ms", "0.12"] == [
        part.strip() for part in lines[1].split("  ") if part.strip()
    ][:5]
    assert "    a note" == lines[3]
    assert len(ROWS) + 2 == len(lines)


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0.1234, "0.123"), (12345.6, "12,346"), (0.0, "0")]
)
def test_a_number_has_three_significant_digits(value: float | None, text: str) -> None:
    assert text == report.number(value)


def test_the_readme_shows_the_rows_with_a_goal_and_the_machine() -> None:
    shown = report.markdown(ROWS, MACHINE, {"langchain": "1.0"})

    assert "no goal" not in shown
    assert "| a turn | 3 ms | itself | 2 ms | 1.5 | ratio at most 1.1 | NO |" in shown
    assert "2026-01-02: P, 2 cores" in shown
    assert "langchain 1.0" in shown


def test_rows_are_unchanged_by_a_round_trip_through_json() -> None:
    assert ROWS == report.from_json(report.to_json(ROWS))


def test_the_chart_has_a_bar_and_a_goal_for_each_ratio_with_a_goal() -> None:
    """It is valid XML, even if a name contains markup."""
    chart = ET.fromstring(report.chart(ROWS))
    names = {"{http://www.w3.org/2000/svg}" + name for name in ("rect", "line", "text")}

    assert {child.tag for child in chart} >= names
    assert 2 == sum("g" == child.get("class") for child in chart)
    assert ["b", "m"] == [c.get("class") for c in chart if c.get("class") in ("b", "m")]
    assert "cold start <CPU>" in {child.text for child in chart}


def test_a_bar_is_never_wider_than_the_chart() -> None:
    """The bar of a large ratio is cut; its figure is printed beside it."""
    huge = against("huge", 1000.0, "", "one", 1.0, at_most=1.0)
    chart = ET.fromstring(report.chart([huge]))
    bar = next(child for child in chart if child.get("class") == "m")

    assert report.BAR_WIDTH == float(bar.get("width", ""))
    assert "1,000" in {child.text for child in chart}


def test_a_readme_without_markers_is_rejected() -> None:
    assert "a" + report.BEGIN + "\nnew" + report.END + "z" == report.with_table(
        "a" + report.BEGIN + "old" + report.END + "z", "new"
    )
    with pytest.raises(ValueError, match="lacks"):
        report.with_table("nothing here", "new")


def test_the_documents_match_the_stored_results() -> None:
    """The README's table and the chart are those of docs/bench.json."""
    results = json.loads((report.DOCS / "bench.json").read_text())

    for path, text in report.documents(results, report.README.read_text()).items():
        assert text == path.read_text(), f"{path.name}: run `python -m bench.report`"


def test_a_run_prints_and_writes_the_rows_and_fails_for_a_missed_goal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit status is 1 for a missed goal or a failed module; the other modules still run."""
    outcomes: dict[str, list[Row] | str] = {"a": [FAST], "b": "it failed", "c": [SLOW]}
    monkeypatch.setattr(bench, "run_module", lambda name, **_: outcomes[name])
    monkeypatch.setattr(machine, "facts", lambda: MACHINE)
    monkeypatch.setattr(machine, "peers", dict)

    assert 0 == bench.run(["a"], quick=True, build=tmp_path)
    assert 1 == bench.run(["a", "b"], quick=True, build=tmp_path)
    assert "b was not measured: it failed" in capsys.readouterr().out
    assert 1 == bench.run(["c"], quick=True, build=tmp_path)
    assert [asdict(SLOW)] == json.loads((tmp_path / "bench.json").read_text())


def test_every_module_of_the_runner_exists() -> None:
    assert [] == [name for name in bench.MODULES if not (report.ROOT / f"bench/{name}.py").exists()]

"""Covers bedrock_chat/answer_view.py, live_region.py and rendering.py: the terminal's output."""

import asyncio
import io
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.terminals import rendered_rows

from bedrock_chat import rendering
from bedrock_chat.answer_view import AnswerView, PlainView, view_for
from bedrock_chat.live_region import LiveRegion
from bedrock_chat.rendering import Line


def console(width: int = 40, height: int = 12) -> Console:
    return Console(
        file=io.StringIO(),
        theme=rendering.THEME,
        force_terminal=True,
        width=width,
        height=height,
        highlight=False,
    )


def written(terminal: Console) -> str:
    """Return what was written since the last call."""
    assert isinstance(terminal.file, io.StringIO)
    text = terminal.file.getvalue()
    terminal.file.seek(0)
    terminal.file.truncate()
    return text


def lines(*words: str) -> list[Line]:
    return [Line(word, len(word)) for word in words]


# -- the live region -------------------------------------------------------------------------------


def test_one_more_word_redraws_one_line() -> None:
    """Lines above the first difference are not written again."""
    terminal = console()
    region = LiveRegion(terminal)
    region.update(lines("one", "two", "three"))
    written(terminal)

    region.update(lines("one", "two", "three and"))
    assert "\x1b[1A\rthree and\x1b[K\n" == written(terminal)
    region.update(lines("one", "two", "three and"))
    assert "" == written(terminal)


def test_committed_lines_are_never_redrawn() -> None:
    """They replace the region, and the next one is drawn below."""
    terminal = console()
    region = LiveRegion(terminal)
    region.update(lines("one", "two"))
    region.commit(lines("one", "two"))
    written(terminal)

    region.update(lines("three"))
    assert "three\x1b[K\n" == written(terminal)


@given(st.lists(st.tuples(st.booleans(), st.lists(st.sampled_from("abc"), max_size=4))))
def test_committed_lines_and_the_region_are_visible(
    steps: list[tuple[bool, list[str]]],
) -> None:
    """Whatever was drawn before, exactly these lines are on the terminal."""
    terminal = console()
    region, committed, tail = LiveRegion(terminal), list[str](), list[str]()
    for commits, words in steps:
        if commits:
            region.commit(lines(*words))
            committed, tail = committed + words, []
        else:
            region.update(lines(*words))
            tail = words
    assert [*committed, *tail] == [row for row in rendered_rows(written(terminal)) if row]


def test_a_region_taller_than_the_terminal() -> None:
    """Its last lines are shown; all of it is written when it is committed."""
    terminal = console(height=12)
    region, tail = LiveRegion(terminal), lines(*map(str, range(30)))
    region.update(tail)
    assert [*map(str, range(20, 30)), ""] == rendered_rows(shown := written(terminal))
    region.commit(tail)
    assert [*map(str, range(30)), ""] == rendered_rows(shown + written(terminal))


def test_a_terminal_that_is_made_narrower() -> None:
    """Its lines have wrapped: the redraw starts as many rows higher as they take now."""
    terminal = console(width=40)
    region = LiveRegion(terminal)
    region.update(lines("x" * 38, "x" * 20))
    written(terminal)
    terminal.width = 19
    region.update(lines("y"))
    assert written(terminal).startswith("\x1b[4A\r")


# -- an answer -------------------------------------------------------------------------------------


def output(
    frames: Sequence[dict[str, Any]], view: Callable[[Console], AnswerView | PlainView]
) -> str:
    """Return what is written for these frames."""
    terminal = console()

    async def scenario() -> None:
        with view(terminal) as shown:
            for frame in frames:
                shown.show_frame(frame)
                await asyncio.sleep(0)

    asyncio.run(scenario())
    return written(terminal)


REASONED: list[dict[str, Any]] = [
    {"type": "start", "model": "m", "session_id": "s"},
    {"type": "reasoning", "text": "First I\nthink"},
    {"type": "reasoning", "text": " *hard*."},
    {"type": "delta", "text": "**Yes"},
    {"type": "delta", "text": "**."},
    {"type": "done", "stop_reason": "max_tokens", "usage": {"output_tokens": 1200}},
]


def test_reasoning_is_above_the_answer() -> None:
    """It is not parsed as Markdown; the line below the answer says why it ended."""
    rows = rendered_rows(output(REASONED, AnswerView))
    expected = ["First I", "think *hard*.", "", "Yes.", "", "cut off at the deployment's length"]
    assert expected == rows[:6]
    assert "/continue continues it · 1,200 out" in " ".join(rows)


def test_the_plain_view_writes_text_once() -> None:
    """Without redrawing: the text as it is, and the same line below it."""
    text = output(REASONED, PlainView)
    assert text.startswith("First I\nthink *hard*.**Yes**.\ncut off at")


def test_the_status_stays_until_removed() -> None:
    """It is below the text while more arrives, and nothing of it remains after the answer."""
    terminal = console()

    async def scenario() -> tuple[list[str], list[str]]:
        with AnswerView(terminal) as shown:
            shown.show_status("stopping")
            for frame in REASONED[1:5]:
                shown.show_frame(frame)
            shown._draw()
            during = rendered_rows(before := written(terminal))
            shown.show_status("")
            shown.show_frame(REASONED[-1])
            return during, rendered_rows(before + written(terminal))

    during, after = asyncio.run(scenario())
    assert ["Yes.", "stopping", ""] == during[-3:]
    assert "stopping" not in after


@pytest.mark.parametrize(("term", "view"), [("dumb", PlainView), ("xterm", AnswerView)])
def test_the_view_depends_on_the_terminal(
    monkeypatch: pytest.MonkeyPatch, term: str, view: type
) -> None:
    """Nothing is redrawn on a dumb terminal."""
    monkeypatch.setenv("TERM", term)
    assert isinstance(view_for(console()), view)


@pytest.mark.parametrize("width", [7, 20, 80, 300])
def test_lines_fit_any_width(width: int) -> None:
    """No line is wider than the terminal, or than the maximum for prose."""
    text = (
        "# 日本語のタイトル\n\n- word `code` 🙂 "
        + "long" * 40
        + "\n\n| a | b |\n|--|--|\n| 1 | 2 |\n"
    )
    for block in (text, "```py\n" + "x = 1  # " * 30 + "\n```", "> quoted " * 9):
        made = rendering.markdown(console(width), block)
        assert made
        assert max(line.cells for line in made) <= min(width - 2, 100)

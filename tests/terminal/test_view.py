"""Covers bedrock_chat/view.py, screen.py and rendering.py: what is written to the terminal."""

import asyncio
import io
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.terminals import played

from bedrock_chat import rendering
from bedrock_chat.rendering import Line
from bedrock_chat.screen import Screen
from bedrock_chat.view import Answer, Plain, answer


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
    """What was written since it was asked last."""
    assert isinstance(terminal.file, io.StringIO)
    text = terminal.file.getvalue()
    terminal.file.seek(0)
    terminal.file.truncate()
    return text


def lines(*words: str) -> list[Line]:
    return [Line(word, len(word)) for word in words]


# -- the screen ------------------------------------------------------------------------------------


def test_a_word_more_costs_a_line() -> None:
    """What is above the first difference is not written again."""
    terminal = console()
    screen = Screen(terminal)
    screen.show(lines("one", "two", "three"))
    written(terminal)

    screen.show(lines("one", "two", "three and"))
    assert "\x1b[1A\rthree and\x1b[K\n" == written(terminal)
    screen.show(lines("one", "two", "three and"))
    assert "" == written(terminal)


def test_what_is_kept_is_never_touched() -> None:
    """The tail's place is taken by it, and the next tail is drawn below."""
    terminal = console()
    screen = Screen(terminal)
    screen.show(lines("one", "two"))
    screen.keep(lines("one", "two"))
    written(terminal)

    screen.show(lines("three"))
    assert "three\x1b[K\n" == written(terminal)


@given(st.lists(st.tuples(st.booleans(), st.lists(st.sampled_from("abc"), max_size=4))))
def test_what_is_seen(steps: list[tuple[bool, list[str]]]) -> None:
    """Whatever was drawn before: all that was kept, and the tail below it."""
    terminal = console()
    screen, kept, tail = Screen(terminal), list[str](), list[str]()
    for keeps, words in steps:
        if keeps:
            screen.keep(lines(*words))
            kept, tail = kept + words, []
        else:
            screen.show(lines(*words))
            tail = words
    assert [*kept, *tail] == [row for row in played(written(terminal)) if row]


def test_a_tail_that_is_higher_than_the_terminal() -> None:
    """Its last lines are shown; all of it is written when it is kept."""
    terminal = console(height=12)
    screen, tail = Screen(terminal), lines(*map(str, range(30)))
    screen.show(tail)
    assert [*map(str, range(20, 30)), ""] == played(shown := written(terminal))
    screen.keep(tail)
    assert [*map(str, range(30)), ""] == played(shown + written(terminal))


def test_a_terminal_that_is_made_narrower() -> None:
    """The lines on it have wrapped: as many rows are gone back over as they take now."""
    terminal = console(width=40)
    screen = Screen(terminal)
    screen.show(lines("x" * 38, "x" * 20))
    written(terminal)
    terminal.width = 19
    screen.show(lines("y"))
    assert written(terminal).startswith("\x1b[4A\r")


# -- an answer -------------------------------------------------------------------------------------


def heard(frames: Sequence[dict[str, Any]], view: Callable[[Console], Answer | Plain]) -> str:
    """What is written for these frames."""
    terminal = console()

    async def scenario() -> None:
        with view(terminal) as shown:
            for frame in frames:
                shown.hear(frame)
                await asyncio.sleep(0)

    asyncio.run(scenario())
    return written(terminal)


THOUGHT: list[dict[str, Any]] = [
    {"type": "start", "model": "m", "session_id": "s"},
    {"type": "reasoning", "text": "First I\nthink"},
    {"type": "reasoning", "text": " *hard*."},
    {"type": "delta", "text": "**Yes"},
    {"type": "delta", "text": "**."},
    {"type": "done", "stop_reason": "max_tokens", "usage": {"output_tokens": 1200}},
]


def test_thoughts() -> None:
    """Stand above the answer, as they are written; the answer's end says why it ended."""
    rows = played(heard(THOUGHT, Answer))
    expected = ["First I", "think *hard*.", "", "Yes.", "", "cut off at the deployment's length"]
    assert expected == rows[:6]
    assert "/continue goes on · 1,200 out" in " ".join(rows)


def test_plain() -> None:
    """Where nothing can be drawn again: the words, and the same end."""
    text = heard(THOUGHT, Plain)
    assert text.startswith("First I\nthink *hard*.**Yes**.\ncut off at")


def test_the_state_stays() -> None:
    """While words arrive, until it is taken back; nothing of it is left in the end."""
    terminal = console()

    async def scenario() -> tuple[list[str], list[str]]:
        with Answer(terminal) as shown:
            shown.say("stopping")
            for frame in THOUGHT[1:5]:
                shown.hear(frame)
            shown._show()
            stays = played(before := written(terminal))
            shown.say("")
            shown.hear(THOUGHT[-1])
            return stays, played(before + written(terminal))

    stays, gone = asyncio.run(scenario())
    assert ["Yes.", "stopping", ""] == stays[-3:]
    assert "stopping" not in gone


@pytest.mark.parametrize(("term", "view"), [("dumb", Plain), ("xterm", Answer)])
def test_the_view_that_suits(monkeypatch: pytest.MonkeyPatch, term: str, view: type) -> None:
    """A dumb terminal is not drawn on."""
    monkeypatch.setenv("TERM", term)
    assert isinstance(answer(console()), view)


@pytest.mark.parametrize("width", [7, 20, 80, 300])
def test_any_width(width: int) -> None:
    """No line is wider than the terminal, or than is read with ease."""
    text = (
        "# 日本語のタイトル\n\n- word `code` 🙂 "
        + "long" * 40
        + "\n\n| a | b |\n|--|--|\n| 1 | 2 |\n"
    )
    for block in (text, "```py\n" + "x = 1  # " * 30 + "\n```", "> quoted " * 9):
        made = rendering.markdown(console(width), block)
        assert made
        assert max(line.cells for line in made) <= min(width - 2, 100)

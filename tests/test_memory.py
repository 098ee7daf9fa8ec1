import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.store_fixtures import turn

from families.types import Message, Prompt, Usage
from memory import (
    Turn,
    estimate_prompt_tokens,
    messages,
    turn_tokens,
    used_tokens,
    window,
)


def test_window_takes_the_newest_that_fit() -> None:
    """From the newest on, until the budget is full; oldest first."""
    turns = [turn(3), turn(2), turn(1)]

    assert (turn(2), turn(3)) == window(turns, 29)
    assert (turn(1), turn(2), turn(3)) == window(turns, 30)
    assert () == window(turns, 9)


def test_window_leaves_out_turns_without_an_answer() -> None:
    """A failed turn uses none of the budget."""
    failed = turn(2, assistant=" \n", tokens=1_000_000, state="error")

    assert (turn(1), turn(3)) == window([turn(3), failed, turn(1)], 20)


turns = st.lists(
    st.builds(
        turn,
        number=st.integers(1, 99),
        assistant=st.sampled_from(["", " ", "a", "b c"]),
        tokens=st.integers(0, 40),
    ),
    max_size=12,
)


@given(turns, st.integers(0, 200))
def test_window_keeps_its_budget(newest_first: list[Turn], budget: int) -> None:
    """Within the budget, in order, and no newer turn is left out for an older one."""
    fitting = window(newest_first, budget)
    answered = [t for t in newest_first if t.assistant.strip()]

    assert list(fitting) == answered[: len(fitting)][::-1]
    assert sum(t.tokens for t in fitting) <= budget
    if len(fitting) < len(answered):
        assert sum(t.tokens for t in answered[: len(fitting) + 1]) > budget


@given(turns)
def test_user_and_assistant_alternate_whatever_the_turns(newest_first: list[Turn]) -> None:
    """The question is the last message, and no message is empty."""
    read = messages(window(newest_first, 1000), "now?")

    assert all(m.role == ("user", "assistant")[n % 2] for n, m in enumerate(read))
    assert all(m.text.strip() for m in read)
    assert Message("user", "now?") == read[-1]


def test_each_turn_is_its_question_and_its_answer() -> None:
    """In the roles of those who wrote them, and in the order of the turns."""
    past = (turn(1, user="q1", assistant="a1"), turn(2, user="q2", assistant="a2"))

    assert (
        Message("user", "q1"),
        Message("assistant", "a1"),
        Message("user", "q2"),
        Message("assistant", "a2"),
        Message("user", "q3"),
    ) == messages(past, "q3")


def test_a_turns_tokens_are_those_that_bedrock_reported() -> None:
    """What the prompt has grown by, and the answer; cached tokens count."""
    past = (turn(1, tokens=30), turn(2, tokens=20))
    usage = Usage(input_tokens=10, cache_read_tokens=47, output_tokens=5)

    assert 7 + 5 == turn_tokens(usage, past, "q", "a")


def test_a_turns_tokens_are_estimated_without_a_report() -> None:
    """Too high rather than too low, and never 0; each of the two by itself."""
    assert 4 + 2 == turn_tokens(Usage(), (), "x" * 10, "y" * 5)
    assert 1 + 2 == turn_tokens(Usage(input_tokens=1), (turn(tokens=50),), "x", "y" * 5)


def test_a_report_of_no_tokens_is_a_report() -> None:
    """Nothing is estimated in its place: the answer may be empty."""
    nothing = Usage(input_tokens=0, output_tokens=0)
    prompt = Prompt(system="s" * 9, messages=(Message("user", "q" * 9),), max_tokens=5)

    assert 1 + 0 == turn_tokens(nothing, (), "x" * 10, "y" * 5)
    assert 0 == used_tokens(nothing, prompt, "a" * 5)


def test_every_message_of_a_prompt_is_estimated_by_its_bytes() -> None:
    """Characters would be too few: scripts other than Latin have fewer of them per token."""
    read = (Message("user", "q" * 9), Message("assistant", "é" * 9), Message("user", "q"))

    assert 1 + 4 + 7 + 1 == estimate_prompt_tokens(Prompt(system="", messages=read, max_tokens=5))


@pytest.mark.parametrize(
    ("state", "stop_reason", "assistant", "is_incomplete"),
    [
        ("complete", "end_turn", "a", False),
        ("complete", "max_tokens", "a", True),
        ("deadline", "", "a", True),
        ("stopped", "", "a", True),
        ("unfinished", "", "a", True),
        ("error", "", "", False),
        ("deadline", "", " \n", False),
    ],
)
def test_an_answer_that_was_cut_short_is_incomplete(
    state: str, stop_reason: str, assistant: str, is_incomplete: bool
) -> None:
    """It has some text, and the model did not end it."""
    assert (
        is_incomplete
        == turn(state=state, stop_reason=stop_reason, assistant=assistant).is_incomplete
    )


def test_the_tokens_used_are_reported_or_estimated() -> None:
    """The prompt counts in any case: a model that was stopped has read it, too."""
    prompt = Prompt(system="s" * 9, messages=(Message("user", "q" * 9),), max_tokens=5)

    assert 12 == used_tokens(Usage(input_tokens=10, output_tokens=2), prompt, "a")
    assert 4 + 4 + 2 == used_tokens(Usage(), prompt, "a" * 5)
    assert 10 + 2 == used_tokens(Usage(input_tokens=10), prompt, "a" * 5)
    assert 8 + 1 == used_tokens(Usage(), prompt, "")

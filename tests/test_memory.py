from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from families.types import Message, Prompt, Usage
from memory import Turn, messages, turn_tokens, used_tokens, window


def turn(number: int = 1, user: str = "q", assistant: str = "a", **more: Any) -> Turn:
    values = {"request_id": f"r{number}", "state": "complete", "tokens": 10, "created_at": 1}
    return Turn(number=number, user=user, assistant=assistant, **{**values, **more})


def test_window_takes_the_newest_that_fit() -> None:
    """From the newest on, until the budget is full; oldest first."""
    turns = [turn(3), turn(2), turn(1)]

    assert (turn(2), turn(3)) == window(turns, 29)
    assert (turn(1), turn(2), turn(3)) == window(turns, 30)
    assert () == window(turns, 9)


def test_window_passes_over_turns_without_an_answer() -> None:
    """A failed turn takes no place and no budget."""
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
    """Whatever happened before: within the budget, in order, and nothing newer left out."""
    kept = window(newest_first, budget)
    answered = [t for t in newest_first if t.assistant.strip()]

    assert list(kept) == answered[: len(kept)][::-1]
    assert sum(t.tokens for t in kept) <= budget
    if len(kept) < len(answered):
        assert sum(t.tokens for t in answered[: len(kept) + 1]) > budget


@given(turns)
def test_roles_alternate(newest_first: list[Turn]) -> None:
    """A model always reads user, assistant, …, user, and never an empty message."""
    said = messages(window(newest_first, 1000), "now?")

    assert all(m.role == ("user", "assistant")[n % 2] for n, m in enumerate(said))
    assert all(m.text.strip() for m in said)
    assert Message("user", "now?") == said[-1]


def test_tokens_are_bedrocks_where_it_reported_them() -> None:
    """A turn weighs what the prompt grew by, plus the answer; cached tokens count."""
    past = (turn(1, tokens=30), turn(2, tokens=20))
    usage = Usage(input_tokens=10, cache_read_tokens=47, output_tokens=5)

    assert 7 + 5 == turn_tokens(usage, past, "q", "a")


def test_tokens_are_guessed_where_nobody_counted() -> None:
    """Without a report the guess is on the careful side, and never nothing."""
    assert 4 + 2 == turn_tokens(Usage(), (), "x" * 10, "y" * 5)
    assert 1 + 2 == turn_tokens(Usage(input_tokens=1), (turn(tokens=50),), "x", "y" * 5)


# connections


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
def test_what_can_be_continued(
    state: str, stop_reason: str, assistant: str, is_incomplete: bool
) -> None:
    """An answer that has a beginning and did not come to its own end."""
    assert (
        is_incomplete
        == turn(state=state, stop_reason=stop_reason, assistant=assistant).is_incomplete
    )


def test_tokens_used() -> None:
    """As Bedrock reported, else a guess: who stops a silent model has read the prompt, too."""
    prompt = Prompt(system="s" * 9, messages=(Message("user", "q" * 9),), max_tokens=5)

    assert 12 == used_tokens(Usage(input_tokens=10, output_tokens=2), prompt, "a")
    assert 4 + 4 + 2 == used_tokens(Usage(), prompt, "a" * 5)
    assert 10 + 2 == used_tokens(Usage(input_tokens=10), prompt, "a" * 5)
    assert 8 + 1 == used_tokens(Usage(), prompt, "")

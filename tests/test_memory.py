import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import memory as memory_module
from frames import ChatError
from memory import (
    Connection,
    Memory,
    Turn,
    messages,
    session_key,
    tokens_of_turn,
    tokens_used,
    window,
)
from model_families import Message, Prompt, Usage
from table import Table


def turn(number: int = 1, user: str = "q", assistant: str = "a", **more: Any) -> Turn:
    values = {"request_id": f"r{number}", "state": "complete", "tokens": 10, "created_at": 1}
    return Turn(number=number, user=user, assistant=assistant, **{**values, **more})


@pytest.fixture
def memory(table: Table) -> Memory:
    return Memory(table, session_days=30)


def save(table: Table, memory: Memory, *turns: Turn) -> None:
    for each in turns:
        table.put(memory.item("s", each))


def refusal(attempt: Callable[[], object]) -> str:
    with pytest.raises(ChatError) as refused:
        attempt()
    return refused.value.code


# the buffer


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

    assert 7 + 5 == tokens_of_turn(usage, past, "q", "a")


def test_tokens_are_guessed_where_nobody_counted() -> None:
    """Without a report the guess is on the careful side, and never nothing."""
    assert 4 + 2 == tokens_of_turn(Usage(), (), "x" * 10, "y" * 5)
    assert 1 + 2 == tokens_of_turn(Usage(input_tokens=1), (turn(tokens=50),), "x", "y" * 5)


# connections


def test_connection(memory: Memory) -> None:
    """What was settled at $connect is found again."""
    connection = Connection(
        connection_id="c=", session_id="s", principal="me", payer="p", format="text"
    )
    memory.connect(connection)

    assert connection == memory.connection("c=")
    assert "unauthorized" == refusal(lambda: memory.connection("other="))


def test_disconnect(table: Table, memory: Memory) -> None:
    """Known until no event of its can be on its way, and no longer; one never known stays so."""
    connection = Connection(
        connection_id="c=", session_id="s", principal="me", payer="p", format="text"
    )
    memory.connect(connection)
    before = int(time.time())
    memory.disconnect("c=")
    memory.disconnect("never=")
    after = int(time.time())

    assert connection == memory.connection("c=")
    kept = table.get({"pk": "connection#c=", "sk": "connection"})
    assert kept is not None
    assert before <= kept["expires_at"] - memory_module.EVENT_SECONDS <= after
    assert table.get({"pk": "connection#never=", "sk": "connection"}) is None


# turns


def test_recent(table: Table, memory: Memory) -> None:
    """The newest turns, newest first, and the number of the next."""
    assert 1 == memory.recent("s", 5).next_number
    save(table, memory, *(turn(number) for number in range(1, 13)))

    recent = memory.recent("s", 2)

    assert (turn(12), turn(11)) == recent.newest_first
    assert 13 == recent.next_number
    assert () == memory.recent("other", 5).newest_first


def test_expired_turns_are_forgotten(
    table: Table, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB deletes late: a turn past its time is not told, nor its number given again."""
    save(table, memory, turn(1))
    now = memory_module._now_s()
    monkeypatch.setattr(memory_module, "_now_s", lambda: now + 31 * 86_400)

    recent = memory.recent("s", 5)

    assert ((), 2) == (recent.newest_first, recent.next_number)
    assert memory.turn("s", 1) is None


def test_a_turn_of_the_greatest_size(table: Table, memory: Memory) -> None:
    """The longest question with the longest answer is saved whole."""
    longest = turn(1, user="é" * 65_536, assistant="🙂" * 65_536)
    save(table, memory, longest)

    assert longest == memory.turn("s", 1)


def test_forget(table: Table, memory: Memory) -> None:
    """The turns are gone, and what was sent of a question; the rest of the session stays."""
    save(table, memory, turn(1), turn(2), turn(3))
    for sk in ("head", "request#r1", "upload#r4"):
        table.put(session_key("s", sk))

    assert 3 == memory.forget("s")

    left = [table.get(session_key("s", sk)) for sk in ("head", "request#r1", "upload#r4")]
    assert [True, True, False] == [item is not None for item in left]
    assert () == memory.recent("s", 5).newest_first


def test_an_event_is_new_once(memory: Memory) -> None:
    """The first delivery of an event is told apart from all others."""
    assert [True, False, False] == [memory.first_delivery("e1") for _ in range(3)]
    assert memory.first_delivery("e2")


@pytest.mark.parametrize(
    ("state", "stop_reason", "assistant", "broke_off"),
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
    state: str, stop_reason: str, assistant: str, broke_off: bool
) -> None:
    """An answer that has a beginning and did not come to its own end."""
    assert broke_off == turn(state=state, stop_reason=stop_reason, assistant=assistant).broke_off


def test_tokens_used() -> None:
    """As Bedrock reported, else a guess: who stops a silent model has read the prompt, too."""
    prompt = Prompt(system="s" * 9, messages=(Message("user", "q" * 9),), max_tokens=5)

    assert 12 == tokens_used(Usage(input_tokens=10, output_tokens=2), prompt, "a")
    assert 4 + 4 + 2 == tokens_used(Usage(), prompt, "a" * 5)
    assert 10 + 2 == tokens_used(Usage(input_tokens=10), prompt, "a" * 5)
    assert 8 + 1 == tokens_used(Usage(), prompt, "")

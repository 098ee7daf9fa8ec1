from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import memory as memory_module
from frames import ChatError
from memory import (
    Claim,
    Connection,
    Lease,
    Memory,
    RedeliveredError,
    Turn,
    messages,
    tokens_of_turn,
    window,
)
from model_families import Message, Usage
from table import Table


def turn(number: int = 1, user: str = "q", assistant: str = "a", **more: Any) -> Turn:
    values = {"request_id": f"r{number}", "state": "complete", "tokens": 10, "created_at": 1}
    return Turn(number=number, user=user, assistant=assistant, **{**values, **more})


def claim(**more: Any) -> Claim:
    values = {
        "session_id": "s",
        "principal": "me",
        "request_id": "r1",
        "event_id": "e1",
        "lease_ms": 60_000,
    }
    return Claim(**{**values, **more})


@pytest.fixture
def memory(table: Table) -> Memory:
    return Memory(table, session_days=30)


def save(memory: Memory, number: int, **more: Any) -> None:
    with memory.lease(claim(request_id=f"r{number}", event_id=f"e{number}")) as lease:
        memory.save(lease, turn(number, **more))


def refusal(attempt: Callable[[], object]) -> str:
    with pytest.raises(ChatError) as refused:
        attempt()
    return refused.value.code


def attempt(memory: Memory, **more: Any) -> Callable[[], None]:
    def hold() -> None:
        with memory.lease(claim(**more)):
            pytest.fail("the lease was given")

    return hold


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
    """What was settled at $connect is found again until it is forgotten."""
    connection = Connection(connection_id="c=", session_id="s", principal="me", format="text")
    memory.connect(connection)

    assert connection == memory.connection("c=")
    memory.disconnect("c=")
    assert "unauthorized" == refusal(lambda: memory.connection("c="))


# the lease


def test_one_request_at_a_time(memory: Memory) -> None:
    """While one request holds the session, another is told so; afterwards it is free."""
    with memory.lease(claim()) as lease:
        assert "busy" == refusal(attempt(memory, request_id="r2", event_id="e2"))
        memory.save(lease, turn(1))
    with memory.lease(claim(request_id="r2", event_id="e2")) as lease:
        memory.save(lease, turn(2, request_id="r2"))


def test_a_request_is_taken_once(memory: Memory) -> None:
    """The same request_id again is a duplicate, while it runs and for good."""
    with memory.lease(claim()) as lease:
        assert "duplicate" == refusal(attempt(memory, event_id="e2"))
        memory.save(lease, turn(1))
    assert "duplicate" == refusal(attempt(memory, event_id="e3"))


def test_a_redelivered_event_is_told_apart(memory: Memory) -> None:
    """The same event again is nobody's mistake, and nothing is to be said."""
    with memory.lease(claim()) as lease:
        with pytest.raises(RedeliveredError), memory.lease(claim()):
            pytest.fail("the lease was given")
        memory.save(lease, turn(1))
    with pytest.raises(RedeliveredError), memory.lease(claim()):
        pytest.fail("the lease was given")


def test_a_session_belongs_to_its_principal(memory: Memory) -> None:
    """Nobody else continues or reads it, while it is answered and after."""
    with memory.lease(claim()) as lease:
        assert "unauthorized" == refusal(attempt(memory, principal="you", request_id="r9"))
        memory.save(lease, turn(1))

    assert "unauthorized" == refusal(attempt(memory, principal="you", request_id="r9"))
    assert "unauthorized" == refusal(attempt(memory, principal="you", request_id="r1"))
    assert "unauthorized" == refusal(lambda: memory.history("s", "you", 5))
    assert (turn(1),) == memory.history("s", "me", 5)


def test_a_lease_ends_with_its_time(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Lambda that died holds the session until it would have been stopped, and no longer."""
    now = memory_module._now_ms()
    memory._claim(claim(lease_ms=5_000), Lease("s", "lost"))  # and the Lambda is gone

    monkeypatch.setattr(memory_module, "_now_ms", lambda: now + 4_000)
    assert "busy" == refusal(attempt(memory, request_id="r2"))
    monkeypatch.setattr(memory_module, "_now_ms", lambda: now + 6_000)
    with memory.lease(claim(request_id="r2", event_id="e2")) as lease:
        memory.save(lease, turn(1, request_id="r2"))


def test_a_failure_gives_the_lease_back(memory: Memory) -> None:
    """What fails in between does not leave the session busy; the request stays taken."""
    with pytest.raises(ZeroDivisionError), memory.lease(claim()):
        raise ZeroDivisionError
    with memory.lease(claim(request_id="r2", event_id="e2")) as lease:
        memory.save(lease, turn(1, request_id="r2"))
    assert "duplicate" == refusal(attempt(memory, event_id="e9"))


def test_a_lost_lease_overwrites_nothing(memory: Memory) -> None:
    """Who lost the lease meanwhile cannot save over the other's turn, nor end its lease."""
    lost = Lease("s", "lost")
    memory._claim(claim(lease_ms=-1), lost)
    with memory.lease(claim(request_id="r2", event_id="e2")) as lease:
        assert "internal" == refusal(lambda: memory.save(lost, turn(1, assistant="late")))
        assert "busy" == refusal(attempt(memory, request_id="r3"))
        memory.save(lease, turn(1, request_id="r2"))

    assert (turn(1, request_id="r2"),) == memory.history("s", "me", 5)


def test_a_claim_whose_answer_was_lost(
    memory: Memory, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB took the claim and its word of it never came: the session does not stay busy."""
    transact = table.transact

    def lose_the_answer(*writes: Any) -> Any:
        transact(*writes)
        monkeypatch.undo()
        raise ChatError("internal", "The memory cannot be reached.")

    monkeypatch.setattr(table, "transact", lose_the_answer)
    assert "internal" == refusal(attempt(memory))
    with memory.lease(claim(request_id="r2", event_id="e2")) as lease:
        memory.save(lease, turn(1, request_id="r2"))


# turns


def test_recent(memory: Memory) -> None:
    """The newest turns, newest first, and the number of the next."""
    assert 1 == memory.recent("s", 5).next_number
    for number in range(1, 13):
        save(memory, number)

    recent = memory.recent("s", 2)

    assert (turn(12), turn(11)) == recent.newest_first
    assert 13 == recent.next_number
    assert () == memory.recent("other", 5).newest_first


def test_expired_turns_are_forgotten(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """DynamoDB deletes late: a turn past its time is not told, nor its number given again."""
    save(memory, 1)
    now = memory_module._now_s()
    monkeypatch.setattr(memory_module, "_now_s", lambda: now + 31 * 86_400)

    recent = memory.recent("s", 5)

    assert ((), 2) == (recent.newest_first, recent.next_number)


def test_history_is_oldest_first(memory: Memory) -> None:
    """The newest `limit` turns in the order in which they were said."""
    for number in range(1, 5):
        save(memory, number)

    assert (turn(2), turn(3), turn(4)) == memory.history("s", "me", 3)
    assert () == memory.history("never", "me", 3)


def test_a_turn_of_the_greatest_size(memory: Memory) -> None:
    """The longest question with the longest answer is saved whole."""
    save(memory, 1, user="é" * 65_536, assistant="🙂" * 65_536)

    (kept,) = memory.history("s", "me", 1)
    assert ("é" * 65_536, "🙂" * 65_536) == (kept.user, kept.assistant)


def test_forget(memory: Memory) -> None:
    """The turns are gone and the session is free, but its owner and its requests are remembered."""
    for number in range(1, 4):
        save(memory, number)
    with memory.lease(claim(request_id="r9", event_id="e9")) as lease:
        assert 3 == memory.forget(lease)

    assert () == memory.history("s", "me", 5)
    assert "unauthorized" == refusal(attempt(memory, principal="you", request_id="r10"))
    assert "duplicate" == refusal(attempt(memory, request_id="r1", event_id="e10"))
    with memory.lease(claim(request_id="r11", event_id="e11")) as lease:
        memory.save(lease, replace(turn(1), request_id="r11"))

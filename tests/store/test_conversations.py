from typing import Any

import pytest

from memory import Turn
from store import conversations as conversations_module
from store.conversations import Conversations, session_key
from store.table import Table


def turn(number: int = 1, user: str = "q", assistant: str = "a", **more: Any) -> Turn:
    values = {"request_id": f"r{number}", "state": "complete", "tokens": 10, "created_at": 1}
    return Turn(number=number, user=user, assistant=assistant, **{**values, **more})


@pytest.fixture
def conversations(table: Table) -> Conversations:
    return Conversations(table, session_days=30)


def save(table: Table, conversations: Conversations, *turns: Turn) -> None:
    for each in turns:
        table.put(conversations.turn_item("s", each))


def test_recent(table: Table, conversations: Conversations) -> None:
    """The newest turns, newest first, and the number of the next."""
    assert 1 == conversations.recent("s", 5).next_number
    save(table, conversations, *(turn(number) for number in range(1, 13)))

    recent = conversations.recent("s", 2)

    assert (turn(12), turn(11)) == recent.newest_first
    assert 13 == recent.next_number
    assert () == conversations.recent("other", 5).newest_first


def test_expired_turns_are_forgotten(
    table: Table, conversations: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB deletes late: a turn past its time is not told, nor its number given again."""
    save(table, conversations, turn(1))
    now = conversations_module._now_s()
    monkeypatch.setattr(conversations_module, "_now_s", lambda: now + 31 * 86_400)

    recent = conversations.recent("s", 5)

    assert ((), 2) == (recent.newest_first, recent.next_number)
    assert conversations.turn("s", 1) is None


def test_a_turn_of_the_greatest_size(table: Table, conversations: Conversations) -> None:
    """The longest question with the longest answer is saved whole."""
    longest = turn(1, user="é" * 65_536, assistant="🙂" * 65_536)
    save(table, conversations, longest)

    assert longest == conversations.turn("s", 1)


def test_forget(table: Table, conversations: Conversations) -> None:
    """The turns are gone, and what was sent of a question; the rest of the session stays."""
    save(table, conversations, turn(1), turn(2), turn(3))
    for sk in ("head", "request#r1", "upload#r4"):
        table.put(session_key("s", sk))

    assert 3 == conversations.delete_turns("s")

    left = [table.get(session_key("s", sk)) for sk in ("head", "request#r1", "upload#r4")]
    assert [True, True, False] == [item is not None for item in left]
    assert () == conversations.recent("s", 5).newest_first

import pytest
from support.store_fixtures import turn

from memory import Turn
from store import conversations as conversations_module
from store.conversations import Conversations, session_key
from store.table import Table

DAY = 86_400


@pytest.fixture
def conversations(table: Table) -> Conversations:
    return Conversations(table, session_days=30)


def save(table: Table, conversations: Conversations, *turns: Turn) -> None:
    for each in turns:
        table.put(conversations.turn_item("s", each))


def test_recent_returns_the_newest_turns_and_the_next_number(
    table: Table, conversations: Conversations
) -> None:
    """Newest first, at most `limit`, of that session only; an empty session begins at 1."""
    assert 1 == conversations.recent("s", 5).next_number
    save(table, conversations, *(turn(number) for number in range(1, 13)))

    recent = conversations.recent("s", 2)

    assert (turn(12), turn(11)) == recent.newest_first
    assert 13 == recent.next_number
    assert () == conversations.recent("other", 5).newest_first


@pytest.mark.parametrize(("seconds", "returned"), [(30 * DAY - 1, True), (30 * DAY, False)])
def test_a_turn_expires_after_the_session_days(
    table: Table,
    conversations: Conversations,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
    returned: bool,
) -> None:
    """DynamoDB deletes late: an expired turn is not returned, but its number is not reused."""
    now = 1_000_000
    monkeypatch.setattr(conversations_module, "_now_s", lambda: now)
    assert now + 30 * DAY == conversations.expires_at()
    assert now + 30 * DAY == conversations.turn_item("s", turn(1))["expires_at"]
    save(table, conversations, turn(1))

    monkeypatch.setattr(conversations_module, "_now_s", lambda: now + seconds)

    recent = conversations.recent("s", 5)
    assert ((turn(1),) if returned else ()) == recent.newest_first
    assert 2 == recent.next_number
    assert (turn(1) if returned else None) == conversations.turn("s", 1)


def test_a_turn_without_its_number_takes_it_from_the_key(
    table: Table, conversations: Conversations
) -> None:
    """The key is what the order of the turns depends on."""
    item = dict(conversations.turn_item("s", turn(12)))
    del item["number"]
    table.put(item)

    assert 13 == conversations.recent("s", 5).next_number
    assert turn(12) == conversations.turn("s", 12)


def test_a_turn_of_the_greatest_size_is_saved_whole(
    table: Table, conversations: Conversations
) -> None:
    """The longest question with the longest answer."""
    longest = turn(1, user="é" * 65_536, assistant="🙂" * 65_536)
    save(table, conversations, longest)

    assert longest == conversations.turn("s", 1)


def test_delete_turns_deletes_turns_and_uploads_only(
    table: Table, conversations: Conversations
) -> None:
    """The count is of the turns; the head and the requests of the session stay."""
    save(table, conversations, turn(1), turn(2), turn(3))
    for sk in ("head", "request#r1", "upload#r4"):
        table.put(session_key("s", sk))

    assert 3 == conversations.delete_turns("s")

    left = [table.get(session_key("s", sk)) for sk in ("head", "request#r1", "upload#r4")]
    assert [True, True, False] == [item is not None for item in left]
    assert () == conversations.recent("s", 5).newest_first

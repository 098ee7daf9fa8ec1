import time
from collections.abc import Callable

import pytest

from errors import ChatError
from store.connections import EVENT_SECONDS, Connection, Connections
from store.table import Table


@pytest.fixture
def connections(table: Table) -> Connections:
    return Connections(table)


def refusal(attempt: Callable[[], object]) -> str:
    with pytest.raises(ChatError) as refused:
        attempt()
    return refused.value.code


# the buffer


def test_connection(connections: Connections) -> None:
    """What was settled at $connect is found again."""
    connection = Connection(
        connection_id="c=", session_id="s", principal="me", quota_subject="p", format="text"
    )
    connections.put(connection)

    assert connection == connections.get("c=")
    assert "unauthorized" == refusal(lambda: connections.get("other="))


def test_disconnect(table: Table, connections: Connections) -> None:
    """Known until no event of its can be on its way, and no longer; one never known stays so."""
    connection = Connection(
        connection_id="c=", session_id="s", principal="me", quota_subject="p", format="text"
    )
    connections.put(connection)
    before = int(time.time())
    connections.expire("c=")
    connections.expire("never=")
    after = int(time.time())

    assert connection == connections.get("c=")
    kept = table.get({"pk": "connection#c=", "sk": "connection"})
    assert kept is not None
    assert before <= kept["expires_at"] - EVENT_SECONDS <= after
    assert table.get({"pk": "connection#never=", "sk": "connection"}) is None


# turns


def test_an_event_is_new_once(connections: Connections) -> None:
    """The first delivery of an event is told apart from all others."""
    assert [True, False, False] == [connections.is_first_delivery("e1") for _ in range(3)]
    assert connections.is_first_delivery("e2")

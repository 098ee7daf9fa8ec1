import pytest
from support.store_fixtures import code_of

from settings import CONNECTION_SECONDS
from store import connections as connections_module
from store.connections import EVENT_SECONDS, Connections
from store.items import Connection
from store.table import Table

NOW = 1_000_000
CONNECTION = Connection(
    connection_id="c=", session_id="s", principal="me", quota_subject="p", format="text"
)
KEY = {"pk": "connection#c=", "sk": "connection"}


@pytest.fixture
def connections(table: Table, monkeypatch: pytest.MonkeyPatch) -> Connections:
    monkeypatch.setattr(connections_module, "_now_s", lambda: NOW)
    return Connections(table)


def test_get_returns_what_put_stored(connections: Connections) -> None:
    """Any other connection is unauthorized."""
    connections.put(CONNECTION)

    assert CONNECTION == connections.get("c=")
    assert "unauthorized" == code_of(lambda: connections.get("other="))


def test_a_connection_is_stored_for_as_long_as_it_may_last(
    table: Table, connections: Connections
) -> None:
    """API Gateway ends a connection after two hours; DynamoDB deletes its item after that."""
    connections.put(CONNECTION)

    assert NOW + CONNECTION_SECONDS == (table.get(KEY) or {})["expires_at"]


@pytest.mark.parametrize("missing", ["principal", "session_id"])
def test_a_connection_without_an_identity_is_unknown(
    table: Table, connections: Connections, missing: str
) -> None:
    """A missing attribute never makes a connection someone else's: the client reconnects."""
    connections.put(CONNECTION)
    item = {name: value for name, value in (table.get(KEY) or {}).items() if name != missing}
    table.put(item)

    assert "unauthorized" == code_of(lambda: connections.get("c="))


def test_expire_keeps_a_connection_until_its_last_event(
    table: Table, connections: Connections
) -> None:
    """Its events may arrive after `$disconnect`; an unknown connection stays unknown."""
    connections.put(CONNECTION)
    connections.expire("c=")
    connections.expire("never=")

    assert CONNECTION == connections.get("c=")
    assert NOW + EVENT_SECONDS == (table.get(KEY) or {})["expires_at"]
    assert table.get({"pk": "connection#never=", "sk": "connection"}) is None


def test_an_event_is_delivered_for_the_first_time_once(
    table: Table, connections: Connections
) -> None:
    """Each event by itself; the marker outlives Lambda's attempts to deliver it."""
    assert [True, False, False] == [connections.is_first_delivery("e1") for _ in range(3)]
    assert connections.is_first_delivery("e2")
    marker = table.get({"pk": "event#e1", "sk": "event"})
    assert {"pk": "event#e1", "sk": "event", "expires_at": NOW + EVENT_SECONDS} == marker

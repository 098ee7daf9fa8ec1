"""Connections as they were set up at `$connect`, and the events already handled.

Does not know which requests a connection may send, or how they are answered.
"""

import time

from errors import ChatError
from settings import CONNECTION_SECONDS
from store.items import Connection, dump, load
from store.table import Table, Update

# How long a handled event is remembered. Lambda keeps an asynchronous event for
# `maximum_event_age_in_seconds` (terraform: 60) before it stops trying to deliver it.
EVENT_SECONDS = 3600


class RedeliveredError(Exception):
    """The same event was delivered before; this delivery sends nothing."""


class Connections:
    """The connections of one table. Stateless: Lambda environments come and go.

    Raises, in every method, besides what it names:
        ChatError: `throttled` or `internal`, a failure of DynamoDB.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    # connections

    def put(self, connection: Connection) -> None:
        """Stores a connection, at `$connect`."""
        expires_at = _now_s() + CONNECTION_SECONDS
        key = _connection_key(connection.connection_id)
        self._table.put({**key, **dump(connection), "expires_at": expires_at})

    def get(self, connection_id: str) -> Connection:
        """Returns the connection that `put` stored.

        Raises:
            ChatError: `unauthorized` for an unknown connection.
        """
        attributes = self._table.get(_connection_key(connection_id)) or {}
        connection = load(Connection, {"connection_id": connection_id, **attributes})
        if not (connection.principal and connection.session_id):
            raise ChatError("unauthorized", "This connection is unknown; reconnect.")
        return connection

    def expire(self, connection_id: str) -> None:
        """Has the connection deleted once no event that it sent can still arrive.

        API Gateway promises no order: a message may be delivered after the `$disconnect` of its
        connection, and is still answered. Best effort, as the delivery of `$disconnect` is.
        """
        self._table.update(
            Update(
                key=_connection_key(connection_id),
                expression="SET expires_at = :expires_at",
                condition="attribute_exists(pk)",
                values={":expires_at": _now_s() + EVENT_SECONDS},
            )
        )

    # events

    def is_first_delivery(self, event_id: str) -> bool:
        """Records the event, and returns whether it was delivered for the first time.

        For events that do not acquire a lease, which records its own.
        """
        key = {"pk": f"event#{event_id}", "sk": "event"}
        return self._table.put_new({**key, "expires_at": _now_s() + EVENT_SECONDS})


def _connection_key(connection_id: str) -> dict[str, str]:
    return {"pk": f"connection#{connection_id}", "sk": "connection"}


def _now_s() -> int:
    return int(time.time())

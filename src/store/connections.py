"""Connections, as they were settled at `$connect`; and which events were handled already.

Does not know what a connection may ask, or who answers.
"""

import time

from msgspec import Struct
from msgspec.structs import asdict

from errors import ChatError
from settings import CONNECTION_SECONDS
from store.table import Table, Update

# How long it is known that an event was answered. Lambda keeps an asynchronous event for
# `maximum_event_age_in_seconds` (terraform: 60) before it gives up on delivering it.
EVENT_SECONDS = 3600


class Connection(Struct, frozen=True, kw_only=True):
    """What was settled at `$connect`; it never changes after. `quota_subject`: whose allowance it uses."""

    connection_id: str
    session_id: str
    principal: str
    quota_subject: str
    format: str


class RedeliveredError(Exception):
    """The very same event was delivered before: its answer is under way, nothing is to be said."""


class Connections:
    """The connections of one table. Holds nothing itself: Lambda environments come and go.

    Raises, in every method, beside what it names:
        ChatError: `throttled` or `internal`, DynamoDB's failure.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    # connections

    def put(self, connection: Connection) -> None:
        """Remembers what was settled at `$connect`."""
        expires_at = _now_s() + CONNECTION_SECONDS
        key = _connection_key(connection.connection_id)
        self._table.put({**key, **asdict(connection), "expires_at": expires_at})

    def get(self, connection_id: str) -> Connection:
        """What `put` wrote.

        Raises:
            ChatError: `unauthorized` for a connection that never was.
        """
        found = self._table.get(_connection_key(connection_id))
        if found is None:
            raise ChatError("unauthorized", "This connection is not known here; please reconnect.")
        return Connection(**{name: found[name] for name in Connection.__struct_fields__})

    def expire(self, connection_id: str) -> None:
        """Has the connection forgotten, once nothing that it sent can be on its way any more.

        API Gateway promises no order: a question may arrive behind the `$disconnect` of whoever
        asked it and lost the connection, and it was asked. Best effort, as `$disconnect` is.
        """
        self._table.update(
            Update(
                key=_connection_key(connection_id),
                expression="SET expires_at = :soon",
                condition="attribute_exists(pk)",
                values={":soon": _now_s() + EVENT_SECONDS},
            )
        )

    # events

    def is_first_delivery(self, event_id: str) -> bool:
        """Whether this event is answered for the first time. Only what no claim covers need ask."""
        expires_at = _now_s() + EVENT_SECONDS
        return self._table.put_new(
            {"pk": f"event#{event_id}", "sk": "event", "expires_at": expires_at}
        )


def _connection_key(connection_id: str) -> dict[str, str]:
    return {"pk": f"connection#{connection_id}", "sk": "connection"}


def _now_s() -> int:
    return int(time.time())

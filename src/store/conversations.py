"""Conversations in the table: the turns of each session, one item each.

Rules
- The cost of a read depends on the number of turns read, not on the conversation's length.
- A turn past its `expires_at` is not returned, whether DynamoDB has deleted it or not.
"""

import time

from msgspec import Struct

from memory import Turn
from store.budget import DAY_SECONDS
from store.items import dump, is_expired, load
from store.table import Item, Table

TURN_PREFIX = "turn#"
UPLOAD_PREFIX = "upload#"


class Recent(Struct, frozen=True, kw_only=True):
    """The newest turns of a conversation, and the number of its next turn."""

    newest_first: tuple[Turn, ...]
    next_number: int


class Conversations:
    """The conversations of one table. Stateless: Lambda environments come and go.

    Raises, in every method, besides what it names:
        ChatError: `throttled` or `internal`, a failure of DynamoDB.
    """

    def __init__(self, table: Table, session_days: int) -> None:
        self._table = table
        self._session_seconds = session_days * DAY_SECONDS

    def recent(self, session_id: str, limit: int) -> Recent:
        """Returns the newest `limit` turns, in one round trip."""
        items = self._table.last(session_pk(session_id), TURN_PREFIX, limit)
        now = _now_s()
        return Recent(
            newest_first=tuple(_to_turn(item) for item in items if not is_expired(item, now)),
            next_number=_number(items[0]) + 1 if items else 1,
        )

    def turn(self, session_id: str, number: int) -> Turn | None:
        """Returns the turn of that number, or None if it was deleted or has expired."""
        item = self._table.get(session_key(session_id, turn_sk(number)))
        return None if item is None or is_expired(item, _now_s()) else _to_turn(item)

    def turn_item(self, session_id: str, turn: Turn) -> Item:
        """Returns the turn as an item, for a transaction that writes it."""
        return {
            **session_key(session_id, turn_sk(turn.number)),
            **dump(turn),
            "expires_at": self.expires_at(),
        }

    def delete_turns(self, session_id: str) -> int:
        """Deletes the session's turns and unfinished uploads; returns the number of turns."""
        self._table.delete_all(session_pk(session_id), UPLOAD_PREFIX)
        return self._table.delete_all(session_pk(session_id), TURN_PREFIX)

    def expires_at(self) -> int:
        """Returns when an item of a session that is written now expires, in Unix seconds."""
        return _now_s() + self._session_seconds


def session_key(session_id: str, sk: str) -> dict[str, str]:
    """Returns the key of one of a session's items."""
    return {"pk": session_pk(session_id), "sk": sk}


def session_pk(session_id: str) -> str:
    """Returns the partition key of all of a session's items."""
    return f"session#{session_id}"


def turn_sk(number: int) -> str:
    """Returns the sort key of a turn; the order of the keys is the order of the numbers."""
    return f"{TURN_PREFIX}{number:08d}"


def _number(item: Item) -> int:
    return int(item["sk"].removeprefix(TURN_PREFIX))


def _to_turn(item: Item) -> Turn:
    return load(Turn, {"number": _number(item), **item})


def _now_s() -> int:
    return int(time.time())

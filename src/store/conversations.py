"""Conversations in the table: the turns of each session, one item a turn.

Rules
- Reading costs what the window costs, however long the conversation.
- DynamoDB deletes what has expired up to days late, so whoever reads looks at `expires_at` too.

The table: partition key `pk`, sort key `sk`, time to live `expires_at` (DynamoDB deletes up to days
late, so whoever reads looks at it too).

    pk                 sk             holds
    connection#<id>    connection     what was settled at $connect
    event#<id>         event          that this event was answered outside a session's lease
    session#<id>       head           whose it is, and the lease             (`leases`)
    session#<id>       request#<id>   that this request was taken; its frames (`leases`)
    session#<id>       upload#<id>    a question that comes in parts         (`uploads`)
    session#<id>       turn#<number>  one question and its answer
    budget#<person>    day#<number>   what was used of the day's allowance   (`budget`)
"""

import time

from msgspec import Struct
from msgspec.structs import asdict

from memory import Turn
from store.table import Item, Table

SECONDS_PER_DAY = 86_400


class Recent(Struct, frozen=True, kw_only=True):
    """The end of a conversation, and the number that its next turn bears."""

    newest_first: tuple[Turn, ...]
    next_number: int


class Conversations:
    """The conversations of one table. Holds nothing itself: Lambda environments come and go.

    Raises, in every method, beside what it names:
        ChatError: `throttled` or `internal`, DynamoDB's failure.
    """

    def __init__(self, table: Table, session_days: int) -> None:
        self._table = table
        self._session_seconds = session_days * SECONDS_PER_DAY

    def recent(self, session_id: str, limit: int) -> Recent:
        """The newest `limit` turns, in one round trip."""
        items = self._table.last(session_pk(session_id), "turn#", limit)
        return Recent(
            newest_first=tuple(_turn(item) for item in items if item["expires_at"] > _now_s()),
            next_number=items[0]["number"] + 1 if items else 1,
        )

    def turn(self, session_id: str, number: int) -> Turn | None:
        """The turn of that number, if it is still kept."""
        item = self._table.get(session_key(session_id, turn_sk(number)))
        return None if item is None or item["expires_at"] <= _now_s() else _turn(item)

    def turn_item(self, session_id: str, turn: Turn) -> Item:
        """The turn as it is written: together with whatever else must be, or not at all."""
        return {
            **session_key(session_id, turn_sk(turn.number)),
            **asdict(turn),
            "expires_at": self.expires_at(),
        }

    def delete_turns(self, session_id: str) -> int:
        """Deletes the session's turns and half-sent questions; says how many turns there were."""
        self._table.delete_all(session_pk(session_id), "upload#")
        return self._table.delete_all(session_pk(session_id), "turn#")

    def expires_at(self) -> int:
        """When what is written now is forgotten, in seconds of Unix time."""
        return _now_s() + self._session_seconds


def session_key(session_id: str, sk: str) -> dict[str, str]:
    """The key of one of a session's items."""
    return {"pk": session_pk(session_id), "sk": sk}


def session_pk(session_id: str) -> str:
    """The partition key of all of a session's items."""
    return f"session#{session_id}"


def turn_sk(number: int) -> str:
    """The sort key of a turn: as text in the order of the numbers."""
    return f"turn#{number:08d}"


def _turn(item: Item) -> Turn:
    return Turn(**{name: item[name] for name in Turn.__struct_fields__})


def _now_s() -> int:
    return int(time.time())

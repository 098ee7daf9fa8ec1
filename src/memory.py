"""The hand-written conversation buffer: what was said, and what of it the model sees again.

Rules
- One item per turn, numbered. Reading costs what the window costs, however long the conversation.
- Roles alternate, and every answer that a person saw a word of is part of the conversation.

Does not know DynamoDB's calls and failures (`table`), who may speak (`leases`), Bedrock, or
frames on a wire.

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
from collections.abc import Iterable
from dataclasses import asdict

from frames import ChatError
from model_families import Message, Prompt, Usage
from records import dataclass
from settings import CONNECTION_SECONDS
from table import Item, Table, Update

# A guess for text whose tokens nobody counted, on the careful side: English runs at about four
# bytes a token, other scripts at three or fewer.
GUESSED_BYTES_PER_TOKEN = 3

SECONDS_PER_DAY = 86_400

# How long it is known that an event was answered. Lambda keeps an asynchronous event for
# `maximum_event_age_in_seconds` (terraform: 60) before it gives up on delivering it.
EVENT_SECONDS = 3600


# -- the buffer: pure ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One question and what was answered.

    `state` is complete, stopped, deadline, error, disconnected or unfinished. `tokens` is what the
    turn adds to a later prompt. `created_at` is in seconds of Unix time. `stop_reason` is the
    model's, where it ended by itself; `reasoning` is kept where it was shown.
    """

    number: int
    request_id: str
    user: str
    assistant: str
    state: str
    tokens: int
    created_at: int
    stop_reason: str = ""
    reasoning: str = ""

    @property
    def broke_off(self) -> bool:
        """Whether there is an answer, and more of it to come."""
        ended = self.state == "complete" and self.stop_reason != "max_tokens"
        return bool(self.assistant.strip()) and not ended


def window(newest_first: Iterable[Turn], budget: int) -> tuple[Turn, ...]:
    """The newest turns that fit into `budget` tokens together, oldest first.

    A turn without an answer is passed over: models refuse an empty message, and its question was
    most likely asked again.
    """
    kept: list[Turn] = []
    left = budget
    for turn in newest_first:
        if not turn.assistant.strip():
            continue
        left -= turn.tokens
        if left < 0:
            break
        kept.append(turn)
    return tuple(reversed(kept))


def messages(past: Iterable[Turn], question: str) -> tuple[Message, ...]:
    """The conversation as a model reads it: user and assistant in turn, the new question last."""
    said = [
        message
        for turn in past
        for message in (Message("user", turn.user), Message("assistant", turn.assistant))
    ]
    return (*said, Message("user", question))


def tokens_of_turn(usage: Usage, past: Iterable[Turn], question: str, answer: str) -> int:
    """What this turn will add to a later prompt.

    Bedrock reports the whole prompt; less what the turns before it are known to weigh, that is the
    question (and, in a first turn, the system prompt). Where Bedrock reported nothing: a guess.
    """
    prompt = usage.prompt_tokens
    asked = (
        guessed_tokens(question) if prompt is None else max(1, prompt - sum(t.tokens for t in past))
    )
    said = guessed_tokens(answer) if usage.output_tokens is None else usage.output_tokens
    return asked + said


def tokens_used(usage: Usage, prompt: Prompt, said: str) -> int:
    """What a call has cost, as Bedrock reported, else a guess. `said`: all that the model said."""
    read, written = usage.prompt_tokens, usage.output_tokens
    return (tokens_of_prompt(prompt) if read is None else read) + (
        guessed_tokens(said) if written is None else written
    )


def tokens_of_prompt(prompt: Prompt) -> int:
    """A guess at what a prompt weighs."""
    return guessed_tokens(prompt.system) + sum(
        guessed_tokens(message.text) for message in prompt.messages
    )


def guessed_tokens(text: str) -> int:
    """What a text may weigh whose tokens nobody counted."""
    return len(text.encode()) // GUESSED_BYTES_PER_TOKEN + 1


# -- what is kept --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What was settled at `$connect`; it never changes after. `payer`: whose allowance it uses."""

    connection_id: str
    session_id: str
    principal: str
    payer: str
    format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """The end of a conversation, and the number that its next turn bears."""

    newest_first: tuple[Turn, ...]
    next_number: int


class RedeliveredError(Exception):
    """The very same event was delivered before: its answer is under way, nothing is to be said."""


class Memory:
    """What is kept in the table. Holds nothing itself: Lambda environments come and go.

    Raises, in every method, beside what it names:
        ChatError: `throttled` or `internal`, DynamoDB's failure.
    """

    def __init__(self, table: Table, session_days: int) -> None:
        self._table = table
        self._session_seconds = session_days * SECONDS_PER_DAY

    # connections

    def connect(self, connection: Connection) -> None:
        """Remembers what was settled at `$connect`."""
        expires_at = _now_s() + CONNECTION_SECONDS
        key = _connection_key(connection.connection_id)
        self._table.put({**key, **asdict(connection), "expires_at": expires_at})

    def connection(self, connection_id: str) -> Connection:
        """What `connect` remembered.

        Raises:
            ChatError: `unauthorized` for a connection that never was.
        """
        found = self._table.get(_connection_key(connection_id))
        if found is None:
            raise ChatError("unauthorized", "This connection is not known here; please reconnect.")
        return Connection(**{name: found[name] for name in Connection.__slots__})

    def disconnect(self, connection_id: str) -> None:
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

    def first_delivery(self, event_id: str) -> bool:
        """Whether this event is answered for the first time. Only what no claim covers need ask."""
        expires_at = _now_s() + EVENT_SECONDS
        return self._table.put_new(
            {"pk": f"event#{event_id}", "sk": "event", "expires_at": expires_at}
        )

    # turns

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

    def item(self, session_id: str, turn: Turn) -> Item:
        """The turn as it is written: together with whatever else must be, or not at all."""
        return {
            **session_key(session_id, turn_sk(turn.number)),
            **asdict(turn),
            "expires_at": self.expiry(),
        }

    def forget(self, session_id: str) -> int:
        """Deletes the session's turns and half-sent questions; says how many turns there were."""
        self._table.delete_all(session_pk(session_id), "upload#")
        return self._table.delete_all(session_pk(session_id), "turn#")

    def expiry(self) -> int:
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


def _connection_key(connection_id: str) -> dict[str, str]:
    return {"pk": f"connection#{connection_id}", "sk": "connection"}


def _turn(item: Item) -> Turn:
    return Turn(**{name: item[name] for name in Turn.__slots__})


def _now_s() -> int:
    return int(time.time())

"""The hand-written conversation buffer: what was said, whose it is, and who may go on.

Rules
- A conversation belongs to a session, a session to the principal who spoke first in it, and nobody
  else reads, continues or clears it.
- One request at a time in a session: `claim` takes a lease that no Lambda outlives, and takes the
  request id for good, in one conditional round trip. `save` gives the lease back.
- One item per turn, numbered. Reading costs what the window costs, however long the conversation.

Does not know DynamoDB's calls and failures (`table`), Bedrock, frames on a wire, or why a turn
ended as it did.

The table: partition key `pk`, sort key `sk`, time to live `expires_at` (DynamoDB deletes up to days
late, so `recent` looks at it too).

    pk                 sk             holds
    connection#<id>    connection     what was settled at $connect
    session#<id>       head           whose it is; the lease: live, lease_token, lease_until
    session#<id>       request#<id>   that this request was taken, and by which event
    session#<id>       turn#<number>  one question and its answer
"""

import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass

from frames import ChatError
from model_families import Message, Usage
from settings import CONNECTION_SECONDS
from table import Item, Put, Table, Update

# A guess for text whose tokens nobody counted, on the careful side: English runs at about four
# bytes a token, other scripts at three or fewer.
GUESSED_BYTES_PER_TOKEN = 3

SECONDS_PER_DAY = 86_400


# -- the buffer: pure ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One question and what was answered.

    `state` is complete, deadline, error or disconnected. `tokens` is what the turn adds to a later
    prompt. `created_at` is in seconds of Unix time.
    """

    number: int
    request_id: str
    user: str
    assistant: str
    state: str
    tokens: int
    created_at: int


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
    asked = _guess(question) if prompt is None else max(1, prompt - sum(t.tokens for t in past))
    said = _guess(answer) if usage.output_tokens is None else usage.output_tokens
    return asked + said


def _guess(text: str) -> int:
    return len(text.encode()) // GUESSED_BYTES_PER_TOKEN + 1


# -- what is kept --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What was settled at `$connect`; it never changes after."""

    connection_id: str
    session_id: str
    principal: str
    format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who asks for the session's lease.

    `event_id` tells two deliveries of one event from a client that sends twice. `lease_ms` is how
    long the asking Lambda can still live.
    """

    session_id: str
    principal: str
    request_id: str
    event_id: str
    lease_ms: int


@dataclass(frozen=True, slots=True)
class Lease:
    """A session that is held. `token` is of one attempt alone: nobody ends another's lease."""

    session_id: str
    token: str


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
        """Forgets the connection. Best effort, as `$disconnect` is: the time to live sees to it."""
        self._table.delete(_connection_key(connection_id))

    # the lease

    @contextmanager
    def lease(self, claim: Claim) -> Iterator[Lease]:
        """Holds the session while something is done that ends in `save` or `forget`.

        Time runs on the Lambdas' clocks, which AWS keeps within a fraction of a second:

            claim ───────── stream ───────── save      the lease ends with `save`, with a failure,
              └───────── lease_until ──────────────┘   or at the latest with the Lambda

        Raises:
            RedeliveredError: this very event was taken before.
            ChatError: `busy`, `duplicate`, or `unauthorized` for another principal's session.
        """
        lease = Lease(claim.session_id, secrets.token_hex(8))
        try:
            refusal = self._claim(claim, lease)
            if refusal is None:
                yield lease
        except BaseException:
            # Also where the claim failed: it may have been taken, and DynamoDB's word of it lost.
            with suppress(ChatError):  # the first failure is the one to tell
                self._release(lease)
            raise
        if refusal is not None:
            raise refusal

    def _claim(self, claim: Claim, lease: Lease) -> Exception | None:
        """Takes the session's lease and the request id, both or neither; else says why not."""
        now = _now_ms()
        lease_is_free = "(attribute_not_exists(live) OR lease_until < :now)"
        session_is_mine = "(attribute_not_exists(pk) OR principal = :principal)"
        take_lease = Update(
            key=_session_key(claim.session_id, "head"),
            expression="SET live = :request, lease_token = :token, lease_until = :until, "
            "principal = :principal, expires_at = :expires",
            condition=f"{session_is_mine} AND {lease_is_free}",
            values={
                ":request": claim.request_id,
                ":token": lease.token,
                ":until": now + claim.lease_ms,
                ":principal": claim.principal,
                ":expires": self._expiry(),
                ":now": now,
            },
        )
        take_request = Put(
            item={
                **_session_key(claim.session_id, f"request#{claim.request_id}"),
                "event_id": claim.event_id,
                "expires_at": self._expiry(),
            },
            condition="attribute_not_exists(pk)",
        )
        standing = self._table.transact(take_lease, take_request)
        if standing is None:
            return None
        head, request = standing
        if head is not None and head["principal"] != claim.principal:
            return _not_yours()  # before all else: what was asked here is not theirs to know
        if request is not None:
            if request["event_id"] == claim.event_id:
                return RedeliveredError()
            return ChatError("duplicate", "This request_id was taken before; it is answered once.")
        return ChatError("busy", "This session is answering another request.")

    def _release(self, lease: Lease) -> None:
        """Gives the lease back without a turn. Nothing happens if it was lost meanwhile."""
        self._table.transact(self._end(lease))

    def _end(self, lease: Lease) -> Update:
        return Update(
            key=_session_key(lease.session_id, "head"),
            expression="REMOVE live, lease_token, lease_until SET expires_at = :expires",
            condition="lease_token = :token",
            values={":token": lease.token, ":expires": self._expiry()},
        )

    # turns

    def recent(self, session_id: str, limit: int) -> Recent:
        """The newest `limit` turns, in one round trip."""
        items = self._table.last(_session(session_id), "turn#", limit)
        return Recent(
            newest_first=tuple(_turn(item) for item in items if item["expires_at"] > _now_s()),
            next_number=items[0]["number"] + 1 if items else 1,
        )

    def save(self, lease: Lease, turn: Turn) -> None:
        """Writes the turn and gives the lease back, both or neither.

        Raises:
            ChatError: `internal` where the lease was lost to another request meanwhile.
        """
        key = _session_key(lease.session_id, f"turn#{turn.number:08d}")
        write = Put(
            item={**key, **asdict(turn), "expires_at": self._expiry()},
            condition="attribute_not_exists(pk)",
        )
        if self._table.transact(write, self._end(lease)):
            raise ChatError("internal", "The answer could not be saved.", cause="lease lost")

    def history(self, session_id: str, principal: str, limit: int) -> tuple[Turn, ...]:
        """The newest `limit` turns, oldest first, for the session's own principal.

        Raises:
            ChatError: `unauthorized` for another principal's session.
        """
        turns = self.recent(session_id, limit).newest_first
        # Asked after the turns: whose they are was written before the first of them.
        head = self._table.get(_session_key(session_id, "head"))
        if head is not None and head["principal"] != principal:
            raise _not_yours()
        return tuple(reversed(turns))

    def forget(self, lease: Lease) -> int:
        """Deletes the session's turns, gives the lease back, and says how many there were."""
        count = self._table.delete_all(_session(lease.session_id), "turn#")
        self._release(lease)
        return count

    def _expiry(self) -> int:
        return _now_s() + self._session_seconds


def _not_yours() -> ChatError:
    return ChatError("unauthorized", "This session belongs to someone else.")


def _connection_key(connection_id: str) -> dict[str, str]:
    return {"pk": f"connection#{connection_id}", "sk": "connection"}


def _session_key(session_id: str, sk: str) -> dict[str, str]:
    return {"pk": _session(session_id), "sk": sk}


def _session(session_id: str) -> str:
    return f"session#{session_id}"


def _turn(item: Item) -> Turn:
    return Turn(**{name: item[name] for name in Turn.__slots__})


def _now_s() -> int:
    return int(time.time())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

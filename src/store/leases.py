"""A session's lease: one request at a time, each taken once, none lost from sight.

Rules
- `acquire` takes the session's lease and the request id, for good, in one conditional round trip; the
  turn is saved and the lease given back in another.
- A lease is short and is renewed while its holder lives: a Lambda that crashed frees the session
  within LEASE_SECONDS, and whoever meets what it left makes an unfinished turn of it.
- What a running answer has to know (stop; somebody else listens) stands in the session's head, and
  is found there within LOOK_SECONDS.

    claim ── look ── look ── renew ── look ── … ── save     the lease ends with `save`, with a
      └─────────── lease_expires_at ──────────┘                  failure, or LEASE_SECONDS after a crash

Does not know Bedrock, connections, or what is asked of a running answer from elsewhere
(`sessions`). Items of the table are listed in `memory`. A head has `principal` and, while something
runs, `active_request_id` (the request id), `requested_at` (ms), `lease_token`, `lease_expires_at` (ms), `stop_requested` (a
request id), and the newest listener: `listener` (the event that asked), `listener_acked` (the same, once it
is served), `listener_since` (ms), `listener_connection_id`, `listener_format`, `listener_from_seq`.
"""

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from msgspec import Struct
from msgspec.structs import replace

from errors import ChatError
from memory import Turn, estimate_tokens
from store import transcript
from store.budget import Budget, Reservation, over_budget, reconcile
from store.connections import RedeliveredError
from store.conversations import Conversations, session_key
from store.table import Item as TableItem
from store.table import Put, Table, Update
from wire.events import Done, Failed

# A lease has to outlast a few failed renewals and the differences between Lambdas' clocks (AWS
# keeps them within a fraction of a second; five are allowed here); a person should not wait much
# longer for a session whose Lambda crashed.
LEASE_SECONDS = 30.0
RENEW_SECONDS = 8.0
CLOCK_SKEW_SECONDS = 5.0

# How often a running answer looks into the session's head: stopping and resuming take that long.
POLL_SECONDS = 1.0

# A save is tried for so long where DynamoDB fails: the answer was paid for, and told.
SAVE_SECONDS = 6.0
SAVE_PAUSE_SECONDS = 0.3

StoredTranscript = Mapping[str, str]  # what `transcript.dump` makes


class Claim(Struct, frozen=True, kw_only=True):
    """Who asks for the session's lease, and for what.

    `event_id` tells two deliveries of one event from a client that sends twice; `requested_at` (ms) is
    when API Gateway got it. `question` is kept
    until there is a turn, and "" where there will be none. `tokens` is the most that it may cost.
    """

    session_id: str
    principal: str
    quota_subject: str
    request_id: str
    event_id: str
    requested_at: int
    question: str = ""
    tokens: int = 0


class Lease(Struct):
    """A session that is held. `token` is of one attempt alone: nobody ends another's lease.

    `used` is what the request has cost so far; the rest of `reserved` is given back at its end.
    """

    session_id: str
    request_id: str
    token: str
    reserved: Reservation | None = None
    used: int = 0
    saving: bool = False


class Listener(Struct, frozen=True):
    """A connection that wants a running answer's frames, from `from_seq` on; since when (ms)."""

    event_id: str
    since: int
    connection_id: str
    format: str
    from_seq: int


class LeaseStatus(Struct, frozen=True):
    """What the session's head says to the answer that runs in it."""

    stop: bool = False
    listener: Listener | None = None
    lost: bool = False


class Leases:
    """The leases of one table's sessions.

    Raises, in every method, beside what it names:
        ChatError: `throttled` or `internal`, DynamoDB's failure.
    """

    def __init__(self, table: Table, conversations: Conversations, budget: Budget) -> None:
        self._table = table
        self._conversations = conversations
        self._budget = budget

    # -- taking the lease, and giving it back

    @contextmanager
    def acquire(self, claim: Claim) -> Iterator[Lease]:
        """Holds the session while something is done that ends in `save` or `release`.

        Raises:
            RedeliveredError: this very event was taken before.
            ChatError: `busy`, `duplicate`, `over_budget`, or `unauthorized` for another principal's
                session.
        """
        reserved = (
            self._budget.reservation(claim.quota_subject, claim.tokens) if claim.question else None
        )
        lease = Lease(claim.session_id, claim.request_id, secrets.token_hex(8), reserved)
        try:
            refusal = self._claim(claim, lease)
            if refusal is None:
                yield lease
        except BaseException as error:
            # Also where the claim failed: it may have been taken, and DynamoDB's word of it lost.
            # Not where the save failed: what was written down so far becomes an unfinished turn.
            if not lease.saving:
                with suppress(ChatError):  # the first failure is the one to tell
                    self.release(lease, Failed(_told(error)))
            raise
        if refusal is not None:
            raise refusal

    def _claim(self, claim: Claim, lease: Lease) -> Exception | None:
        """Takes the lease, the request id and the reservation, all or none; else says why not."""
        writes: list[Put | Update] = [self._taking_lease(claim, lease), self._taking_request(claim)]
        if lease.reserved:
            writes.append(self._budget.reserve(lease.reserved))
        for _ in range(2):
            standing = self._table.transact(*writes)
            if standing is None:
                return None
            head, request = standing[:2]
            if head is not None and head["principal"] != claim.principal:
                return not_owner()  # before all else: what was asked here is not theirs to know
            if request is not None:
                if request["event_id"] == claim.event_id:
                    return RedeliveredError()
                return ChatError(
                    "duplicate", "This request_id was taken before; resume shows what became of it."
                )
            if head is None:
                return self._refused(claim, over_budget(_reserved(lease)))
            if not expired(head):
                break
            self.recover_abandoned(claim.session_id, head)
        return self._refused(claim, ChatError("busy", "This session is answering another request."))

    def _taking_lease(self, claim: Claim, lease: Lease) -> Update:
        return Update(
            key=session_key(claim.session_id, "head"),
            expression="SET active_request_id = :request, lease_token = :token, lease_expires_at = :until, "
            "requested_at = :asked, principal = :principal, expires_at = :expires "
            "REMOVE stop_requested, listener, listener_since, listener_connection_id, listener_format, "
            "listener_from_seq, listener_acked",
            condition="attribute_not_exists(pk) "
            "OR (principal = :principal AND attribute_not_exists(active_request_id))",
            values={
                ":request": claim.request_id,
                ":token": lease.token,
                ":until": _lease_until(),
                ":asked": claim.requested_at,
                ":principal": claim.principal,
                ":expires": self._conversations.expires_at(),
            },
        )

    def _taking_request(self, claim: Claim) -> Put:
        return Put(
            {
                **session_key(claim.session_id, f"request#{claim.request_id}"),
                "event_id": claim.event_id,
                "question": claim.question,
                "created_at": int(time.time()),
                "expires_at": self._conversations.expires_at(),
            }
        )

    def _refused(self, claim: Claim, refusal: ChatError) -> Exception:
        """Remembers a refusal, so that the same event is not answered when it comes again."""
        kept = transcript.dump([Failed(refusal)])
        item = {**self._taking_request(claim).item, "question": "", **kept}
        return refusal if self._table.put_new(item) else RedeliveredError()

    def release(self, lease: Lease, end: Done | Failed) -> None:
        """Gives the lease back without a turn. Nothing happens if it was lost meanwhile."""
        self._table.transact(
            self._ending(lease),
            self._answered(lease.session_id, lease.request_id, transcript.dump([end])),
            *self._reconciliation(lease),
        )

    def save(
        self,
        lease: Lease,
        turn: Turn,
        kept: StoredTranscript,
        listener_acked: str | None,
        until: float,
    ) -> Listener | None:
        """Writes the turn and gives the lease back, both or neither.

        Gives, where it wrote nothing, the listener that came meanwhile: `listener_acked` is the last that
        was served, or None where the save does not wait for any. Tries again for a while where
        DynamoDB fails, but not beyond `until` (of `time.monotonic`).

        Raises:
            ChatError: `internal` where the lease was lost to another request meanwhile.
        """
        lease.saving = True
        until, pause = min(until, time.monotonic() + SAVE_SECONDS), SAVE_PAUSE_SECONDS
        while True:
            try:
                return self._save(lease, turn, kept, listener_acked)
            except _LostError:
                raise
            except ChatError:
                if time.monotonic() + pause > until:
                    raise
            time.sleep(pause)
            pause *= 2

    def _save(
        self, lease: Lease, turn: Turn, kept: StoredTranscript, listener_acked: str | None
    ) -> Listener | None:
        standing = self._table.transact(
            self._ending(lease, listener_acked),
            Put(self._conversations.turn_item(lease.session_id, turn)),
            self._answered(
                lease.session_id, lease.request_id, kept, turn.number, listener_acked or ""
            ),
            *self._reconciliation(lease),
        )
        if standing is None:
            return None
        head, there = standing[:2]
        if there and (there["request_id"], there["state"]) == (turn.request_id, turn.state):
            return None  # it was written, and DynamoDB's word of it was lost
        if head and head.get("lease_token") == lease.token and "listener" in head:
            return _listener(head)
        raise _LostError

    def _ending(self, lease: Lease, listener_acked: str | None = None) -> Update:
        """The end of the lease; with `listener_acked`, only where nobody else wants to listen."""
        values = {":token": lease.token, ":expires": self._conversations.expires_at()}
        condition = "lease_token = :token"
        if listener_acked is not None:
            condition += " AND (attribute_not_exists(listener) OR listener = :heard)"
            values[":heard"] = listener_acked
        return Update(
            key=session_key(lease.session_id, "head"),
            expression="REMOVE active_request_id, lease_token, lease_expires_at SET expires_at = :expires",
            condition=condition,
            values=values,
        )

    @staticmethod
    def _answered(
        session_id: str,
        request_id: str,
        kept: StoredTranscript,
        number: int = 0,
        listener_acked: str = "",
    ) -> Update:
        """What stays of a request: how it was told, and the number of its turn."""
        names = {
            ":number": number,
            ":heard": listener_acked,
            **{f":{name}": kept[name] for name in kept},
        }
        set_kept = ", ".join(f"{name} = :{name}" for name in kept)
        return Update(
            key=session_key(session_id, f"request#{request_id}"),
            expression=f"SET turn_number = :number, listener_acked = :heard, {set_kept} "
            "REMOVE question, answer, reasoning",
            condition="attribute_exists(pk)",
            values=names,
        )

    @staticmethod
    def _reconciliation(lease: Lease) -> list[Update]:
        return [reconcile(lease.reserved, lease.used)] if lease.reserved else []

    # -- while an answer runs

    def poll(self, lease: Lease) -> LeaseStatus:
        """What is new, in one cheap read."""
        return _news(lease, self._table.get(session_key(lease.session_id, "head")) or {})

    def renew(
        self, lease: Lease, listener_acked: str, answer: str, reasoning: str, kept: StoredTranscript
    ) -> LeaseStatus:
        """The same, and the lease lasts longer; `listener_acked` is the last listener that is served.

        The answer so far is written down: it is what stays if this Lambda crashes.
        """
        renewed = self._table.update(
            Update(
                key=session_key(lease.session_id, "head"),
                expression="SET lease_expires_at = :until, listener_acked = :heard",
                condition="lease_token = :token",
                values={":until": _lease_until(), ":heard": listener_acked, ":token": lease.token},
            )
        )
        if renewed.done and kept["cuts"]:
            words = {"answer": answer, "reasoning": reasoning, **kept}
            with suppress(ChatError):  # without it a crash costs more, and nothing else does
                self._table.update(
                    Update(
                        key=session_key(lease.session_id, f"request#{lease.request_id}"),
                        expression="SET " + ", ".join(f"{name} = :{name}" for name in words),
                        condition="attribute_exists(question)",
                        values={f":{name}": text for name, text in words.items()},
                    )
                )
        return _news(lease, renewed.item or {})

    def recover_abandoned(self, session_id: str, head: TableItem) -> None:
        """Makes an unfinished turn of what a crashed Lambda left, and frees the session."""
        request_id, token = head["active_request_id"], head["lease_token"]
        request = self._table.get(session_key(session_id, f"request#{request_id}")) or {}
        question, answer = request.get("question", ""), request.get("answer", "")
        turn = Turn(
            number=self._conversations.recent(session_id, 1).next_number,
            request_id=request_id,
            user=question,
            assistant=answer,
            state="unfinished",
            tokens=estimate_tokens(question) + estimate_tokens(answer),
            created_at=request.get("created_at", 0),
            reasoning=request.get("reasoning", ""),
        )
        kept = transcript.dump([Failed(answer_interrupted())])
        kept |= {name: request[name] for name in ("model", "cuts") if name in request}
        # What it reserved of the allowance is not given back: nobody knows what it used. A request
        # that asked the model nothing (`clear`) leaves no turn.
        ending = self._ending(Lease(session_id, request_id, token))
        self._table.transact(
            # Not where its holder has renewed it meanwhile: it lives.
            replace(
                ending,
                condition=f"{ending.condition} AND lease_expires_at = :seen",
                values={**ending.values, ":seen": head["lease_expires_at"]},
            ),
            self._answered(session_id, request_id, kept, turn.number if question else 0),
            *([Put(self._conversations.turn_item(session_id, turn))] if question else []),
        )


class _LostError(ChatError):
    """The lease is another's: what was to be saved may not be."""

    def __init__(self) -> None:
        super().__init__("internal", "The answer could not be saved.", cause="lease lost")


def _reserved(lease: Lease) -> Reservation:
    assert lease.reserved is not None  # noqa: S101 - nothing else stood against the claim
    return lease.reserved


def _told(error: BaseException) -> ChatError:
    return error if isinstance(error, ChatError) else answer_interrupted()


def answer_interrupted() -> ChatError:
    """What is told of a request whose Lambda crashed."""
    return ChatError(
        "internal", "The answer was cut off on this side; what was kept is in history."
    )


def not_owner() -> ChatError:
    """The refusal to another principal."""
    return ChatError("unauthorized", "This session belongs to someone else.")


def _news(lease: Lease, head: TableItem) -> LeaseStatus:
    if head.get("lease_token") != lease.token:
        return LeaseStatus(lost=True)
    return LeaseStatus(
        stop=head.get("stop_requested") == lease.request_id,
        listener=_listener(head) if "listener" in head else None,
    )


def _listener(head: TableItem) -> Listener:
    return Listener(
        head["listener"],
        head["listener_since"],
        head["listener_connection_id"],
        head["listener_format"],
        head["listener_from_seq"],
    )


def expired(head: TableItem) -> bool:
    """Whether the holder of the lease must have crashed."""
    return bool(head["lease_expires_at"] + CLOCK_SKEW_SECONDS * 1000 < _now_ms())


def _lease_until() -> int:
    return _now_ms() + int(LEASE_SECONDS * 1000)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

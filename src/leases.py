"""A session's lease: one request at a time, each taken once, none lost from sight.

Rules
- `take` takes the session's lease and the request id, for good, in one conditional round trip; the
  turn is saved and the lease given back in another.
- A lease is short and is renewed while its holder lives: a Lambda that crashed frees the session
  within LEASE_SECONDS, and whoever meets what it left makes an unfinished turn of it.
- What a running answer has to know (stop; somebody else listens) stands in the session's head, and
  is found there within LOOK_SECONDS.

    claim ── look ── look ── renew ── look ── … ── save     the lease ends with `save`, with a
      └─────────── lease_until ──────────┘                  failure, or LEASE_SECONDS after a crash

Does not know Bedrock, connections, or what is asked of a running answer from elsewhere
(`sessions`). Items of the table are listed in `memory`. A head has `principal` and, while something
runs, `live` (the request id), `asked_at` (ms), `lease_token`, `lease_until` (ms), `stop_asked` (a
request id), and the newest listener: `listener` (the event that asked), `heard` (the same, once it
is served), `listener_since` (ms), `listener_at`, `listener_format`, `listener_seq`.
"""

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace

import transcript
from budget import Budget, Reservation, over_budget, settle
from frames import ChatError, Done, Failed
from memory import Memory, RedeliveredError, Turn, guessed_tokens, session_key
from records import dataclass
from table import Item as TableItem
from table import Put, Table, Update

# A lease has to outlast a few failed renewals and the differences between Lambdas' clocks (AWS
# keeps them within a fraction of a second; five are allowed here); a person should not wait much
# longer for a session whose Lambda crashed.
LEASE_SECONDS = 30.0
RENEW_SECONDS = 8.0
CLOCK_SKEW_SECONDS = 5.0

# How often a running answer looks into the session's head: stopping and resuming take that long.
LOOK_SECONDS = 1.0

# A save is tried for so long where DynamoDB fails: the answer was paid for, and told.
SAVE_SECONDS = 6.0
SAVE_PAUSE_SECONDS = 0.3

Kept = Mapping[str, str]  # what `transcript.written` makes


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Who asks for the session's lease, and for what.

    `event_id` tells two deliveries of one event from a client that sends twice; `asked_at` (ms) is
    when API Gateway got it. `question` is kept
    until there is a turn, and "" where there will be none. `tokens` is the most that it may cost.
    """

    session_id: str
    principal: str
    payer: str
    request_id: str
    event_id: str
    asked_at: int
    question: str = ""
    tokens: int = 0


@dataclass(slots=True)
class Lease:
    """A session that is held. `token` is of one attempt alone: nobody ends another's lease.

    `used` is what the request has cost so far; the rest of `reserved` is given back at its end.
    """

    session_id: str
    request_id: str
    token: str
    reserved: Reservation | None = None
    used: int = 0
    saving: bool = False


@dataclass(frozen=True, slots=True)
class Listener:
    """A connection that wants a running answer's frames, from `from_seq` on; since when (ms)."""

    event_id: str
    since: int
    connection_id: str
    format: str
    from_seq: int


@dataclass(frozen=True, slots=True)
class News:
    """What the session's head says to the answer that runs in it."""

    stop: bool = False
    listener: Listener | None = None
    lost: bool = False


class Leases:
    """The leases of one table's sessions.

    Raises, in every method, beside what it names:
        ChatError: `throttled` or `internal`, DynamoDB's failure.
    """

    def __init__(self, table: Table, memory: Memory, budget: Budget) -> None:
        self._table = table
        self._memory = memory
        self._budget = budget

    # -- taking the lease, and giving it back

    @contextmanager
    def take(self, claim: Claim) -> Iterator[Lease]:
        """Holds the session while something is done that ends in `save` or `finish`.

        Raises:
            RedeliveredError: this very event was taken before.
            ChatError: `busy`, `duplicate`, `over_budget`, or `unauthorized` for another principal's
                session.
        """
        reserved = self._budget.reservation(claim.payer, claim.tokens) if claim.question else None
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
                    self.finish(lease, Failed(_told(error)))
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
                return not_yours()  # before all else: what was asked here is not theirs to know
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
            self.bury(claim.session_id, head)
        return self._refused(claim, ChatError("busy", "This session is answering another request."))

    def _taking_lease(self, claim: Claim, lease: Lease) -> Update:
        return Update(
            key=session_key(claim.session_id, "head"),
            expression="SET live = :request, lease_token = :token, lease_until = :until, "
            "asked_at = :asked, principal = :principal, expires_at = :expires "
            "REMOVE stop_asked, listener, listener_since, listener_at, listener_format, "
            "listener_seq, heard",
            condition="attribute_not_exists(pk) "
            "OR (principal = :principal AND attribute_not_exists(live))",
            values={
                ":request": claim.request_id,
                ":token": lease.token,
                ":until": _lease_until(),
                ":asked": claim.asked_at,
                ":principal": claim.principal,
                ":expires": self._memory.expiry(),
            },
        )

    def _taking_request(self, claim: Claim) -> Put:
        return Put(
            {
                **session_key(claim.session_id, f"request#{claim.request_id}"),
                "event_id": claim.event_id,
                "question": claim.question,
                "created_at": int(time.time()),
                "expires_at": self._memory.expiry(),
            }
        )

    def _refused(self, claim: Claim, refusal: ChatError) -> Exception:
        """Remembers a refusal, so that the same event is not answered when it comes again."""
        kept = transcript.written([Failed(refusal)])
        item = {**self._taking_request(claim).item, "question": "", **kept}
        return refusal if self._table.put_new(item) else RedeliveredError()

    def finish(self, lease: Lease, end: Done | Failed) -> None:
        """Gives the lease back without a turn. Nothing happens if it was lost meanwhile."""
        self._table.transact(
            self._ending(lease),
            self._answered(lease.session_id, lease.request_id, transcript.written([end])),
            *self._settled(lease),
        )

    def save(
        self, lease: Lease, turn: Turn, kept: Kept, heard: str | None, until: float
    ) -> Listener | None:
        """Writes the turn and gives the lease back, both or neither.

        Gives, where it wrote nothing, the listener that came meanwhile: `heard` is the last that
        was served, or None where the save does not wait for any. Tries again for a while where
        DynamoDB fails, but not beyond `until` (of `time.monotonic`).

        Raises:
            ChatError: `internal` where the lease was lost to another request meanwhile.
        """
        lease.saving = True
        until, pause = min(until, time.monotonic() + SAVE_SECONDS), SAVE_PAUSE_SECONDS
        while True:
            try:
                return self._save(lease, turn, kept, heard)
            except _LostError:
                raise
            except ChatError:
                if time.monotonic() + pause > until:
                    raise
            time.sleep(pause)
            pause *= 2

    def _save(self, lease: Lease, turn: Turn, kept: Kept, heard: str | None) -> Listener | None:
        standing = self._table.transact(
            self._ending(lease, heard),
            Put(self._memory.item(lease.session_id, turn)),
            self._answered(lease.session_id, lease.request_id, kept, turn.number, heard or ""),
            *self._settled(lease),
        )
        if standing is None:
            return None
        head, there = standing[:2]
        if there and (there["request_id"], there["state"]) == (turn.request_id, turn.state):
            return None  # it was written, and DynamoDB's word of it was lost
        if head and head.get("lease_token") == lease.token and "listener" in head:
            return _listener(head)
        raise _LostError

    def _ending(self, lease: Lease, heard: str | None = None) -> Update:
        """The end of the lease; with `heard`, only where nobody else wants to listen."""
        values = {":token": lease.token, ":expires": self._memory.expiry()}
        condition = "lease_token = :token"
        if heard is not None:
            condition += " AND (attribute_not_exists(listener) OR listener = :heard)"
            values[":heard"] = heard
        return Update(
            key=session_key(lease.session_id, "head"),
            expression="REMOVE live, lease_token, lease_until SET expires_at = :expires",
            condition=condition,
            values=values,
        )

    @staticmethod
    def _answered(
        session_id: str, request_id: str, kept: Kept, number: int = 0, heard: str = ""
    ) -> Update:
        """What stays of a request: how it was told, and the number of its turn."""
        names = {":number": number, ":heard": heard, **{f":{name}": kept[name] for name in kept}}
        set_kept = ", ".join(f"{name} = :{name}" for name in kept)
        return Update(
            key=session_key(session_id, f"request#{request_id}"),
            expression=f"SET turn_number = :number, heard = :heard, {set_kept} "
            "REMOVE question, answer, reasoning",
            condition="attribute_exists(pk)",
            values=names,
        )

    @staticmethod
    def _settled(lease: Lease) -> list[Update]:
        return [settle(lease.reserved, lease.used)] if lease.reserved else []

    # -- while an answer runs

    def look(self, lease: Lease) -> News:
        """What is new, in one cheap read."""
        return _news(lease, self._table.get(session_key(lease.session_id, "head")) or {})

    def renew(self, lease: Lease, heard: str, answer: str, reasoning: str, kept: Kept) -> News:
        """The same, and the lease lasts longer; `heard` is the last listener that is served.

        The answer so far is written down: it is what stays if this Lambda crashes.
        """
        renewed = self._table.update(
            Update(
                key=session_key(lease.session_id, "head"),
                expression="SET lease_until = :until, heard = :heard",
                condition="lease_token = :token",
                values={":until": _lease_until(), ":heard": heard, ":token": lease.token},
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

    def bury(self, session_id: str, head: TableItem) -> None:
        """Makes an unfinished turn of what a crashed Lambda left, and frees the session."""
        request_id, token = head["live"], head["lease_token"]
        request = self._table.get(session_key(session_id, f"request#{request_id}")) or {}
        question, answer = request.get("question", ""), request.get("answer", "")
        turn = Turn(
            number=self._memory.recent(session_id, 1).next_number,
            request_id=request_id,
            user=question,
            assistant=answer,
            state="unfinished",
            tokens=guessed_tokens(question) + guessed_tokens(answer),
            created_at=request.get("created_at", 0),
            reasoning=request.get("reasoning", ""),
        )
        kept = transcript.written([Failed(cut_off())])
        kept |= {name: request[name] for name in ("model", "cuts") if name in request}
        # What it reserved of the allowance is not given back: nobody knows what it used. A request
        # that asked the model nothing (`clear`) leaves no turn.
        ending = self._ending(Lease(session_id, request_id, token))
        self._table.transact(
            # Not where its holder has renewed it meanwhile: it lives.
            replace(
                ending,
                condition=f"{ending.condition} AND lease_until = :seen",
                values={**ending.values, ":seen": head["lease_until"]},
            ),
            self._answered(session_id, request_id, kept, turn.number if question else 0),
            *([Put(self._memory.item(session_id, turn))] if question else []),
        )


class _LostError(ChatError):
    """The lease is another's: what was to be saved may not be."""

    def __init__(self) -> None:
        super().__init__("internal", "The answer could not be saved.", cause="lease lost")


def _reserved(lease: Lease) -> Reservation:
    assert lease.reserved is not None  # noqa: S101 - nothing else stood against the claim
    return lease.reserved


def _told(error: BaseException) -> ChatError:
    return error if isinstance(error, ChatError) else cut_off()


def cut_off() -> ChatError:
    """What is told of a request whose Lambda crashed."""
    return ChatError(
        "internal", "The answer was cut off on this side; what was kept is in history."
    )


def not_yours() -> ChatError:
    """The refusal to another principal."""
    return ChatError("unauthorized", "This session belongs to someone else.")


def _news(lease: Lease, head: TableItem) -> News:
    if head.get("lease_token") != lease.token:
        return News(lost=True)
    return News(
        stop=head.get("stop_asked") == lease.request_id,
        listener=_listener(head) if "listener" in head else None,
    )


def _listener(head: TableItem) -> Listener:
    return Listener(
        head["listener"],
        head["listener_since"],
        head["listener_at"],
        head["listener_format"],
        head["listener_seq"],
    )


def expired(head: TableItem) -> bool:
    """Whether the holder of the lease must have crashed."""
    return bool(head["lease_until"] + CLOCK_SKEW_SECONDS * 1000 < _now_ms())


def _lease_until() -> int:
    return _now_ms() + int(LEASE_SECONDS * 1000)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

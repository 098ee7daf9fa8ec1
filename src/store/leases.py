"""The lease of a session: one request at a time, each request id accepted once.

Rules
- `acquire` takes the session's lease and records the request id, for good, in one conditional
  transaction; another transaction saves the turn and releases the lease.
- A lease is short and is renewed while its holder runs: after a crash the session is free within
  LEASE_SECONDS, and whichever Lambda meets the expired lease saves an unfinished turn.
- A running answer finds its signals (stop, a new listener) in the session's head, within
  POLL_SECONDS.

    acquire ── poll ── poll ── renew ── poll ── … ── save   the lease ends with `save`, `release`
      └────────────── lease_expires_at_ms ───────────────┘     or, after a crash, by itself

The methods are in that order; the writes are built in `lease_writes`. Does not know Bedrock,
connections, or the requests that send signals to an answer (`sessions`).
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from msgspec import Struct
from msgspec.structs import replace

from errors import ChatError
from memory import Turn, estimate_tokens
from store import lease_writes, transcript
from store.budget import Budget, Reservation, over_budget, reconcile
from store.connections import RedeliveredError
from store.conversations import Conversations, session_key
from store.items import Request, SessionHead, StoredTranscript, dump, load
from store.table import Item as TableItem
from store.table import Put, Table, Update
from store.transcript import answer_interrupted
from wire.events import Done, Failed

# A lease has to outlast a few failed renewals and the differences between Lambdas' clocks (AWS
# keeps them within a fraction of a second; five are allowed here), but a client has to wait as long
# for a session whose Lambda crashed.
LEASE_SECONDS = 30.0
RENEW_SECONDS = 8.0
CLOCK_SKEW_SECONDS = 5.0

# How often a running answer reads the session's head: the delay of a stop and of a resume.
POLL_SECONDS = 1.0

# How long a save is retried while DynamoDB fails (the answer has been paid for and sent), and the
# first pause between two attempts, which doubles.
SAVE_SECONDS = 6.0
SAVE_PAUSE_SECONDS = 0.3


class Claim(Struct, frozen=True, kw_only=True):
    """A request for a session's lease.

    `event_id` distinguishes a second delivery of the same event from a client that sends the same
    request id twice; `requested_at` (ms) is when API Gateway received it. `question` is stored
    until the turn is saved, and is empty where there will be no turn. `tokens` is the most that the
    request can cost.
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
    """A session's lease, held. `token` is unique: only its holder can renew or release the lease.

    `used` is the tokens that the request has used so far; the rest of `reserved` is returned at its
    end. `release_on_exit` is whether leaving the `with` of `acquire` releases the lease.
    """

    session_id: str
    request_id: str
    token: str
    reserved: Reservation | None = None
    used: int = 0
    release_on_exit: bool = True


class Listener(Struct, frozen=True):
    """A connection that is to receive a running answer's frames from `from_seq` on.

    `event_id` is the event of its `resume`, `requested_at` (ms) when API Gateway received that.
    """

    event_id: str
    requested_at: int
    connection_id: str
    format: str
    from_seq: int


class LeaseStatus(Struct, frozen=True):
    """What a session's head holds for the answer that runs: a stop, a listener, or a lost lease."""

    stop: bool = False
    listener: Listener | None = None
    lost: bool = False


class Leases:
    """The leases of one table's sessions.

    Raises, in every method, besides what it names:
        ChatError: `throttled` or `internal`, a failure of DynamoDB.
    """

    def __init__(self, table: Table, conversations: Conversations, budget: Budget) -> None:
        self._table = table
        self._conversations = conversations
        self._budget = budget

    # -- acquire

    @contextmanager
    def acquire(self, claim: Claim) -> Iterator[Lease]:
        """Holds the session's lease during the `with`, and releases it however that is left.

        The exception is a save that failed: the session stays busy until the lease expires, and
        what was stored by then becomes an unfinished turn.

        Raises:
            RedeliveredError: this event was delivered before.
            ChatError: `busy`, `duplicate`, `over_budget`, or `unauthorized` for another principal's
                session.
        """
        reserved = (
            self._budget.reservation(claim.quota_subject, claim.tokens) if claim.question else None
        )
        lease = Lease(claim.session_id, claim.request_id, secrets.token_hex(8), reserved)
        try:
            refusal = self._try_acquire(claim, lease)
            if refusal is None:
                yield lease
        except BaseException as error:
            # Also where the claim itself failed: it may have been written, and the response lost.
            if lease.release_on_exit:
                with suppress(ChatError):  # the first failure is the one to report
                    self.release(lease, Failed(_to_chat_error(error)))
            raise
        if refusal is not None:
            raise refusal
        if lease.release_on_exit:
            self.release(lease, Failed(answer_interrupted()))

    def _try_acquire(self, claim: Claim, lease: Lease) -> Exception | None:
        """Takes the lease, the request id and the reservation, all or none; or returns why not."""
        expires_at = self._conversations.expires_at()
        head = SessionHead(
            principal=claim.principal,
            active_request_id=claim.request_id,
            requested_at_ms=claim.requested_at,
            lease_token=lease.token,
            lease_expires_at_ms=_lease_expires_at(),
        )
        writes: list[Put | Update] = [
            lease_writes.acquire(claim.session_id, head, expires_at),
            lease_writes.put_request(
                claim.session_id, claim.request_id, _request(claim), expires_at
            ),
        ]
        if lease.reserved:
            writes.append(self._budget.reserve(lease.reserved))
        for _ in range(2):
            failed = self._table.transact(*writes)
            if failed is None:
                return None
            found, request = failed[:2]
            # Checked first, so that another principal does not learn which requests there were.
            if found is not None and load(SessionHead, found).principal != claim.principal:
                return not_owner()
            if request is not None:
                if load(Request, request).event_id == claim.event_id:
                    return RedeliveredError()
                return ChatError(
                    "duplicate", "This request_id was used before; resume returns its frames."
                )
            if found is None:
                assert lease.reserved is not None  # noqa: S101 - the third condition has failed
                return self._record_refusal(claim, over_budget(lease.reserved))
            if not lease_expired(load(SessionHead, found)):
                break
            self.recover_abandoned(claim.session_id, load(SessionHead, found))
        return self._record_refusal(
            claim, ChatError("busy", "This session is answering another request.")
        )

    def _record_refusal(self, claim: Claim, refusal: ChatError) -> Exception:
        """Stores a refusal, so that a second delivery of the event is not answered."""
        end = transcript.dump([Failed(refusal)])
        refused = replace(_request(claim), question="", **dump(end))
        put = lease_writes.put_request(
            claim.session_id, claim.request_id, refused, self._conversations.expires_at()
        )
        return refusal if self._table.put_new(put.item) else RedeliveredError()

    # -- poll and renew, while an answer runs

    def poll(self, lease: Lease) -> LeaseStatus:
        """Reads the session's head: one round trip, nothing is written."""
        return _status(lease, self._table.get(session_key(lease.session_id, "head")))

    def renew(
        self,
        lease: Lease,
        listener_acked: str,
        answer: str,
        reasoning: str,
        stored: StoredTranscript,
    ) -> LeaseStatus:
        """Extends the lease, stores the partial answer, and returns the same as `poll`.

        `listener_acked` is the event id of the last listener that the answer switched to. The
        partial answer is what remains if this Lambda crashes.
        """
        renewed = self._table.update(
            lease_writes.renew(lease.session_id, lease.token, _lease_expires_at(), listener_acked)
        )
        if renewed.applied and stored.delta_lengths:
            # A failure costs only the partial answer, and only if this Lambda crashes.
            with suppress(ChatError):
                self._table.update(
                    lease_writes.store_partial_answer(
                        lease.session_id, lease.request_id, answer, reasoning, stored
                    )
                )
        return _status(lease, renewed.item)

    # -- save or release

    def save(
        self,
        lease: Lease,
        turn: Turn,
        stored: StoredTranscript,
        listener_acked: str | None,
        deadline: float,
    ) -> Listener | None:
        """Writes the turn and releases the lease, both or neither.

        Writes nothing and returns the newest listener if that is not `listener_acked`, the event
        id of the last listener that was served; None skips this check. Retries
        while DynamoDB fails, until `deadline` (of `time.monotonic`) at the latest.

        Raises:
            ChatError: `internal` if the lease was lost to another request.
        """
        lease.release_on_exit = False
        deadline = min(deadline, time.monotonic() + SAVE_SECONDS)
        pause = SAVE_PAUSE_SECONDS
        while True:
            try:
                listener = self._save(lease, turn, stored, listener_acked)
            except _LeaseLostError:
                raise
            except ChatError:
                if time.monotonic() + pause > deadline:
                    raise
            else:
                lease.release_on_exit = listener is not None
                return listener
            time.sleep(pause)
            pause *= 2

    def _save(
        self, lease: Lease, turn: Turn, stored: StoredTranscript, listener_acked: str | None
    ) -> Listener | None:
        failed = self._table.transact(
            lease_writes.release(
                lease.session_id, lease.token, self._conversations.expires_at(), listener_acked
            ),
            Put(self._conversations.turn_item(lease.session_id, turn)),
            lease_writes.end_request(
                lease.session_id, lease.request_id, stored, turn.number, listener_acked or ""
            ),
            *_reconciliation(lease),
        )
        if failed is None:
            return None
        head, existing = load(SessionHead, failed[0] or {}), failed[1]
        if existing:
            saved = load(Turn, {"number": turn.number, **existing})
            if (saved.request_id, saved.state) == (turn.request_id, turn.state):
                return None  # an earlier attempt wrote it, and its response was lost
        if head.lease_token == lease.token and head.listener:
            return _listener(head)
        raise _LeaseLostError

    def release(self, lease: Lease, end: Done | Failed) -> None:
        """Releases the lease without a turn. Does nothing if the lease was lost."""
        self._table.transact(
            lease_writes.release(lease.session_id, lease.token, self._conversations.expires_at()),
            lease_writes.end_request(lease.session_id, lease.request_id, transcript.dump([end])),
            *_reconciliation(lease),
        )
        lease.release_on_exit = False

    # -- recover, after a crash

    def recover_abandoned(self, session_id: str, head: SessionHead) -> None:
        """Saves an unfinished turn of a request whose Lambda crashed, and frees the session.

        `head` is the session's head, with an expired lease. Does nothing if it has changed since.
        """
        request_id = head.active_request_id
        request_key = session_key(session_id, f"request#{request_id}")
        request = load(Request, self._table.get(request_key) or {})
        turn = Turn(
            number=self._conversations.recent(session_id, 1).next_number,
            request_id=request_id,
            user=request.question,
            assistant=request.partial_answer,
            state="unfinished",
            tokens=estimate_tokens(request.question) + estimate_tokens(request.partial_answer),
            created_at=request.created_at,
            reasoning=request.partial_reasoning,
        )
        stored = replace(
            transcript.dump([Failed(answer_interrupted())]),
            model=request.model,
            delta_lengths=request.delta_lengths,
        )
        # Its reservation is not reconciled: what it used is unknown. A request without a question
        # (`clear`) has no turn.
        has_turn = bool(request.question)
        self._table.transact(
            # Its condition fails if the holder has renewed the lease since: then it still runs.
            lease_writes.release_abandoned(session_id, head, self._conversations.expires_at()),
            lease_writes.end_request(
                session_id, request_id, stored, turn.number if has_turn else 0
            ),
            *([Put(self._conversations.turn_item(session_id, turn))] if has_turn else []),
        )


class _LeaseLostError(ChatError):
    """Another request holds the lease: the turn must not be saved."""

    def __init__(self) -> None:
        super().__init__("internal", "The answer could not be saved.", cause="lease lost")


def not_owner() -> ChatError:
    """Returns the refusal of another principal."""
    return ChatError("unauthorized", "This session belongs to another principal.")


def lease_expired(head: SessionHead) -> bool:
    """Whether the lease is over, by any Lambda's clock: its holder has crashed."""
    return head.lease_expires_at_ms + CLOCK_SKEW_SECONDS * 1000 < _now_ms()


def _request(claim: Claim) -> Request:
    return Request(event_id=claim.event_id, created_at=int(time.time()), question=claim.question)


def _to_chat_error(error: BaseException) -> ChatError:
    return error if isinstance(error, ChatError) else answer_interrupted()


def _reconciliation(lease: Lease) -> list[Update]:
    return [reconcile(lease.reserved, lease.used)] if lease.reserved else []


def _status(lease: Lease, item: TableItem | None) -> LeaseStatus:
    head = load(SessionHead, item or {})
    if head.lease_token != lease.token:
        return LeaseStatus(lost=True)
    return LeaseStatus(
        stop=head.stop_requested == lease.request_id,
        listener=_listener(head) if head.listener else None,
    )


def _listener(head: SessionHead) -> Listener:
    return Listener(
        head.listener,
        head.listener_requested_at_ms,
        head.listener_connection_id,
        head.listener_format,
        head.listener_from_seq,
    )


def _lease_expires_at() -> int:
    return _now_ms() + int(LEASE_SECONDS * 1000)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

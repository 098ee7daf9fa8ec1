"""The writes of a lease: how each step changes the session's head and the request's item. Pure.

    step       the session's head                   the request's item
    acquire    `acquire`: the lease, no signals     `put_request`
    renew      `renew`: a later expiry              `store_partial_answer`
    end        `release`: no lease                  `end_request`: the transcript, no partial answer

Rules
- A write of the head that is not its first has a condition on the lease's token: the write of a
  lost lease fails, and with it the transaction.
- `expires_at` is the time to live of the items in Unix seconds; `lease_expires_at_ms` is in
  milliseconds.

Knows the items and their attributes. Does not know when a step is due, or who performs the writes
(`leases`).
"""

from msgspec.structs import replace

from store.conversations import session_key
from store.items import Request, SessionHead, StoredTranscript, dump
from store.table import Item, Put, Update

_LEASE = "active_request_id, lease_token, lease_expires_at_ms"
_SIGNALS = (
    "stop_requested, listener, listener_requested_at_ms, listener_connection_id, listener_format, "
    "listener_from_seq, listener_acked"
)


def acquire(session_id: str, head: SessionHead, expires_at: int) -> Update:
    """Returns the write of a lease: `head` without signals.

    Its condition fails for another principal's session, and while there is another lease.
    """
    attributes = {
        "active_request_id": head.active_request_id,
        "lease_token": head.lease_token,
        "lease_expires_at_ms": head.lease_expires_at_ms,
        "requested_at_ms": head.requested_at_ms,
        "principal": head.principal,
        "expires_at": expires_at,
    }
    return Update(
        key=session_key(session_id, "head"),
        expression=f"{_set(attributes)} REMOVE {_SIGNALS}",
        condition="attribute_not_exists(pk) "
        "OR (principal = :principal AND attribute_not_exists(active_request_id))",
        values=_values(attributes),
    )


def put_request(session_id: str, request_id: str, request: Request, expires_at: int) -> Put:
    """Returns the write of a new request, accepted or refused."""
    return Put(
        {
            **_request_key(session_id, request_id),
            **{name: value for name, value in dump(request).items() if value},
            "expires_at": expires_at,
        }
    )


def renew(session_id: str, token: str, lease_expires_at_ms: int, listener_acked: str) -> Update:
    """Returns the write that extends a lease; see `Leases.renew` for `listener_acked`."""
    return Update(
        key=session_key(session_id, "head"),
        expression="SET lease_expires_at_ms = :lease_expires_at_ms, "
        "listener_acked = :listener_acked",
        condition="lease_token = :token",
        values={
            ":lease_expires_at_ms": lease_expires_at_ms,
            ":listener_acked": listener_acked,
            ":token": token,
        },
    )


def store_partial_answer(
    session_id: str, request_id: str, answer: str, reasoning: str, stored: StoredTranscript
) -> Update:
    """Returns the write of the answer so far. Its condition fails once the request has ended."""
    attributes = {
        "partial_answer": answer,
        "partial_reasoning": reasoning,
        "model": stored.model,
        "delta_lengths": stored.delta_lengths,
    }
    return Update(
        key=_request_key(session_id, request_id),
        expression=_set(attributes),
        condition="attribute_exists(pk) AND attribute_not_exists(terminal_event)",
        values=_values(attributes),
    )


def release(
    session_id: str, token: str, expires_at: int, listener_acked: str | None = None
) -> Update:
    """Returns the write that ends a lease; see `Leases.save` for `listener_acked`."""
    values = {":token": token, ":expires_at": expires_at}
    condition = "lease_token = :token"
    if listener_acked is not None:
        condition += " AND (attribute_not_exists(listener) OR listener = :listener_acked)"
        values[":listener_acked"] = listener_acked
    return Update(
        key=session_key(session_id, "head"),
        expression=f"REMOVE {_LEASE} SET expires_at = :expires_at",
        condition=condition,
        values=values,
    )


def release_abandoned(session_id: str, head: SessionHead, expires_at: int) -> Update:
    """Returns the write that ends the lease in `head`, unless it has been renewed since."""
    update = release(session_id, head.lease_token, expires_at)
    return replace(
        update,
        condition=f"{update.condition} AND lease_expires_at_ms = :seen",
        values={**update.values, ":seen": head.lease_expires_at_ms},
    )


def end_request(
    session_id: str,
    request_id: str,
    stored: StoredTranscript,
    turn_number: int = 0,
    listener_acked: str = "",
) -> Update:
    """Returns the write of what remains of a request: its transcript, and its turn's number."""
    attributes = {
        **dump(stored),
        "turn_number": turn_number,
        "listener_acked": listener_acked,
    }
    return Update(
        key=_request_key(session_id, request_id),
        expression=f"{_set(attributes)} REMOVE question, partial_answer, partial_reasoning",
        condition="attribute_exists(pk)",
        values=_values(attributes),
    )


def _request_key(session_id: str, request_id: str) -> Item:
    return session_key(session_id, f"request#{request_id}")


def _set(attributes: Item) -> str:
    return "SET " + ", ".join(f"{name} = :{name}" for name in attributes)


def _values(attributes: Item) -> Item:
    return {f":{name}": value for name, value in attributes.items()}

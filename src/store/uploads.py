"""Messages that arrive in several parts, joined whatever the order of their arrival.

Rules
- The parts of one message are in one item, so exactly one write completes it, and the caller of
  that write receives the complete message.
- A part is stored once, however often it is sent. An upload lives for `UPLOAD_SECONDS`.

The key has a digest of the principal, as the session's owner is not checked here but by the lease
that the complete message acquires. Does not know what the message is used for.
"""

import secrets
import time

from msgspec import Struct

import log
from errors import ChatError
from store.connections import RedeliveredError
from store.conversations import UPLOAD_PREFIX, session_key
from store.items import Upload, is_expired, load, load_part
from store.table import Item, Table, Update
from wire.requests import Part

# How long the parts of one message may take, from the first one. A browser on a slow line sends
# 128 KB in seconds; a part that comes later is of a client that reconnected and starts over.
UPLOAD_SECONDS = 300


class Uploads(Struct, frozen=True):
    """The uploads of one table. `max_bytes` is the most that one message may have.

    Raises, in every method, besides what it names:
        ChatError: `throttled` or `internal`, a failure of DynamoDB.
    """

    table: Table
    max_bytes: int

    def add(self, session_id: str, principal: str, event_id: str, part: Part) -> str | None:
        """Stores one part; returns the message if it is complete now, or was before.

        Raises:
            RedeliveredError: this event was delivered before, or the upload was already refused.
            ChatError: `too_large`, or `invalid_request` where the part does not match the others.
                Raised for the first such part; later parts raise RedeliveredError.
        """
        key = session_key(session_id, f"{UPLOAD_PREFIX}{log.digest(principal)}#{part.request_id}")
        prefix, size = f"part_{part.number}", len(part.body.encode())
        now, write_id = int(time.time()), secrets.token_hex(8)
        result = self.table.update(
            Update(
                key=key,
                expression=f"SET {prefix}_body = :body, {prefix}_event_id = :event_id, "
                f"{prefix}_write_id = :write_id, part_count = :part_count, "
                "expires_at = if_not_exists(expires_at, :expires_at) ADD received_bytes :size",
                condition="attribute_not_exists(pk) OR (part_count = :part_count "
                "AND (attribute_not_exists(expires_at) OR expires_at > :now) "
                f"AND attribute_not_exists({prefix}_body) "
                "AND attribute_not_exists(refused_event_id) "
                "AND (attribute_not_exists(received_bytes) OR received_bytes <= :max_received))",
                values={
                    ":body": part.body,
                    ":event_id": event_id,
                    ":write_id": write_id,
                    ":part_count": part.count,
                    ":expires_at": now + UPLOAD_SECONDS,
                    ":now": now,
                    ":size": size,
                    ":max_received": self.max_bytes - size,
                },
            )
        )
        item = result.item or {}
        # botocore may have sent the update twice; the second time, the part is there already.
        stored = result.applied or load_part(item, part.number).write_id == write_id
        refusal = None if stored else _refusal(item, event_id, part, now)
        if stored and size > self.max_bytes:
            refusal = _too_large()
        if refusal is not None:
            self._record_refusal(key, event_id)
            raise refusal
        bodies = [load_part(item, number).body for number in range(1, part.count + 1)]
        return None if None in bodies else "".join(str(body) for body in bodies)

    def _record_refusal(self, key: Item, event_id: str) -> None:
        """Marks the upload as refused, by this event.

        Raises:
            RedeliveredError: it was refused before, by another event.
        """
        result = self.table.update(
            Update(
                key=key,
                expression="SET refused_event_id = :event_id",
                # The same event id may be of this very update, sent twice by botocore.
                condition="attribute_exists(pk) AND (attribute_not_exists(refused_event_id) "
                "OR refused_event_id = :event_id)",
                values={":event_id": event_id},
            )
        )
        if not result.applied:
            raise RedeliveredError


def _refusal(item: Item, event_id: str, part: Part, now: int) -> ChatError | None:
    """Returns why the part was not stored, or None if it was stored before.

    Raises:
        RedeliveredError: this event was delivered before, or the upload was already refused.
    """
    upload, existing = load(Upload, item), load_part(item, part.number)
    if upload.refused_event_id or existing.event_id == event_id:
        raise RedeliveredError
    if is_expired(item, now):
        return ChatError(
            "invalid_request",
            f"The parts did not arrive within {UPLOAD_SECONDS} s; send them again as a new "
            "request.",
        )
    if upload.part_count != part.count:
        return ChatError(
            "invalid_request", "All parts of a message must state the same number of parts."
        )
    return None if existing.body is not None else _too_large()


def _too_large() -> ChatError:
    return ChatError("too_large", "The parts together exceed the maximum size of a message.")

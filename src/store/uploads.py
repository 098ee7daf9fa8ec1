"""A question that comes in several frames, put together in any order.

Rules
- The parts of one request stand in one item, so the write that completes them is one and the same
  for everybody: whoever makes it has the whole question.
- A part counts once, however often it comes. Nothing is kept beyond `UPLOAD_SECONDS`.

Does not know what becomes of the question.

The table: partition key `session#<id>`, sort key `upload#<digest of the principal>#<request id>`
(whose session it is, the claim will find out), attributes `parts` (how many), `bytes_so_far`, and
for each part `p<number>` (its text), `e<number>` (the event that it came by) and `w<number>` (the
write that brought it); `refused`, by which event, once it was.
"""

import secrets
import time

from msgspec import Struct

import log
from errors import ChatError
from store.connections import RedeliveredError
from store.conversations import session_key
from store.table import Item, Table, Update
from wire.requests import Part

# How long the parts of one question may take, from the first on. A browser on a slow line sends
# 128 KB in seconds; whoever comes later has lost the connection and begins again.
UPLOAD_SECONDS = 300


class Uploads(Struct, frozen=True):
    """Questions under way. `max_bytes` is what one may have.

    Raises, in every method, beside what it names:
        ChatError: `throttled` or `internal`, DynamoDB's failure.
    """

    table: Table
    max_bytes: int

    def add(self, session_id: str, principal: str, event_id: str, part: Part) -> str | None:
        """Takes one part; gives the question where it is whole now, or was before.

        Raises:
            RedeliveredError: this very event brought its part before, or the question was refused.
            ChatError: `too_large`, or `invalid_request` where it does not fit the others. Once: the
                parts behind it have nothing to say.
        """
        key = session_key(session_id, f"upload#{log.digest(principal)}#{part.request_id}")
        n, size = part.number, len(part.body.encode())
        now, once = int(time.time()), secrets.token_hex(8)
        added = self.table.update(
            Update(
                key=key,
                expression=f"SET p{n} = :text, e{n} = :event, w{n} = :once, parts = :parts, "
                "expires_at = if_not_exists(expires_at, :expires) ADD bytes_so_far :size",
                condition="attribute_not_exists(pk) OR (parts = :parts AND expires_at > :now "
                f"AND attribute_not_exists(p{n}) AND attribute_not_exists(refused) "
                "AND bytes_so_far <= :room)",
                values={
                    ":text": part.body,
                    ":event": event_id,
                    ":once": once,
                    ":parts": part.count,
                    ":expires": now + UPLOAD_SECONDS,
                    ":now": now,
                    ":size": size,
                    ":room": self.max_bytes - size,
                },
            )
        )
        there = added.item or {}
        # botocore may have sent it twice: the second time, this part is there.
        taken = added.done or there.get(f"w{n}") == once
        refusal = None if taken else _refusal(there, event_id, part, now)
        if taken and size > self.max_bytes:
            refusal = _too_large()
        if refusal is not None:
            self._refuse(key, event_id)
            raise refusal
        texts = [there.get(f"p{i}") for i in range(1, part.count + 1)]
        return None if None in texts else "".join(str(text) for text in texts)

    def _refuse(self, key: Item, event_id: str) -> None:
        """Lets the first refusal pass."""
        refused = self.table.update(
            Update(
                key=key,
                expression="SET refused = :event",
                # One that is there already may be this very write, which botocore sent twice.
                condition="attribute_exists(pk) "
                "AND (attribute_not_exists(refused) OR refused = :event)",
                values={":event": event_id},
            )
        )
        if not refused.done:
            raise RedeliveredError


def _refusal(there: Item, event_id: str, part: Part, now: int) -> ChatError | None:
    """What stands against this part; None where it is there already.

    Raises:
        RedeliveredError: nothing more is to be said.
    """
    if "refused" in there or there.get(f"e{part.number}") == event_id:
        raise RedeliveredError
    if there["expires_at"] <= now:
        return ChatError(
            "invalid_request",
            f"The parts took over {UPLOAD_SECONDS} s; begin again, as a new request.",
        )
    if there["parts"] != part.count:
        return ChatError("invalid_request", "The parts disagree on how many they are.")
    return None if f"p{part.number}" in there else _too_large()


def _too_large() -> ChatError:
    return ChatError("too_large", "The parts together are longer than a message may be.")

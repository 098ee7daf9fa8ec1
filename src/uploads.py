"""A question that comes in several frames, put together in any order.

Rules
- The parts of one request stand in one item, so the write that completes them is one and the same
  for everybody: whoever makes it has the whole question.
- A part counts once, however often it comes. Nothing is kept beyond `KEPT_SECONDS`.

Does not know what becomes of the question.

The table: partition key `session#<id>`, sort key `upload#<digest of the principal>#<request id>`
(whose session it is, the claim will find out), attributes `parts` (how many), `bytes_so_far`, and
for each part `p<number>` (its text) and `e<number>` (the event that it came by).
"""

import time

import log
from frames import ChatError, Part
from memory import RedeliveredError, session_key
from records import dataclass
from table import Item, Table, Update

# How long the parts of one question may take, from the first on. A browser on a slow line sends
# 128 KB in seconds; whoever comes later has lost the connection and begins again.
KEPT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Uploads:
    """Questions under way. `max_bytes` is what one may have.

    Raises, in every method, beside what it names:
        ChatError: `throttled` or `internal`, DynamoDB's failure.
    """

    table: Table
    max_bytes: int

    def add(self, session_id: str, principal: str, event_id: str, part: Part) -> str | None:
        """Takes one part; gives the question where it is whole now, or was before.

        Raises:
            RedeliveredError: this very event brought its part before.
            ChatError: `too_large`, or `invalid_request` where it does not fit the others.
        """
        n, size = part.number, len(part.body.encode())
        if size > self.max_bytes:
            raise _too_large()
        now = int(time.time())
        added = self.table.update(
            Update(
                key=session_key(session_id, f"upload#{log.digest(principal)}#{part.request_id}"),
                expression=f"SET p{n} = :text, e{n} = :event, parts = :parts, "
                "expires_at = if_not_exists(expires_at, :expires) "
                "ADD bytes_so_far :size",
                condition="attribute_not_exists(pk) OR (parts = :parts "
                f"AND expires_at > :now AND attribute_not_exists(p{n}) "
                "AND bytes_so_far <= :room)",
                values={
                    ":text": part.body,
                    ":event": event_id,
                    ":parts": part.count,
                    ":expires": now + KEPT_SECONDS,
                    ":now": now,
                    ":size": size,
                    ":room": self.max_bytes - size,
                },
            )
        )
        there = added.item or {}
        if not added.done:
            _refuse(there, event_id, part, now)
        texts = [there.get(f"p{i}") for i in range(1, part.count + 1)]
        return None if None in texts else "".join(str(text) for text in texts)


def _refuse(there: Item, event_id: str, part: Part, now: int) -> None:
    """Raises what stood against this part; returns where it was there already."""
    if there.get(f"e{part.number}") == event_id:
        raise RedeliveredError
    if there["expires_at"] <= now:
        raise ChatError(
            "invalid_request",
            f"The parts took over {KEPT_SECONDS} s; begin again, as a new request.",
        )
    if there["parts"] != part.count:
        raise ChatError("invalid_request", "The parts disagree on how many they are.")
    if f"p{part.number}" not in there:
        raise _too_large()


def _too_large() -> ChatError:
    return ChatError("too_large", "The parts together are longer than a message may be.")

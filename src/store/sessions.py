"""What is asked of a session from outside its running answer: stop, resume, history, clear.

Rules
- A session belongs to the principal who spoke first in it, and nobody else reads, stops, resumes or
  clears it.
- A running answer is asked through the session's head, and tells by itself; one that ended is told
  from what was kept; one whose Lambda crashed is made an unfinished turn of first.

Does not know Bedrock, connections, or how a frame is written.
"""

import time
from contextlib import suppress

from errors import ChatError
from memory import Turn
from store import transcript
from store.conversations import Conversations, session_key
from store.leases import (
    POLL_SECONDS,
    Lease,
    Leases,
    Listener,
    answer_interrupted,
    expired,
    not_owner,
)
from store.table import Item as TableItem
from store.table import Table, Update, Updated
from wire.events import Done, Failed, Item

# A client that reconnects at once may be faster than the message that it sent before: no order is
# promised between two invocations. So long an unknown request may still arrive.
ARRIVAL_SECONDS = 3.0
ARRIVAL_PAUSE_SECONDS = 0.3


class Sessions:
    """The sessions of one table.

    Raises, in every method, beside what it names:
        ChatError: `throttled` or `internal`, DynamoDB's failure.
    """

    def __init__(self, table: Table, conversations: Conversations, leases: Leases) -> None:
        self._table = table
        self._conversations = conversations
        self._leases = leases

    def stop(
        self, session_id: str, principal: str, request_id: str | None, sent_at: int, until: float
    ) -> None:
        """Asks the running answer to end: `request_id`, or the one that was running at `sent_at`.

        A request that is named may not have arrived yet; it is waited for, but not beyond `until`.

        Raises:
            ChatError: `unauthorized`, or `invalid_request` where there is nothing to stop.
        """
        which = "active_request_id = :request" if request_id else "requested_at <= :sent"
        named = {":request": request_id} if request_id else {":sent": sent_at}
        asking = Update(
            key=session_key(session_id, "head"),
            expression="SET stop_requested = active_request_id",
            condition=f"principal = :principal AND attribute_exists(active_request_id) AND {which}",
            values={":principal": principal, **named},
        )
        arrival = min(until, time.monotonic() + ARRIVAL_SECONDS)
        while not (asked := self._asked(asking, principal)).done:
            ended = request_id is None or "ending" in self._request(session_id, request_id)
            if ended or time.monotonic() >= arrival:
                raise ChatError("invalid_request", "There is nothing to stop.")
            time.sleep(ARRIVAL_PAUSE_SECONDS)
        if asked.item and expired(asked.item):
            self._leases.recover_abandoned(session_id, asked.item)
            raise ChatError("invalid_request", "There is nothing to stop.")

    def attach_listener(
        self, session_id: str, principal: str, request_id: str, listener: Listener, until: float
    ) -> bool:
        """Asks the running answer to go on at `listener`: whether it, or somebody else, will.

        Waits until the running answer took notice, or is found to have crashed, or `until` (of
        `time.monotonic`). Where it will not, `replay` has all there is.

        Raises:
            ChatError: `unauthorized`.
        """
        arrival = min(until, time.monotonic() + ARRIVAL_SECONDS)
        while not (asked := self._ask_to_turn(session_id, principal, request_id, listener)).done:
            if asked.item and asked.item.get("active_request_id") == request_id:
                return True  # somebody asked after this one
            ended = "ending" in self._request(session_id, request_id)  # else it began just now
            if ended or time.monotonic() >= arrival:
                return False
            time.sleep(ARRIVAL_PAUSE_SECONDS)
        head = asked.item or {}
        while head.get("active_request_id") == request_id:
            if listener.event_id == head.get("listener_acked") or listener.event_id != head.get(
                "listener"
            ):
                return True
            if expired(head):
                self._leases.recover_abandoned(session_id, head)
                return False
            if time.monotonic() >= until:
                return True  # as far as anybody can tell it still runs
            time.sleep(POLL_SECONDS)
            with suppress(ChatError):  # the running answer may see what is not seen here
                head = self._table.get(session_key(session_id, "head")) or {}
        # Nobody asked after this one: whoever was acknowledged at the end is this one, or nobody.
        return bool(self._request(session_id, request_id).get("listener_acked"))

    def _ask_to_turn(
        self, session_id: str, principal: str, request_id: str, listener: Listener
    ) -> Updated:
        """Leaves word for the running answer, unless somebody did who asked later."""
        return self._asked(
            Update(
                key=session_key(session_id, "head"),
                expression="SET listener = :event, listener_since = :since, "
                "listener_connection_id = :connection, listener_format = :format, listener_from_seq = :seq",
                condition="principal = :principal AND active_request_id = :request "
                "AND (attribute_not_exists(listener_since) OR listener_since <= :since)",
                values={
                    ":principal": principal,
                    ":request": request_id,
                    ":event": listener.event_id,
                    ":since": listener.since,
                    ":connection": listener.connection_id,
                    ":format": listener.format,
                    ":seq": listener.from_seq,
                },
            ),
            principal,
        )

    def _asked(self, asking: Update, principal: str) -> Updated:
        """Writes into the session's head, which is its principal's alone."""
        asked = self._table.update(asking)
        if asked.item and asked.item["principal"] != principal:
            raise not_owner()
        return asked

    def _request(self, session_id: str, request_id: str) -> TableItem:
        return self._table.get(session_key(session_id, f"request#{request_id}")) or {}

    def replay(self, session_id: str, request_id: str) -> tuple[Item, ...]:
        """The items of a request that ended, as they were told. Only after `attach_listener`.

        Raises:
            ChatError: `invalid_request` where nothing is known of it, or no longer.
        """
        kept = self._request(session_id, request_id)
        if not kept:
            raise ChatError("invalid_request", "No such request was taken; please send it.")
        if "ending" not in kept:  # its lease was lost in a way that left no trace of its end
            return (Failed(answer_interrupted()),)
        number = kept.get("turn_number", 0)
        turn = self._conversations.turn(session_id, number) if number else None
        if kept["cuts"] and (turn is None or turn.request_id != request_id):
            raise ChatError("invalid_request", "The answer to that request was forgotten.")
        answer, reasoning = (turn.assistant, turn.reasoning) if turn else ("", "")
        return transcript.load(kept, session_id, answer, reasoning)

    def history(
        self, session_id: str, principal: str, limit: int
    ) -> tuple[tuple[Turn, ...], str | None]:
        """The newest `limit` turns, oldest first, and the request that is being answered, if any.

        Raises:
            ChatError: `unauthorized` for another principal's session.
        """
        recent = self._conversations.recent(session_id, limit)
        # Asked after the turns: whose they are was written before the first of them.
        head = self._table.get(session_key(session_id, "head")) or {}
        if head.get("principal", principal) != principal:
            raise not_owner()
        running = head.get("active_request_id")
        if running and expired(head):
            self._leases.recover_abandoned(session_id, head)
            recent, running = self._conversations.recent(session_id, limit), None
        return tuple(reversed(recent.newest_first)), running

    def clear(self, lease: Lease) -> int:
        """Deletes the session's turns, gives the lease back, and says how many there were."""
        count = self._conversations.delete_turns(lease.session_id)
        self._leases.release(lease, Done(cleared=count))
        return count

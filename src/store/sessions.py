"""Requests about a session from outside its running answer: stop, resume, history, clear.

Rules
- A session belongs to the principal of its first request; no other principal may read, stop, resume
  or clear it.
- A running answer receives signals through the session's head and sends its frames itself. Frames
  of a request that has ended are replayed from what is stored. A request whose Lambda crashed is
  first saved as an unfinished turn.

Does not know Bedrock, connections, or how a frame is encoded.
"""

import time
from contextlib import suppress

from errors import ChatError
from memory import Turn
from store import transcript
from store.conversations import Conversations, session_key
from store.items import Request, SessionHead, load
from store.leases import POLL_SECONDS, Lease, Leases, Listener, lease_expired, not_owner
from store.table import Table, Update, UpdateResult
from store.transcript import answer_interrupted
from wire.events import Done, Failed, ResponseEvent

# Two invocations may run in either order, so a client that reconnects at once may overtake the
# request that it sent before. An unknown request may still arrive for so long.
ARRIVAL_SECONDS = 3.0
ARRIVAL_PAUSE_SECONDS = 0.3


class Sessions:
    """The sessions of one table.

    Raises, in every method, besides what it names:
        ChatError: `throttled` or `internal`, a failure of DynamoDB.
    """

    def __init__(self, table: Table, conversations: Conversations, leases: Leases) -> None:
        self._table = table
        self._conversations = conversations
        self._leases = leases

    def stop(
        self, session_id: str, principal: str, request_id: str | None, sent_at: int, deadline: float
    ) -> None:
        """Signals the running answer to stop: `request_id`, or the one that ran at `sent_at` (ms).

        Waits for a named request that has not arrived yet, until `deadline` (of `time.monotonic`)
        at the latest.

        Raises:
            ChatError: `unauthorized`, or `invalid_request` where no such answer is running.
        """
        which = "active_request_id = :request_id" if request_id else "requested_at_ms <= :sent_at"
        named = {":request_id": request_id} if request_id else {":sent_at": sent_at}
        signal = Update(
            key=session_key(session_id, "head"),
            expression="SET stop_requested = active_request_id",
            condition=f"principal = :principal AND attribute_exists(active_request_id) AND {which}",
            values={":principal": principal, **named},
        )
        arrival_deadline = min(deadline, time.monotonic() + ARRIVAL_SECONDS)
        while not (result := self._signal(signal, principal)).applied:
            ended = request_id is None or self._request(session_id, request_id).terminal_event
            if ended or time.monotonic() >= arrival_deadline:
                raise _nothing_to_stop()
            time.sleep(ARRIVAL_PAUSE_SECONDS)
        head = load(SessionHead, result.item or {})
        if lease_expired(head):
            self._leases.recover_abandoned(session_id, head)
            raise _nothing_to_stop()

    def attach_listener(
        self, session_id: str, principal: str, request_id: str, listener: Listener, deadline: float
    ) -> bool:
        """Signals the running answer to continue on `listener`.

        Returns whether the running answer sends the frames, to this listener or to a newer one;
        otherwise `replay` has all of them. Waits until the running answer has switched, or is found
        to have crashed, or until `deadline` (of `time.monotonic`).

        Raises:
            ChatError: `unauthorized`.
        """
        arrival_deadline = min(deadline, time.monotonic() + ARRIVAL_SECONDS)
        while True:
            result = self._signal_listener(session_id, principal, request_id, listener)
            head = load(SessionHead, result.item or {})
            if result.applied:
                break
            if head.active_request_id == request_id:
                return True  # a newer listener has signaled before
            # Without a terminal event it may have started since the update.
            ended = self._request(session_id, request_id).terminal_event
            if ended or time.monotonic() >= arrival_deadline:
                return False
            time.sleep(ARRIVAL_PAUSE_SECONDS)
        while head.active_request_id == request_id:
            if listener.event_id == head.listener_acked or listener.event_id != head.listener:
                return True
            if lease_expired(head):
                self._leases.recover_abandoned(session_id, head)
                return False
            if time.monotonic() >= deadline:
                return True  # for all that is known here, it is still running
            time.sleep(POLL_SECONDS)
            with suppress(ChatError):  # the running answer may still be able to read the head
                head = self._head(session_id)
        # No newer listener replaced this one, so the one that was served at the end is this one.
        return bool(self._request(session_id, request_id).listener_acked)

    def _signal_listener(
        self, session_id: str, principal: str, request_id: str, listener: Listener
    ) -> UpdateResult:
        """Stores the listener in the session's head, unless a newer one is there."""
        return self._signal(
            Update(
                key=session_key(session_id, "head"),
                expression="SET listener = :event_id, listener_requested_at_ms = :requested_at, "
                "listener_connection_id = :connection_id, listener_format = :format, "
                "listener_from_seq = :from_seq",
                condition="principal = :principal AND active_request_id = :request_id "
                "AND (attribute_not_exists(listener_requested_at_ms) "
                "OR listener_requested_at_ms <= :requested_at)",
                values={
                    ":principal": principal,
                    ":request_id": request_id,
                    ":event_id": listener.event_id,
                    ":requested_at": listener.requested_at,
                    ":connection_id": listener.connection_id,
                    ":format": listener.format,
                    ":from_seq": listener.from_seq,
                },
            ),
            principal,
        )

    def _signal(self, update: Update, principal: str) -> UpdateResult:
        """Updates the session's head, as its owner.

        Raises:
            ChatError: `unauthorized` for another principal's session.
        """
        result = self._table.update(update)
        if result.item is not None and load(SessionHead, result.item).principal != principal:
            raise not_owner()
        return result

    def _head(self, session_id: str) -> SessionHead:
        return load(SessionHead, self._table.get(session_key(session_id, "head")) or {})

    def _request(self, session_id: str, request_id: str) -> Request:
        item = self._table.get(session_key(session_id, f"request#{request_id}"))
        return load(Request, item or {})

    def replay(self, session_id: str, request_id: str) -> tuple[ResponseEvent, ...]:
        """Returns the items of a request that has ended, as they were sent.

        To be called after `attach_listener` has returned False.

        Raises:
            ChatError: `invalid_request` where the request is unknown or its answer deleted.
        """
        item = self._table.get(session_key(session_id, f"request#{request_id}"))
        if item is None:
            raise ChatError("invalid_request", "This request is unknown; send it again.")
        request = load(Request, item)
        if not request.terminal_event:  # its lease was lost without a record of its end
            return (Failed(answer_interrupted()),)
        number = request.turn_number
        turn = self._conversations.turn(session_id, number) if number else None
        if request.delta_lengths and (turn is None or turn.request_id != request_id):
            raise ChatError("invalid_request", "The answer to this request was deleted.")
        answer, reasoning = (turn.assistant, turn.reasoning) if turn else ("", "")
        return transcript.load(request, session_id, answer, reasoning)

    def history(
        self, session_id: str, principal: str, limit: int
    ) -> tuple[tuple[Turn, ...], str | None]:
        """Returns the newest `limit` turns, oldest first, and the running request's id, if any.

        Raises:
            ChatError: `unauthorized` for another principal's session.
        """
        recent = self._conversations.recent(session_id, limit)
        # Read after the turns: the owner was written before the first of them.
        item = self._table.get(session_key(session_id, "head"))
        head = load(SessionHead, item or {})
        if item is not None and head.principal != principal:
            raise not_owner()
        running = head.active_request_id or None
        if running and lease_expired(head):
            self._leases.recover_abandoned(session_id, head)
            recent, running = self._conversations.recent(session_id, limit), None
        return tuple(reversed(recent.newest_first)), running

    def clear(self, lease: Lease) -> int:
        """Deletes the session's turns and releases the lease; returns the number of turns."""
        count = self._conversations.delete_turns(lease.session_id)
        self._leases.release(lease, Done(cleared=count))
        return count


def _nothing_to_stop() -> ChatError:
    return ChatError("invalid_request", "There is nothing to stop.")

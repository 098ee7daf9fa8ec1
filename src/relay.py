"""One answer on its way: from Bedrock to the connection that listens, while it arrives.

Rules
- The first delta is posted at once. While one post is in flight the next deltas gather, and leave
  together; reading from Bedrock never waits for a post.
- Once a second the session's head is read: a stop may be requested, or another connection listens.
- However the stream ends, the result is an `Answer`: everything received is kept.

Does not know what was asked before, or how a turn is saved.
"""

import time
from collections.abc import Sequence

from msgspec import Struct, field

import bedrock_stream
import log
from bedrock_stream import RetryNotice, StreamItem
from errors import ChatError, to_chat_error
from families.types import Prompt, ReasoningDelta, Stopped, TextDelta, Usage
from memory import Turn
from store import transcript
from store.items import StoredTranscript
from store.leases import (
    POLL_SECONDS,
    RENEW_SECONDS,
    Lease,
    Leases,
    LeaseStatus,
    Listener,
)
from wire.events import Done, Failed, Latency, Start
from wire.formats import encoder_for
from ws_sender import Sender

# The stop reasons that are not the model's own; each is also the turn's state.
EARLY_STOPS = frozenset({"deadline", "disconnected", "stopped"})

# How many listeners may attach between an answer's end and its save; more can only be a client that
# reconnects in a loop, and must not hold up the save.
MAX_LATE_LISTENERS = 5


class Answer(Struct, frozen=True, kw_only=True):
    """The result of one call to the model. `end` is the terminal frame.

    `reasoning` is the model's reasoning, shown or not. `latency_ms` has `total` and, where any text
    came, `first_token`, counted from the event's arrival; `wait_ms` is the part of the latter that
    was spent waiting for Bedrock. `deltas` counts the deltas to send, `retries` the repeated calls.
    """

    text: str
    reasoning: str
    state: str
    usage: Usage
    end: Done | Failed
    latency_ms: Latency
    wait_ms: int | None
    deltas: int
    retries: int

    @property
    def was_rejected(self) -> bool:
        """Whether the call failed before any output or usage: nothing is charged."""
        has_output = self.text or self.reasoning or self.usage != Usage()
        return self.state == "error" and not has_output

    @property
    def stop_reason(self) -> str:
        """The stop reason of an answer that succeeded, else ""."""
        return (isinstance(self.end, Done) and self.end.stop_reason) or ""


class StreamOptions(Struct, frozen=True):
    """How to stream: the `deadline` (of `time.monotonic`), what is shown, and when to cancel."""

    deadline: float
    show_reasoning: bool
    cancel_on_disconnect: bool


class TurnSession(Struct):
    """The session of a running turn: its lease, and the connection that listens.

    `started_at` (of `time.monotonic`) is when the event arrived, `acked_event_id` the event of the
    last listener that was switched to, "" while it is the connection that asked.
    """

    sender: Sender
    leases: Leases
    lease: Lease
    started_at: float
    acked_event_id: str = ""
    _poll_at: float = field(default_factory=lambda: time.monotonic() + POLL_SECONDS)
    _renew_at: float = field(default_factory=lambda: time.monotonic() + RENEW_SECONDS)

    def stop_requested(self, text: Sequence[str]) -> bool:
        """Reads the session's head, at most once in `POLL_SECONDS`: whether a stop is requested.

        `text` is the answer so far; a renewal stores it.

        Raises:
            ChatError: the lease was lost to another request; nothing of this turn can be saved.
        """
        now = time.monotonic()
        if now < self._poll_at:
            return False
        self._poll_at = now + POLL_SECONDS
        try:
            is_due = now >= self._renew_at
            status = self._renew(text) if is_due else self.leases.poll(self.lease)
            if status.listener and status.listener.event_id != self.acked_event_id:
                # The resuming request waits for this acknowledgement.
                self._renew(text, status.listener.event_id)
                self.switch_listener(status.listener)
        except ChatError as error:  # a failed read does not end the answer
            log.write("WARN", "session.poll_failed", code=error.code, cause=error.cause)
            return False
        if status.lost:
            raise ChatError("internal", "The answer cannot be saved.", cause="lease lost")
        return status.stop

    def switch_listener(self, listener: Listener) -> None:
        """Sends to another connection from the next `send` on, from the frame that it asked for."""
        self.acked_event_id = listener.event_id
        encoder = encoder_for(listener.format, self.lease.request_id)
        self.sender.attach(listener.connection_id, encoder, listener.from_seq)

    def save(self, turn: Turn, end: Done | Failed, deadline: float) -> None:
        """Saves the turn with its transcript, and releases the lease.

        A listener that attached meanwhile is switched to first, so that it gets the end. After
        `MAX_LATE_LISTENERS` of them the turn is saved all the same: then `resume` can replay it.
        """
        stored = self._transcript(end)
        for _ in range(MAX_LATE_LISTENERS):
            late_listener = self.leases.save(
                self.lease, turn, stored, self.acked_event_id, deadline
            )
            if late_listener is None:
                return
            self.switch_listener(late_listener)
        self.leases.save(self.lease, turn, stored, None, deadline)

    def elapsed_ms(self) -> int:
        """Milliseconds since the event arrived."""
        return round((time.monotonic() - self.started_at) * 1000)

    def _transcript(self, *end: Done | Failed) -> StoredTranscript:
        """The events so far, and the end that is sent next, as they are stored."""
        return transcript.dump([*self.sender.log.events, *end])

    def _renew(self, text: Sequence[str], acked_event_id: str = "") -> LeaseStatus:
        self._renew_at = time.monotonic() + RENEW_SECONDS
        self.sender.assign_sequence()  # what is stored has its place, also where no client listens
        return self.leases.renew(
            self.lease,
            acked_event_id or self.acked_event_id,
            "".join(text),
            transcript.reasoning_in(self.sender.log.events),
            self._transcript(),
        )


class _Accumulator(Struct):
    """What has been received of the answer. `called_ms` is when the model was called."""

    called_ms: int
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    usage: Usage = Usage()
    stop_reason: str = ""
    first_token_ms: int | None = None
    deltas: int = 0
    retries: int = 0

    def add(self, item: StreamItem, elapsed_ms: int) -> None:
        match item:
            case TextDelta():
                self.text.append(item.text)
                if self.first_token_ms is None:
                    self.first_token_ms = elapsed_ms
            case ReasoningDelta():
                self.reasoning.append(item.text)
            case Usage():
                self.usage = self.usage.updated(item)
            case Stopped():
                self.stop_reason = item.reason
            case RetryNotice():
                self.retries += 1


def relay(
    model: bedrock_stream.Model,
    prompt: Prompt,
    start: Start,
    session: TurnSession,
    options: StreamOptions,
) -> Answer:
    """Streams the model's answer to the listener while it arrives.

    `start` is posted while Bedrock is already being called.
    """
    shown = (TextDelta, ReasoningDelta) if options.show_reasoning else (TextDelta,)
    sender, received, failure = session.sender, _Accumulator(session.elapsed_ms()), None
    try:
        with bedrock_stream.open_stream(model, prompt, options.deadline, POLL_SECONDS) as batches:
            sender.send([start])
            for batch in batches:
                for item in batch:
                    received.add(item, session.elapsed_ms())
                deltas = [item for item in batch if isinstance(item, shown)]
                received.deltas += len(deltas)
                sender.send(deltas)
                received.stop_reason = received.stop_reason or _early_stop(
                    session, received, options
                )
                if received.stop_reason:
                    break
    except Exception as error:  # noqa: BLE001 - what was received is saved, whatever failed
        failure = to_chat_error(error)
    if sender.truncated and not failure:
        received.stop_reason = "deadline"  # the answer may be complete, but not all was sent
    if received.stop_reason == "deadline" and not received.text:
        failure = ChatError("deadline", "The model did not answer in time.")
    return _answer(received, failure, session.elapsed_ms(), start.model)


def _early_stop(session: TurnSession, received: _Accumulator, options: StreamOptions) -> str:
    """Why the stream is to be ended here, or "" if it is not."""
    if session.stop_requested(received.text):
        return "stopped"
    if options.cancel_on_disconnect and session.sender.is_undeliverable:
        return "disconnected"
    return ""


def _answer(received: _Accumulator, failure: ChatError | None, total_ms: int, model: str) -> Answer:
    first = received.first_token_ms
    latency = Latency(first_token=first, total=total_ms)
    done = Done(received.stop_reason, received.usage, latency, model)
    return Answer(
        text="".join(received.text),
        reasoning="".join(received.reasoning),
        state=received.stop_reason
        if received.stop_reason in EARLY_STOPS
        else "error"
        if failure
        else "complete",
        usage=received.usage,
        end=Failed(failure) if failure else done,
        latency_ms=latency,
        wait_ms=None if first is None else first - received.called_ms,
        deltas=received.deltas,
        retries=received.retries,
    )

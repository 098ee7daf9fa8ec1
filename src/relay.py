"""One answer on its way: from Bedrock to whoever listens, while it arrives.

Rules
- The first delta leaves at once. While one post is under way the next deltas gather, and leave
  together; reading from Bedrock never waits for a post.
- Once a second the session is looked at: somebody may have asked to stop, or listens elsewhere.
- However it ends, an `Answer` comes of it: what was said is kept.

Does not know what was asked before, or how a turn is saved.
"""

import time
from collections.abc import Mapping

from msgspec import Struct, field

import bedrock_stream
import log
from bedrock_stream import RetryNotice, StreamItem
from errors import ChatError
from families.registry import Prompt, ReasoningDelta, Stopped, TextDelta, Usage
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
from wire.events import Done, Failed, Start
from wire.formats import FORMATS
from ws_sender import Sender

# How a turn is marked by what ended it; every other reason is the model's own.
STATES: Mapping[str, str] = {
    "deadline": "deadline",
    "disconnected": "disconnected",
    "stopped": "stopped",
}


# How many listeners may come between an answer's end and its save; more than one is no accident.
MAX_LATE_LISTENERS = 5


class Answer(Struct, frozen=True, kw_only=True):
    """What came of a call to the model. `end` is the frame that says so.

    `reasoning` is what the model thought, shown or not. `latency_ms` has `total` and, where
    anything was said, `first_token`, since the event arrived; `wait_ms` is the part of the latter
    that was Bedrock's. `deltas` counts what there was to tell, `retries` the calls made again.
    """

    text: str
    reasoning: str
    state: str
    usage: Usage
    end: Done | Failed
    latency_ms: Mapping[str, int]
    wait_ms: int | None
    deltas: int
    retries: int

    @property
    def was_rejected(self) -> bool:
        """Whether the call failed before anything came of it: nothing was paid for."""
        said = self.text or self.reasoning or self.usage != Usage()
        return self.state == "error" and not said

    @property
    def stop_reason(self) -> str:
        """Why it ended, where it ended well."""
        return (isinstance(self.end, Done) and self.end.stop_reason) or ""


class TurnSession(Struct):
    """Where an answer is told, and the session that it is told in.

    `began_at` (of `time.monotonic`) is when the event arrived, `heard` the last listener's event.
    """

    reply: Sender
    leases: Leases
    lease: Lease
    began_at: float
    heard: str = ""
    _look_at: float = field(default_factory=lambda: time.monotonic() + POLL_SECONDS)
    _renew_at: float = field(default_factory=lambda: time.monotonic() + RENEW_SECONDS)

    def stopped(self, said: list[str]) -> bool:
        """Looks at the session, at most once a second: whether the answer is to end.

        Raises:
            ChatError: the lease is another's; nothing more of this can be saved.
        """
        now = time.monotonic()
        if now < self._look_at:
            return False
        self._look_at = now + POLL_SECONDS
        try:
            news = self._renew(said) if now >= self._renew_at else self.leases.poll(self.lease)
            if news.listener and news.listener.event_id != self.heard:
                # Whoever asked waits to hear that somebody is here.
                self._renew(said, news.listener.event_id)
                self.switch_listener(news.listener)
        except ChatError as error:  # an answer does not break off for a look that failed
            log.write("WARN", "session.not_seen", code=error.code, cause=error.cause)
            return False
        if news.lost:
            raise ChatError("internal", "The answer cannot be saved.", cause="lease lost")
        return news.stop

    def switch_listener(self, listener: Listener) -> None:
        """Goes on telling it at another connection, from the next `send` on."""
        self.heard = listener.event_id
        encoder = FORMATS[listener.format](self.lease.request_id)
        self.reply.attach(listener.connection_id, encoder, listener.from_seq)

    def save(self, turn: Turn, end: Done | Failed, until: float) -> None:
        """Saves the turn, with what was told and what is told next. No newcomer is passed over.

        Whoever comes quicker than turns are saved is, in the end: `resume` has it all from then on.
        """
        kept = self.told(end)
        for _ in range(MAX_LATE_LISTENERS):
            late_listener = self.leases.save(self.lease, turn, kept, self.heard, until)
            if late_listener is None:
                return
            self.switch_listener(late_listener)
        self.leases.save(self.lease, turn, kept, None, until)

    def told(self, *end: Done | Failed) -> StoredTranscript:
        """What was told so far, and what is told next, as it is kept."""
        return transcript.dump([*self.reply.sent, *end])

    def _renew(self, said: list[str], heard: str = "") -> LeaseStatus:
        self._renew_at = time.monotonic() + RENEW_SECONDS
        self.reply.assign_sequence()  # what is written down has its place, also where nobody listens
        reasoning = transcript.reasoning_in(self.reply.sent)
        return self.leases.renew(
            self.lease, heard or self.heard, "".join(said), reasoning, self.told()
        )

    def ms(self) -> int:
        """Milliseconds since the event arrived."""
        return round((time.monotonic() - self.began_at) * 1000)


class StreamOptions(Struct, frozen=True):
    """How an answer is to go: until when (of `time.monotonic`), and what is shown and when not."""

    until: float
    show_reasoning: bool
    cancel_on_disconnect: bool


class _Accumulator(Struct):
    """What the model has said so far. `called_ms` is when it was asked."""

    called_ms: int
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    stop_reason: str = ""
    first_token_ms: int | None = None
    deltas: int = 0
    retries: int = 0

    def take(self, event: StreamItem, ms: int) -> None:
        match event:
            case TextDelta():
                self.text.append(event.text)
                if self.first_token_ms is None:
                    self.first_token_ms = ms
            case ReasoningDelta():
                self.reasoning.append(event.text)
            case Usage():
                self.usage = self.usage.updated(event)
            case Stopped():
                self.stop_reason = event.reason
            case RetryNotice():
                self.retries += 1


def relay(
    model: bedrock_stream.Model,
    prompt: Prompt,
    start: Start,
    channel: TurnSession,
    course: StreamOptions,
) -> Answer:
    """Streams the model's answer while it arrives.

    `start` is posted while Bedrock is already being called.
    """
    shown = (TextDelta, ReasoningDelta) if course.show_reasoning else (TextDelta,)
    reply, heard, failure = channel.reply, _Accumulator(channel.ms()), None
    try:
        with bedrock_stream.answering(model, prompt, course.until, POLL_SECONDS) as batches:
            reply.send([start])
            for batch in batches:
                for event in batch:
                    heard.take(event, channel.ms())
                deltas = [event for event in batch if isinstance(event, shown)]
                heard.deltas += len(deltas)
                reply.send(deltas)
                heard.stop_reason = heard.stop_reason or _broken_off(channel, heard, course)
                if heard.stop_reason:
                    break
    except ChatError as error:
        failure = error
    if reply.late and not failure:
        heard.stop_reason = "deadline"  # the answer may be whole, but it was not all told
    if heard.stop_reason == "deadline" and not heard.text:
        failure = ChatError("deadline", "The model did not answer in time.")
    return _answer(heard, failure, channel.ms(), start.model)


def _broken_off(channel: TurnSession, heard: _Accumulator, course: StreamOptions) -> str:
    """Why the answer is to end here, if it is."""
    if channel.stopped(heard.text):
        return "stopped"
    return "disconnected" if channel.reply.gone and course.cancel_on_disconnect else ""


def _answer(heard: _Accumulator, failure: ChatError | None, total_ms: int, model: str) -> Answer:
    first = heard.first_token_ms
    latency = {**({} if first is None else {"first_token": first}), "total": total_ms}
    return Answer(
        text="".join(heard.text),
        reasoning="".join(heard.reasoning),
        state=STATES.get(heard.stop_reason, "error" if failure else "complete"),
        usage=heard.usage,
        end=Failed(failure) if failure else Done(heard.stop_reason, heard.usage, latency, model),
        latency_ms=latency,
        wait_ms=None if first is None else first - heard.called_ms,
        deltas=heard.deltas,
        retries=heard.retries,
    )

"""Sends a request's events to a connection, in order; `posting` makes the HTTP requests.

Rules
- One post at a time: API Gateway promises no order between two.
- The events of one `send` leave in as few frames as they fit (`formats.fit_to_frames`).
- A request has one terminal frame, and nothing after it.
- A client that is gone is a state (`DeliveryState`), not an exception. Later events wait for
  another connection that may attach.
- Back-pressure (429) and temporary failures are retried; meanwhile the next deltas gather. After
  `PATIENCE_SECONDS` the sender stops waiting, but retries the same frame now and then, and at the
  end. A post that is repeated may arrive twice: clients drop duplicates by `seq`.

Does not know the conversation, the model or the principal.
"""

import random
import time
from collections import deque
from collections.abc import Iterable
from enum import Enum

from botocore.exceptions import BotoCoreError

from posting import Poster
from wire.events import Done, Failed, ResponseEvent
from wire.formats import Encoder, fit_to_frames

# How long one frame is retried before its connection counts as unreachable, and the pause before
# the nth retry: doubled each time, with jitter.
PATIENCE_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0

# How often an unreachable connection is tried again, with one post each time.
RETRY_UNREACHABLE_SECONDS = 2.0

# How long one call replays earlier frames to a new connection: then the lease has to be renewed.
CATCH_UP_SECONDS = 1.0

# From here on botocore raises; a redirection is not an answer that a post could follow either.
_FIRST_ERROR_STATUS = 300


class DeliveryState(Enum):
    """Whether frames reach the connection. `UNREACHABLE` may pass; those behind it are final."""

    OK = "ok"
    UNREACHABLE = "unreachable"
    GONE = "gone"
    FORBIDDEN = "forbidden"
    REFUSED = "refused"
    TOO_LARGE = "too large"


# API Gateway, "@connections": 410 the client is gone, 403 we may not post to it, 413 the frame is
# over 32 KB. None gets better by a retry.
_FINAL_STATUS = {
    400: DeliveryState.REFUSED,
    403: DeliveryState.FORBIDDEN,
    410: DeliveryState.GONE,
    413: DeliveryState.TOO_LARGE,
}


# Not the client's doing: the function may not post, or posted what API Gateway does not take.
_FAULTS = {DeliveryState.FORBIDDEN, DeliveryState.REFUSED, DeliveryState.TOO_LARGE}


class EventLog:
    """The events of one request, in order: an event's index in `events` is its frame's `seq`.

    An event gets its index as late as possible: until then it can be joined with its neighbours.
    """

    def __init__(self, events: Iterable[ResponseEvent] = ()) -> None:
        self.events = list(events)
        self._pending: list[ResponseEvent] = []  # without an index
        self._fitted: deque[ResponseEvent] = deque()  # the same, one for each frame

    @property
    def ended(self) -> bool:
        """Whether the terminal event has its index."""
        return bool(self.events) and isinstance(self.events[-1], Done | Failed)

    def add(self, events: Iterable[ResponseEvent]) -> bool:
        """Takes events that have no index yet; whether the terminal event is there by now."""
        self._pending.extend(events)
        if self._pending and self.ended:
            raise RuntimeError("an event after the terminal event")
        return self.ended or any(isinstance(item, Done | Failed) for item in self._pending)

    def assign_next(self) -> bool:
        """Gives the next event, joined as far as one frame holds, its index, if there is one."""
        if not self._fitted:
            self._fitted.extend(fit_to_frames(self._pending))
            self._pending = []
        if self._fitted:
            self.events.append(self._fitted.popleft())
            return True
        return False

    def assign_all(self, *, only_terminal: bool = False) -> bool:
        """Gives all events their index, or the terminal one alone; whether any was dropped."""
        dropped = False
        while self.assign_next():
            if only_terminal and not self.ended:
                self.events.pop()
                dropped = True
        return dropped


class Delivery:
    """One connection, which of the log's events it was sent, and whether frames reach it.

    `posts` counts the calls, failed ones and those of earlier connections included. `error` is the
    last temporary failure.
    """

    def __init__(
        self,
        poster: Poster,
        connection_id: str,
        encoder: Encoder,
        from_seq: int = 0,
        posts: int = 0,
    ) -> None:
        self.encoder = encoder
        self.state = DeliveryState.OK
        self.error = ""
        self.posts = posts
        self.next_seq = 0
        self._poster = poster
        self._connection_id = connection_id
        self.from_seq = from_seq  # the client has the frames before it
        self._unposted: list[str] = []
        self._retry_at = 0.0

    @property
    def outcome(self) -> str:
        """The state in words; of an unreachable connection, the last failure."""
        return self.error if self.state is DeliveryState.UNREACHABLE else self.state.value

    def send_next(self, log: EventLog, deadline: float | None) -> None:
        """Encodes the event at `next_seq`, and posts it unless the client has it.

        A terminal event is sent again to a client that has even that: it asked.
        """
        seq, event = self.next_seq, log.events[self.next_seq]
        client_has_it = seq < self.from_seq
        if client_has_it and isinstance(event, Done | Failed):
            client_has_it, seq = False, self.from_seq
        # Encoded in any case: some formats accumulate the text.
        for frame in list(self.encoder.encode(seq, event)):
            if not client_has_it:
                self.post(frame, deadline)
        self.next_seq += 1

    def post(self, frame: str, deadline: float | None = None) -> None:
        """Posts one frame, with retries up to `PATIENCE_SECONDS`, but not beyond `deadline`."""
        self._unposted.append(frame)
        patience = time.monotonic() + PATIENCE_SECONDS
        self._post_all(patience if deadline is None else min(patience, deadline))

    def retry(self, *, patiently: bool) -> None:
        """Posts what an unreachable connection was not sent: with retries, or one post if due."""
        now = time.monotonic()
        if patiently or now >= self._retry_at:
            self.state = DeliveryState.OK
            self._post_all(now + PATIENCE_SECONDS if patiently else now)

    def _post_all(self, deadline: float) -> None:
        """Posts the unposted frames in order, until all are or `deadline` has come."""
        pause = FIRST_PAUSE_SECONDS
        while self._unposted and self.state is DeliveryState.OK:
            error = self._try_post(self._unposted[0])
            if error is None:
                self._unposted.pop(0)
            elif time.monotonic() + pause > deadline:
                self.state, self.error = DeliveryState.UNREACHABLE, error
                self._retry_at = time.monotonic() + RETRY_UNREACHABLE_SECONDS
            else:
                time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _try_post(self, frame: str) -> str | None:
        """One attempt: None, or a temporary failure in a word. A final one sets the state."""
        self.posts += 1
        try:
            status = self._poster.post(self._connection_id, frame.encode())
        except BotoCoreError as error:
            return type(error).__name__
        if status in _FINAL_STATUS:
            self.state = _FINAL_STATUS[status]
        elif status >= _FIRST_ERROR_STATUS:
            return f"status {status}"
        return None


class Sender:
    """The log of one request's events, and its delivery to one connection at a time.

    From `deadline` (of `time.monotonic`) on nothing is posted before the terminal frame: there is a
    turn to be saved first. `truncated` says that deltas were dropped for that. From
    `backlog_deadline` on only the terminal frame is posted.
    """

    def __init__(
        self,
        poster: Poster,
        connection_id: str,
        encoder: Encoder,
        deadline: float,
        backlog_deadline: float | None = None,
    ) -> None:
        self._poster = poster
        self._deadline = deadline
        self._backlog_deadline = deadline if backlog_deadline is None else backlog_deadline
        self.log = EventLog()
        self.delivery = Delivery(poster, connection_id, encoder)
        self.truncated = False

    @property
    def is_undeliverable(self) -> bool:
        """Whether the client is gone, or frames do not reach it."""
        return self.delivery.state is not DeliveryState.OK

    @property
    def is_refused(self) -> bool:
        """Whether API Gateway refused a frame for another reason than that the client is gone."""
        return self.delivery.state in _FAULTS

    def attach(self, connection_id: str, encoder: Encoder, from_seq: int) -> None:
        """Switches to another connection: the next `send` starts with the frame of `from_seq`."""
        posts = self.delivery.posts
        self.delivery = Delivery(self._poster, connection_id, encoder, from_seq, posts)

    def replay(self, events: Iterable[ResponseEvent], from_seq: int) -> None:
        """Sends the events of a request that has ended, from the frame of `from_seq` on."""
        self.log = EventLog(events)
        self.delivery.from_seq = from_seq
        self.send([])

    def send(self, events: Iterable[ResponseEvent]) -> None:
        """Sends the events, after those that this connection was not sent yet.

        Returns when the last frame was posted; or, where a replay is long, after
        `CATCH_UP_SECONDS`: the next call continues. Where the format has a pause between frames, it
        is spent here: meanwhile the next deltas gather.
        """
        ending = self.log.add(events)
        if ending:
            self.assign_sequence()
        if self.delivery.state is DeliveryState.UNREACHABLE:
            self.delivery.retry(patiently=ending)
        posts_before = self.delivery.posts
        self._post_events(ending=ending)
        pause = self.delivery.encoder.pause
        if pause and self.delivery.posts > posts_before and not ending:
            time.sleep(pause)

    def post(self, frame: str) -> None:
        """Posts a frame that is no event of the request's, such as a pong."""
        self.delivery.post(frame)

    def assign_sequence(self) -> None:
        """Gives every event its `seq`: a turn is about to be saved, or its end to be sent.

        Deltas that came too late to be posted are dropped.
        """
        too_late = time.monotonic() >= self._deadline and not self.is_undeliverable
        if self.log.assign_all(only_terminal=too_late):
            self.truncated = True

    def _post_events(self, *, ending: bool) -> None:
        """Posts, in order, what this connection was not sent."""
        log, delivery = self.log, self.delivery
        catch_up_deadline = time.monotonic() + CATCH_UP_SECONDS
        while delivery.state is DeliveryState.OK:
            now = time.monotonic()
            is_replay = delivery.next_seq < len(log.events)
            if not ending and (now >= self._deadline or (is_replay and now >= catch_up_deadline)):
                break
            if (
                ending and now >= self._backlog_deadline
            ):  # the terminal frame alone; resume has the rest
                delivery.next_seq = max(delivery.next_seq, len(log.events) - 1)
            if delivery.next_seq == len(log.events) and not log.assign_next():
                return
            delivery.send_next(log, None if ending else self._deadline)
        if time.monotonic() >= self._deadline:
            self.assign_sequence()

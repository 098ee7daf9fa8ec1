"""Tells a connection a request's items; the posts themselves are made by `posting`.

Rules
- One post at a time, in order: API Gateway promises no order between two.
- What is sent in one call leaves in as few frames as it fits (`formats.fitted`).
- A request has one terminal frame, and nothing after it.
- A client that is gone is a fact (`gone`), not an exception. What is sent after it is held for
  another connection that may come (`attach`).
- Back-pressure (429) and passing failures are waited out; meanwhile the next deltas gather. Where
  that takes too long nobody is waited for, but the same frame is tried again now and then, and at
  the end. A post that is repeated may arrive twice: clients drop by `seq`.

Does not know what is being said, or by whom.
"""

import random
import time
from collections import deque
from collections.abc import Iterable, Iterator

from botocore.exceptions import BotoCoreError

from posting import Poster
from wire.events import Done, Failed, Item
from wire.formats import Encoder, fit_to_frames

# How long one frame is tried before its client counts as gone, and the pause before the nth try.
PATIENCE_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0

# How often one that counts as gone for a trouble that may pass is tried again, once each time.
RETRY_GONE_SECONDS = 2.0

# How long one call tells again what was told elsewhere: then somebody has to look after the lease.
CATCH_UP_SECONDS = 1.0

# From here on botocore raises: also a redirection is none that a post could follow.
_FIRST_REFUSAL = 300

# API Gateway, "@connections": 410 the client is gone, 403 we may not post to it, 413 the frame is
# over 32 KB. None gets better by trying again.
_FINAL_STATUS = {400: "refused", 403: "forbidden", 410: "gone", 413: "too large"}


class Sender:
    """Tells one request's items to one connection at a time.

    `sent` are the items so far; the place of one is its frame's `seq`. `delivery` is "ok", or says
    why nothing arrives. `posts` counts the calls made. `ended` says whether the terminal frame is
    among what was told; after it, `send` takes nothing more. From `until` (of `time.monotonic`) on
    nothing is posted before the terminal frame is sent: there is a turn to be saved first. `late`
    says that something was left out for that. From `last` on only that frame is posted.
    """

    def __init__(
        self,
        poster: Poster,
        connection_id: str,
        encoder: Encoder,
        until: float,
        last: float | None = None,
    ) -> None:
        self._poster = poster
        self._connection_id = connection_id
        self._encoder = encoder
        self._until = until
        self._last = until if last is None else last
        self._held: list[Item] = []  # has no place yet
        self._fit: deque[Item] = deque()  # the same, one for each frame
        self._next = 0  # of what was told, the first that this connection has not been told
        self._from_seq = 0  # before it, this connection wants nothing
        self._unposted: list[str] = []
        self._again_at = 0.0
        self.sent: list[Item] = []
        self.delivery = "ok"
        self.posts = 0
        self.late = False

    @property
    def gone(self) -> bool:
        """Whether nobody listens, or nothing gets through."""
        return self.delivery != "ok"

    @property
    def ended(self) -> bool:
        """Whether the terminal frame is among what was told."""
        return bool(self.sent) and isinstance(self.sent[-1], Done | Failed)

    def send(self, items: Iterable[Item]) -> None:
        """Tells the items, and first what this connection has not been told yet.

        Returns when the last frame was taken; or, where much is to be told again, after a while:
        the next call goes on. Where the format has a pause, it is spent here: meanwhile the next
        deltas gather.
        """
        self._held.extend(items)
        if self._held and self.ended:
            raise RuntimeError("a frame after the terminal frame")
        ending = self.ended or any(isinstance(item, Done | Failed) for item in self._held)
        if ending:
            self.assign_sequence()
        if self.gone and self.delivery not in _FINAL_STATUS.values():
            self._try_again(ending=ending)
        posts_before = self.posts
        self._flow(ending=ending)
        if self._encoder.pause and self.posts > posts_before and not ending:
            time.sleep(self._encoder.pause)

    def assign_sequence(self) -> None:
        """Gives what is held its place: there is a turn to be saved, or an end to be told.

        What came too late to be posted is left out, but for the end.
        """
        too_late = time.monotonic() >= self._until and not self.gone
        while (item := self._taken()) is not None:
            if too_late and not isinstance(item, Done | Failed):
                self.late = True
            else:
                self.sent.append(item)

    def _taken(self) -> Item | None:
        """The next item that fits a frame, out of what is held."""
        if not self._fit:
            self._fit.extend(fit_to_frames(self._held))
            self._held = []
        return self._fit.popleft() if self._fit else None

    def attach(self, connection_id: str, encoder: Encoder, from_seq: int) -> None:
        """Goes on at another connection: the next `send` tells it what it lacks from `from_seq` on.

        A terminal frame is told again to whoever has heard even that: they asked.
        """
        self._connection_id, self._encoder = connection_id, encoder
        self._next, self._from_seq = 0, from_seq
        self.delivery, self._unposted = "ok", []

    def _flow(self, *, ending: bool) -> None:
        """Encodes and posts, in order, what this connection has not been told."""
        pauses_at = time.monotonic() + CATCH_UP_SECONDS
        while not self.gone:
            now = time.monotonic()
            again = self._next < len(self.sent)
            if not ending and (now >= self._until or (again and now >= pauses_at)):
                break
            if ending and now >= self._last:
                self._next = max(self._next, len(self.sent) - 1)  # the end; resume has the rest
            if self._next == len(self.sent):
                item = self._taken()
                if item is None:
                    return
                self.sent.append(item)
            for frame in self._encoded(self._next):
                self.post(frame, None if ending else self._until)
            self._next += 1
        if time.monotonic() >= self._until:
            self.assign_sequence()

    def _encoded(self, seq: int) -> Iterator[str]:
        """The frames of one item, unless this connection has them."""
        item = self.sent[seq]
        heard = seq < self._from_seq
        if heard and isinstance(item, Done | Failed):
            heard, seq = False, self._from_seq
        # Encoded in any case: some formats add up what was said.
        frames = list(self._encoder.encode(seq, item))
        yield from [] if heard else frames

    def post(self, frame: str, until: float | None = None) -> None:
        """Posts one frame as it is, trying again for a while, but not beyond `until`."""
        self._unposted.append(frame)
        patience = time.monotonic() + PATIENCE_SECONDS
        self._post_all(patience if until is None else min(patience, until))

    def _try_again(self, *, ending: bool) -> None:
        """Sees whether the trouble has passed: at the end patiently, else with a post now and then.

        What waits is posted in its order, and what gathered behind it follows.
        """
        now = time.monotonic()
        if ending or now >= self._again_at:
            self.delivery = "ok"
            self._post_all(now + PATIENCE_SECONDS if ending else now)

    def _post_all(self, patience: float) -> None:
        """Posts what waits, in order, until it is done or `patience` (of `time.monotonic`) is."""
        pause = FIRST_PAUSE_SECONDS
        while self._unposted and not self.gone:
            trouble = self._try(self._unposted[0])
            if trouble is None:
                self._unposted.pop(0)
            elif time.monotonic() + pause > patience:
                self.delivery = trouble
                self._again_at = time.monotonic() + RETRY_GONE_SECONDS
            else:
                time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _try(self, frame: str) -> str | None:
        """One attempt: None where it went, or in a word the trouble that may pass."""
        self.posts += 1
        try:
            status = self._poster.post(self._connection_id, frame.encode())
        except BotoCoreError as error:
            return type(error).__name__
        if status in _FINAL_STATUS:
            self.delivery = _FINAL_STATUS[status]
        elif status >= _FIRST_REFUSAL:
            return f"status {status}"
        return None

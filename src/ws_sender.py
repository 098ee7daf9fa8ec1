"""Tells a connection a request's items; the posts themselves are made by `posting`.

Rules
- One post at a time, in order: API Gateway promises no order between two.
- What is sent in one call leaves in as few frames as it fits (`formats.fitted`).
- A request has one terminal frame, and nothing after it.
- A client that is gone is a fact (`gone`), not an exception. What is sent after it is held for
  another connection that may come (`listen`).
- Back-pressure (429) and passing failures are waited out, within a bound. A post that is repeated
  may arrive twice: clients drop by `seq`.

Does not know what is being said, or by whom.
"""

import random
import time
from collections.abc import Iterable

from botocore.exceptions import BotoCoreError

from formats import Encoder, fitted
from frames import Done, Failed, Item
from posting import Poster

# How long one frame is tried before its client counts as gone, and the pause before the nth try.
PATIENCE_SECONDS = 5.0
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0

# From here on botocore raises: also a redirection is none that a post could follow.
_FIRST_REFUSAL = 300

# API Gateway, "@connections": 410 the client is gone, 403 we may not post to it, 413 the frame is
# over 32 KB. None gets better by trying again.
_FINAL_STATUS = {400: "refused", 403: "forbidden", 410: "gone", 413: "too large"}


class Sender:
    """Tells one request's items to one connection at a time.

    `told` are the items so far; the place of one is its frame's `seq`. `delivery` is "ok" until it
    fails for good, and then says why. `posts` counts the calls made. `ended` says whether the
    terminal frame was sent; after it, `send` refuses. From `until` (of `time.monotonic`) on, only a
    terminal frame is posted: there is a turn to be saved first. `late` says that something was left
    out for that.
    """

    def __init__(
        self,
        poster: Poster,
        connection_id: str,
        encoder: Encoder,
        until: float,
    ) -> None:
        self._poster = poster
        self._connection_id = connection_id
        self._encoder = encoder
        self._until = until
        self._held: list[Item] = []
        self.told: list[Item] = []
        self.delivery = "ok"
        self.posts = 0
        self.ended = False
        self.late = False

    @property
    def gone(self) -> bool:
        """Whether nobody listens any more."""
        return self.delivery != "ok"

    def send(self, items: Iterable[Item]) -> None:
        """Encodes the items and posts the frames; returns when the last was taken.

        Where the format has a pause, it is spent here: meanwhile the next deltas gather.
        """
        self._held.extend(items)
        if self.gone and not any(isinstance(item, Done | Failed) for item in self._held):
            return
        posts_before = self.posts
        self._tell(late_from=self._until)
        if self._encoder.pause and self.posts > posts_before and not self.ended:
            time.sleep(self._encoder.pause)

    def settle(self) -> None:
        """Gives what is held for nobody its place, for there is a turn to be saved."""
        self._tell(late_from=None)

    def listen(self, connection_id: str, encoder: Encoder, from_seq: int) -> None:
        """Goes on at another connection: first what was told, from `from_seq` on, then what is new.

        A terminal frame is told again to whoever has heard even that: they asked.
        """
        self._connection_id, self._encoder, self.delivery = connection_id, encoder, "ok"
        for seq, item in enumerate(self.told):
            again = self.ended and item is self.told[-1]
            # Encoded in any case: some formats add up what was said.
            for frame in encoder.encode(max(seq, from_seq) if again else seq, item):
                if seq >= from_seq or again:
                    self.post(frame, None if self.ended else self._until)
        self._tell(late_from=self._until)

    def _tell(self, late_from: float | None) -> None:
        """Posts what is held. After `late_from` only the end is told."""
        held, self._held = self._held, []
        for item in fitted(held):
            if self.ended:
                raise RuntimeError("a frame after the terminal frame")
            self.ended = isinstance(item, Done | Failed)
            in_time = late_from is None or time.monotonic() < late_from
            if not (self.ended or in_time or self.gone):
                self.late = True
                continue
            seq = len(self.told)
            self.told.append(item)
            for frame in self._encoder.encode(seq, item):
                self.post(frame, None if self.ended else self._until)

    def post(self, frame: str, until: float | None = None) -> None:
        """Posts one frame as it is, trying again for a while, but not beyond `until`."""
        patience = time.monotonic() + PATIENCE_SECONDS
        if until is not None:
            patience = min(patience, until)
        pause = FIRST_PAUSE_SECONDS
        while not self.gone:
            trouble = self._try(frame)
            if trouble is None:
                return
            if time.monotonic() + pause > patience:
                self.delivery = trouble
                return
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

"""The three ways to write a request's items as frames: `events`, `text` and `seed`. Pure.

Rules
- In `events`, the frames of one request count from `seq` 0 without a gap.
- No frame is longer than 32 KB of UTF-8, and no character is ever divided.
- A format is one row of `FORMATS`; an encoder serves one request and keeps what that needs.

Does not know how a frame travels, or whether anybody still listens.
"""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Protocol

from frames import ChatError, Done, Failed, Item, PastTurn, Start
from model_families import ReasoningDelta, TextDelta, Usage
from settings import MAX_FRAME_BYTES

# How much text is joined: plain text of that length fits one frame, whatever the ids beside it.
MAX_JOINED_CHARACTERS = MAX_FRAME_BYTES - 1024


def coalesce(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, neighbouring deltas joined: what gathers during one post leaves as one."""
    for kind, run in groupby(items, type):
        if kind is TextDelta or kind is ReasoningDelta:
            text = "".join(item.text for item in run)  # type: ignore[union-attr]
            for start in range(0, len(text), MAX_JOINED_CHARACTERS):
                yield kind(text[start : start + MAX_JOINED_CHARACTERS])
        else:
            yield from run


def split(text: str, room: int, cost: Callable[[str], int]) -> Iterator[str]:
    """`text` in the longest pieces whose `cost` is at most `room`; never inside a code point."""
    while text:
        if cost(text) <= room:
            yield text
            return
        # A piece of n characters costs at least n, so the search may stop at `room`.
        fits = bisect_right(range(1, room + 1), room, key=lambda n: cost(text[:n]))
        yield text[:fits]
        text = text[fits:]


def json_bytes(value: Any) -> int:
    """How long `value` is as JSON in UTF-8."""
    return len(_dump(value).encode())


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Encoder(Protocol):
    """Turns the items of one request into frames, in order, as text.

    `pause` is how many seconds frames should lie apart, where it suits their reader; what arrives
    meanwhile is joined.
    """

    pause: float

    def encode(self, item: Item) -> Iterator[str]:
        """The frames for one item: none where the format does not show it."""
        ...


class EventsEncoder:
    """`?format=events`: every item as JSON objects with `type`, `request_id` and `seq`."""

    pause = 0.0

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._seq = 0

    def encode(self, item: Item) -> Iterator[str]:  # noqa: D102 - see Encoder
        match item:
            case Start():
                yield self._frame("start", session_id=item.session_id, model=item.model)
            case TextDelta():
                yield from self._texts("delta", item.text)
            case ReasoningDelta():
                yield from self._texts("reasoning", item.text)
            case Done():
                yield self._frame("done", **_done_fields(item))
            case Failed():
                yield self._frame("error", **_error_fields(item.error))
            case _:
                yield from self._turns(item)

    def _frame(self, kind: str, **fields: Any) -> str:
        frame = {"type": kind, "request_id": self._request_id, "seq": self._seq, **fields}
        self._seq += 1
        return _dump(frame)

    def _room(self, kind: str, **fields: Any) -> int:
        """What a frame of this kind leaves for its contents, whatever its `seq`."""
        widest = {"type": kind, "request_id": self._request_id, "seq": 10**9, **fields}
        return MAX_FRAME_BYTES - json_bytes(widest)

    def _texts(self, kind: str, text: str) -> Iterator[str]:
        room = self._room(kind, text="")
        for piece in split(text, room, lambda piece: json_bytes(piece) - len('""')):
            yield self._frame(kind, text=piece)

    def _turns(self, turns: tuple[PastTurn, ...]) -> Iterator[str]:
        """As many turns a frame as fit. A turn too long for one goes on in the next entry."""
        room = self._room("history", turns=[])
        batch: list[dict[str, Any]] = []
        used = 0
        for entry in (entry for turn in turns for entry in _entries(turn, room)):
            size = json_bytes(entry) + len(",")
            if batch and used + size > room:
                yield self._frame("history", turns=batch)
                batch, used = [], 0
            batch.append(entry)
            used += size
        yield self._frame("history", turns=batch)


def _entries(turn: PastTurn, room: int) -> Iterator[dict[str, Any]]:
    """A turn in pieces of at most `room` bytes: the same `turn` number, texts to be joined."""
    bare = {
        "turn": turn.turn,
        "request_id": turn.request_id,
        "created_at": turn.created_at,
        "state": turn.state,
        "user": "",
        "assistant": "",
    }
    whole = {**bare, "user": turn.user, "assistant": turn.assistant}
    if json_bytes(whole) + len(",") <= room:
        yield whole
        return
    left = room - json_bytes(bare) - len(",")
    for name, text in (("user", turn.user), ("assistant", turn.assistant)):
        for piece in split(text, left, lambda piece: json_bytes(piece) - len('""')):
            yield {**bare, name: piece}


def _done_fields(done: Done) -> dict[str, Any]:
    usage = done.usage and {
        name: count for name in Usage.__slots__ if (count := getattr(done.usage, name)) is not None
    }
    fields = {
        "stop_reason": done.stop_reason,
        "usage": usage,
        "latency_ms": done.latency_ms,
        "model": done.model,
        "cleared": done.cleared,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _error_fields(error: ChatError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message, "retryable": error.retryable}


class TextEncoder:
    """`?format=text`: the bare new text, for people who read a terminal.

    What is not text of the answer stands in brackets: an error, an end that is worth knowing of.
    wscat begins a line for each frame, and four lines of a few words a second read better than
    fifty of one.
    """

    pause = 0.25

    def __init__(self, request_id: str) -> None:
        del request_id  # nothing here has room for it
        self._said = False

    def encode(self, item: Item) -> Iterator[str]:  # noqa: D102 - see Encoder
        match item:
            case TextDelta():
                self._said = True
                yield from self._lines(item.text)
            case Failed():
                yield f"[error {item.error.code}: {item.error.message}]"
            case Done(cleared=int()):
                yield f"[cleared {item.cleared}]"
            case Done():
                usual = item.stop_reason in (None, "end_turn", "stop_sequence")
                if not (usual and self._said):
                    yield f"[{item.stop_reason or 'done'}]"
            case tuple():
                self._said = bool(item)
                for turn in item:
                    yield from self._lines(f"you: {turn.user}\nmodel: {turn.assistant}")
            case _:
                return

    @staticmethod
    def _lines(text: str) -> Iterator[str]:
        yield from split(text, MAX_FRAME_BYTES, lambda piece: len(piece.encode()))


class SeedEncoder:
    """`?format=seed`: the frames of the sample that this replaces, all the text so far in each.

    Such a frame cannot outgrow 32 KB, so a longer answer is saved whole but ends here as an error.
    """

    pause = 0.0

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._text = ""
        self._fits = True

    def encode(self, item: Item) -> Iterator[str]:  # noqa: D102 - see Encoder
        match item:
            case TextDelta() if self._fits:
                self._text += item.text
                frame = self._frame("proceeding", self._text)
                self._fits = len(frame.encode()) <= MAX_FRAME_BYTES
                if self._fits:
                    yield frame
            case tuple():
                self._text = "\n".join(f"you: {t.user}\nmodel: {t.assistant}" for t in item)
                frame = self._frame("completed", self._text)
                self._fits = len(frame.encode()) <= MAX_FRAME_BYTES
            case Done() if self._fits:
                yield self._frame("completed", self._text)
            case Done():
                yield self._frame(
                    "error", "The answer is longer than this format can carry; it was saved whole."
                )
            case Failed():
                yield self._frame("error", item.error.message)
            case _:
                return

    def _frame(self, status: str, msg: str) -> str:
        return _dump({"request_id": self._request_id, "msg": msg, "status": status})


FORMATS: Mapping[str, Callable[[str], Encoder]] = {
    "events": EventsEncoder,
    "text": TextEncoder,
    "seed": SeedEncoder,
}
DEFAULT_FORMAT = "events"

# The seed's own sign of life, asked and answered outside JSON.
SEED_PING, SEED_PONG = "__ping__", "__pong__"
PONG = _dump({"type": "pong"})

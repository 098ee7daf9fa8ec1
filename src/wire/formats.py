"""The three ways to write a request's items as frames: `events`, `text` and `seed`. Pure.

Rules
- `fit_to_frames` makes items that need one frame each, so an item's place is its frame's `seq`.
- No frame is longer than 32 KB of UTF-8, and no character is ever divided.
- A format is one row of `FORMATS`; an encoder serves one request, from its first item on, and
  keeps what that needs.

Does not know how a frame travels, or whether anybody still listens.
"""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Protocol

from msgspec.structs import replace

from errors import ChatError
from families.types import ReasoningDelta, TextDelta, Usage
from settings import MAX_FRAME_BYTES
from wire.events import Done, Failed, Item, PastTurn, Start

# What a frame's contents may have: the rest is for the names around them, two ids of up to 128
# characters and numbers.
PAYLOAD_BYTES = MAX_FRAME_BYTES - 1024

# What one character costs at most, as "\u001f". Deltas are short, and need not be measured.
MAX_ESCAPED_BYTES = 6


# -- from items to items that fit ------------------------------------------------------------------


def fit_to_frames(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, each fit for one frame: what gathers during one post leaves as one.

    Neighbouring deltas are joined, long ones split; a long history is told in several pages.
    """
    for kind, run in groupby(items, type):
        if kind is TextDelta or kind is ReasoningDelta:
            text = "".join(item.text for item in run)  # type: ignore[union-attr]
            yield from map(kind, split(text, PAYLOAD_BYTES, _text_bytes))
        elif kind is tuple:
            for turns in run:
                yield from _pages(turns)  # type: ignore[arg-type]
        else:
            yield from run


def _pages(turns: tuple[PastTurn, ...]) -> Iterator[tuple[PastTurn, ...]]:
    """As many turns a page as fit. A turn too long for one goes on in the next entry."""
    page: list[PastTurn] = []
    used = 0
    for entry in (entry for turn in turns for entry in _entries(turn)):
        size = json_bytes(_turn_fields(entry)) + len(",")
        if page and used + size > PAYLOAD_BYTES:
            yield tuple(page)
            page, used = [], 0
        page.append(entry)
        used += size
    yield tuple(page)


def _entries(turn: PastTurn) -> Iterator[PastTurn]:
    """A turn in pieces that fit: the same `turn` number, texts to be joined."""
    if json_bytes(_turn_fields(turn)) + len(",") <= PAYLOAD_BYTES:
        yield turn
        return
    bare = replace(turn, user="", assistant="")
    left = PAYLOAD_BYTES - json_bytes(_turn_fields(bare)) - len(",")
    for piece in split(turn.user, left, _text_bytes):
        yield replace(bare, user=piece)
    for piece in split(turn.assistant, left, _text_bytes):
        yield replace(bare, assistant=piece)


def split(text: str, room: int, cost: Callable[[str], int]) -> Iterator[str]:
    """`text` in the longest pieces whose `cost` is at most `room`; never inside a code point.

    No `cost` is more than `MAX_ESCAPED_BYTES` for a character.
    """
    while text:
        if len(text) * MAX_ESCAPED_BYTES <= room or cost(text) <= room:
            yield text
            return
        # A piece of n characters costs at least n, so the search may stop at `room`.
        fits = bisect_right(range(1, room + 1), room, key=lambda n: cost(text[:n]))
        yield text[:fits]
        text = text[fits:]


def json_bytes(value: Any) -> int:
    """How long `value` is as JSON in UTF-8."""
    return len(_dump(value).encode())


def _text_bytes(text: str) -> int:
    return json_bytes(text) - len('""')


# Made once: `json.dumps` makes a new encoder for each call that has a wish.
_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


# -- from items to frames --------------------------------------------------------------------------


class Encoder(Protocol):
    """Turns the items of one request into frames, in order, as text.

    `pause` is how many seconds frames should lie apart, where it suits their reader; what arrives
    meanwhile is joined.
    """

    pause: float

    def encode(self, seq: int, item: Item) -> Iterator[str]:
        """The frames for the item at that place: none where the format does not show it."""
        ...


class EventsEncoder:
    """`?format=events`: every item as one JSON object with `type`, `request_id` and `seq`."""

    pause = 0.0

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id

    def encode(self, seq: int, item: Item) -> Iterator[str]:  # noqa: D102 - see Encoder
        kind, fields = _named(item)
        yield _dump({"type": kind, "request_id": self._request_id, "seq": seq, **fields})


def _named(item: Item) -> tuple[str, dict[str, Any]]:
    match item:
        case Start():
            return "start", {"session_id": item.session_id, "model": item.model}
        case TextDelta():
            return "delta", {"text": item.text}
        case ReasoningDelta():
            return "reasoning", {"text": item.text}
        case Done():
            return "done", done_fields(item)
        case Failed():
            return "error", error_fields(item.error)
        case turns:
            return "history", {"turns": [_turn_fields(turn) for turn in turns]}


def _turn_fields(turn: PastTurn) -> dict[str, Any]:
    return {name: getattr(turn, name) for name in PastTurn.__struct_fields__}


def done_fields(done: Done) -> dict[str, Any]:
    """A good end as plain values; what is None is left out."""
    usage = done.usage and {
        name: count
        for name in Usage.__struct_fields__
        if (count := getattr(done.usage, name)) is not None
    }
    fields = {
        "stop_reason": done.stop_reason,
        "usage": usage,
        "latency_ms": done.latency_ms,
        "model": done.model,
        "cleared": done.cleared,
        "running": done.running,
    }
    return {name: value for name, value in fields.items() if value is not None}


def error_fields(error: ChatError) -> dict[str, Any]:
    """What a client is told of an error, as plain values."""
    fields = {"code": error.code, "message": error.message, "retryable": error.retryable}
    return fields if error.retry_at is None else {**fields, "retry_at": error.retry_at}


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

    def encode(self, seq: int, item: Item) -> Iterator[str]:  # noqa: D102 - see Encoder
        del seq
        match item:
            case TextDelta():
                self._said = True
                yield item.text
            case Failed():
                yield f"[error {item.error.code}: {item.error.message}]"
            case Done(cleared=int()):
                yield f"[cleared {item.cleared}]"
            case Done():
                usual = item.stop_reason in (None, "end_turn", "stop_sequence")
                if not (usual and self._said):
                    yield f"[{item.stop_reason or 'done'}]"
            case tuple():
                self._said = self._said or bool(item)
                for turn in item:
                    yield _plain(turn)
            case _:
                return


def _plain(turn: PastTurn) -> str:
    speakers = (("you", turn.user), ("model", turn.assistant))
    return "\n".join(f"{name}: {text}" for name, text in speakers if text)


class SeedEncoder:
    """`?format=seed`: the frames of the sample that this replaces, all the text so far in each.

    Such a frame cannot outgrow 32 KB, so a longer answer is saved whole but ends here as an error.
    """

    pause = 0.0

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._text = ""
        self._fits = True

    def encode(self, seq: int, item: Item) -> Iterator[str]:  # noqa: D102 - see Encoder
        del seq
        match item:
            case TextDelta() if self._fits:
                self._text += item.text
                frame = self._frame("proceeding", self._text)
                self._fits = len(frame.encode()) <= MAX_FRAME_BYTES
                if self._fits:
                    yield frame
            case tuple():
                self._text = "\n".join(filter(None, [self._text, *map(_plain, item)]))
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

# The seed's own sign of life: asked as it is, and answered as a JSON text, for its client looks for
# the word behind a quotation mark, and takes whatever else comes for a frame.
SEED_PING, SEED_PONG = "__ping__", '"__pong__"'
PONG = _dump({"type": "pong"})

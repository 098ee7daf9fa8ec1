"""The three formats in which a request's items are written: `events`, `text` and `seed`. Pure.

Rules
- `fit_to_frames` makes items that need one frame each, so an item's position is its frame's `seq`.
- No frame is longer than 32 KB of UTF-8, and no character is ever split.
- A format is one row of `FORMATS`. An encoder serves one request, from its first item on, and holds
  the state that this needs.

Does not know how a frame travels, or whether a client is connected.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Literal, Protocol, assert_never

import msgspec
from msgspec.structs import asdict, replace

from families.types import ReasoningDelta, TextDelta
from settings import MAX_FRAME_BYTES
from wire.events import (
    DeltaFrame,
    Done,
    DoneFrame,
    ErrorFrame,
    EventFrame,
    Failed,
    HistoryFrame,
    HistoryPage,
    PastTurn,
    PongFrame,
    ReasoningFrame,
    ResponseEvent,
    SeedFrame,
    Start,
    StartFrame,
)

# The payload of a frame; the rest is for field names, two ids of up to 128 characters and numbers.
PAYLOAD_BYTES = MAX_FRAME_BYTES - 1024

# The most bytes that JSON needs for one character, as in "\u001f". Short texts need no measuring.
MAX_ESCAPED_BYTES = 6

# One encoder for all: a call of `msgspec.json.encode` makes its own.
_encode = msgspec.json.Encoder().encode


# -- from items to items that fit ------------------------------------------------------------------


def fit_to_frames(items: Iterable[ResponseEvent]) -> Iterator[ResponseEvent]:
    """Yields the same content as items that each fit one frame.

    Consecutive deltas of one kind are joined, so what arrives during one post leaves as one frame.
    Long deltas are split, and a long history becomes several pages.
    """
    for kind, run in groupby(items, type):
        if kind is TextDelta or kind is ReasoningDelta:
            text = "".join(item.text for item in run)  # type: ignore[union-attr]
            yield from map(kind, split(text, PAYLOAD_BYTES, _text_bytes))
        elif kind is HistoryPage:
            for page in run:
                yield from _pages(page.turns)  # type: ignore[union-attr]
        else:
            yield from run


def _pages(turns: tuple[PastTurn, ...]) -> Iterator[HistoryPage]:
    """As many turns in a page as fit; a turn that is too long for one page is divided first."""
    page: list[PastTurn] = []
    used = 0
    for entry in (entry for turn in turns for entry in _entries(turn)):
        size = json_bytes(entry) + len(",")
        if page and used + size > PAYLOAD_BYTES:
            yield HistoryPage(tuple(page))
            page, used = [], 0
        page.append(entry)
        used += size
    yield HistoryPage(tuple(page))


def _entries(turn: PastTurn) -> Iterator[PastTurn]:
    """The turn in entries that fit: the same `turn` number, and texts to be joined."""
    if json_bytes(turn) + len(",") <= PAYLOAD_BYTES:
        yield turn
        return
    bare = replace(turn, user="", assistant="")
    limit = PAYLOAD_BYTES - json_bytes(bare) - len(",")
    for piece in split(turn.user, limit, _text_bytes):
        yield replace(bare, user=piece)
    for piece in split(turn.assistant, limit, _text_bytes):
        yield replace(bare, assistant=piece)


def split(text: str, limit: int, cost: Callable[[str], int]) -> Iterator[str]:
    """Yields `text` in the longest pieces that cost at most `limit`, never inside a code point.

    `cost` must be at least 1 and at most `MAX_ESCAPED_BYTES` for a character.
    """
    while text:
        if len(text) * MAX_ESCAPED_BYTES <= limit or cost(text) <= limit:
            yield text
            return
        # A piece of n characters costs at least n, so the search can stop at `limit`.
        fits = bisect_right(range(1, limit + 1), limit, key=lambda n: cost(text[:n]))
        yield text[:fits]
        text = text[fits:]


def json_bytes(value: Any) -> int:
    """Returns the length of `value` as JSON in UTF-8."""
    return len(_encode(value))


def _text_bytes(text: str) -> int:
    return json_bytes(text) - len('""')


# -- from items to frames --------------------------------------------------------------------------


class Encoder(Protocol):
    """Turns the items of one request into frames, in order.

    `pause` is the number of seconds to wait between posts, if the format's reader needs that; what
    arrives in the meantime is joined.
    """

    pause: float

    def encode(self, seq: int, item: ResponseEvent) -> Iterator[str]:
        """Yields the frames for the item at position `seq`: none if the format does not show it."""
        ...


class EventsEncoder:
    """`?format=events`: every item as one JSON object with `type`, `request_id` and `seq`."""

    pause = 0.0

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id

    def encode(self, seq: int, item: ResponseEvent) -> Iterator[str]:  # noqa: D102 - see Encoder
        yield _encode(to_frame(item, self._request_id, seq)).decode()


def to_frame(item: ResponseEvent, request_id: str, seq: int) -> EventFrame:
    """Returns the frame of one item."""
    frame: EventFrame
    match item:
        case TextDelta():
            frame = DeltaFrame(request_id, seq, item.text)
        case ReasoningDelta():
            frame = ReasoningFrame(request_id, seq, item.text)
        case Start():
            frame = StartFrame(request_id, seq, item.session_id, item.model)
        case HistoryPage():
            frame = HistoryFrame(request_id, seq, item.turns)
        case Done():
            frame = DoneFrame(request_id, seq, **asdict(item))
        case Failed():
            error = item.error
            frame = ErrorFrame(
                request_id, seq, error.code, error.message, error.retryable, error.retry_at
            )
        case _:
            assert_never(item)
    return frame


class TextEncoder:
    """`?format=text`: only the new text, for people who read a terminal.

    Everything else is in brackets: an error, a stop reason other than the usual ones. wscat starts
    a line for each frame, and four lines a second are easier to read than fifty.
    """

    pause = 0.25

    def __init__(self, request_id: str) -> None:  # noqa: ARG002 - as every format is made
        self._has_output = False

    def encode(self, seq: int, item: ResponseEvent) -> Iterator[str]:  # noqa: ARG002, D102 - see Encoder
        match item:
            case TextDelta():
                self._has_output = True
                yield item.text
            case Failed():
                yield f"[error {item.error.code}: {item.error.message}]"
            case Done(cleared=int()):
                yield f"[cleared {item.cleared}]"
            case Done():
                usual = item.stop_reason in (None, "end_turn", "stop_sequence")
                if not (usual and self._has_output):
                    yield f"[{item.stop_reason or 'done'}]"
            case HistoryPage():
                self._has_output = self._has_output or bool(item.turns)
                for turn in item.turns:
                    yield _plain(turn)
            case _:
                return


def _plain(turn: PastTurn) -> str:
    speakers = (("you", turn.user), ("model", turn.assistant))
    return "\n".join(f"{name}: {text}" for name, text in speakers if text)


class SeedEncoder:
    """`?format=seed`: the frames of the sample that this replaces, all the text so far in each.

    Such a frame cannot grow beyond 32 KB, so a longer answer ends as an error here; it is saved.
    """

    pause = 0.0

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._text = ""
        self._fits = True

    def encode(self, seq: int, item: ResponseEvent) -> Iterator[str]:  # noqa: ARG002, D102 - see Encoder
        match item:
            case TextDelta() if self._fits:
                self._text += item.text
                frame = self._frame("proceeding", self._text)
                self._fits = len(frame.encode()) <= MAX_FRAME_BYTES
                if self._fits:
                    yield frame
            case HistoryPage():
                self._text = "\n".join(filter(None, [self._text, *map(_plain, item.turns)]))
                frame = self._frame("completed", self._text)
                self._fits = len(frame.encode()) <= MAX_FRAME_BYTES
            case Done() if self._fits:
                yield self._frame("completed", self._text)
            case Done():
                yield self._frame(
                    "error", "The answer is too long for this format; all of it was saved."
                )
            case Failed():
                yield self._frame("error", item.error.message)
            case _:
                return

    def _frame(self, status: Literal["proceeding", "completed", "error"], msg: str) -> str:
        return _encode(SeedFrame(self._request_id, msg, status)).decode()


FORMATS: Mapping[str, Callable[[str], Encoder]] = {
    "events": EventsEncoder,
    "text": TextEncoder,
    "seed": SeedEncoder,
}
DEFAULT_FORMAT = "events"


def encoder_for(wire_format: str, request_id: str) -> Encoder:
    """The encoder of a stored format; of one that a later version stored, the default."""
    return FORMATS.get(wire_format, FORMATS[DEFAULT_FORMAT])(request_id)


# The seed's own keep-alive. Its client sends the bare word, and expects the response as a JSON
# string: it searches for the word after a quotation mark, and parses everything else as a frame.
SEED_PING, SEED_PONG = "__ping__", '"__pong__"'
PONG = _encode(PongFrame()).decode()

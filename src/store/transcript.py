"""A request's frames in a compact form, stored with the request, for `resume` to replay. Pure.

Rules
- `load` returns exactly the items that `dump` was given, in the same places, so that a resumed
  client receives exactly the frames that it missed. (No stored request has a `HistoryPage`.)
- The text itself is the turn's. Stored here are the lengths of the deltas: "12 r40 7" is a text
  delta of 12 characters, a reasoning delta of 40, a text delta of 7.
- An entry of any other form is a delta of a later version's kind. It is replayed as a reasoning
  delta without text, so that every later frame has the `seq` with which it was sent.
- The terminal event is `Done` itself, or an error without its `cause`. An unknown field of it is
  ignored and a missing one has its default. An unknown `stop_reason` or `code` is replayed as it
  was sent; an error of an unknown code is retryable unless it states otherwise.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from errors import CODES, ChatError
from families.types import ReasoningDelta, TextDelta
from store.items import StoredTranscript
from wire.events import Done, Failed, ResponseEvent, Start

REASONING = "r"  # before the length of a reasoning delta
_ENTRY = re.compile(rf"({REASONING}?)([0-9]+)")


class StoredError(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client receives of an `errors.ChatError`."""

    code: str = ""
    message: str = ""
    retryable: bool | None = None
    retry_at: int | None = None


class TerminalEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Exactly one of the two."""

    done: Done | None = None
    error: StoredError | None = None


def dump(items: Iterable[ResponseEvent]) -> StoredTranscript:
    """Returns the items of one request without their text."""
    model, terminal_event = "", ""
    lengths: list[str] = []
    for item in items:
        match item:
            case Start():
                model = item.model
            case TextDelta():
                lengths.append(str(len(item.text)))
            case ReasoningDelta():
                lengths.append(f"{REASONING}{len(item.text)}")
            case Done() | Failed():
                terminal_event = msgspec.json.encode(_to_terminal_event(item)).decode()
    return StoredTranscript(
        model=model, delta_lengths=" ".join(lengths), terminal_event=terminal_event
    )


def load(
    transcript: StoredTranscript, session_id: str, answer: str, reasoning: str
) -> tuple[ResponseEvent, ...]:
    """Returns the items that `dump` was given. `answer` and `reasoning` are the turn's texts."""
    items: list[ResponseEvent] = [Start(session_id, transcript.model)] if transcript.model else []
    remaining = {TextDelta: answer, ReasoningDelta: reasoning}
    for entry in transcript.delta_lengths.split():
        known = _ENTRY.fullmatch(entry)
        if known is None:
            items.append(ReasoningDelta(""))
            continue
        kind = ReasoningDelta if known[1] else TextDelta
        length = int(known[2])
        items.append(kind(remaining[kind][:length]))
        remaining[kind] = remaining[kind][length:]
    return (*items, _from_terminal_event(transcript.terminal_event))


def reasoning_in(items: Sequence[ResponseEvent]) -> str:
    """Returns the reasoning that the items contain."""
    return "".join(item.text for item in items if isinstance(item, ReasoningDelta))


def answer_interrupted() -> ChatError:
    """Returns the error of a request that ended without a terminal event of its own."""
    return ChatError(
        "internal",
        "The answer was interrupted by a server error; history has what was saved of it.",
    )


def _to_terminal_event(end: Done | Failed) -> TerminalEvent:
    if isinstance(end, Done):
        return TerminalEvent(done=end)
    return TerminalEvent(error=msgspec.convert(end.error, StoredError, from_attributes=True))


def _from_terminal_event(text: str) -> Done | Failed:
    fields: dict[str, Any] = msgspec.json.decode(text or "{}")
    latency = fields.get("done", {}).get("latency_ms")
    if latency is not None:
        latency.setdefault("total", 0)  # the one field that has no default of its own
    event = msgspec.convert(fields, TerminalEvent)
    if event.done is not None:
        return event.done
    if event.error is None or not event.error.code:
        return Failed(answer_interrupted())
    error = event.error
    retryable = error.retryable
    if retryable is None and error.code not in CODES:  # a code of a later version
        retryable = True
    return Failed(
        ChatError(error.code, error.message, retryable=retryable, retry_at=error.retry_at)
    )

"""A request's frames in a compact form, stored with the request, for `resume` to replay. Pure.

Rules
- `load` returns exactly the items that `dump` was given, in the same places, so that a resumed
  client receives exactly the frames that it missed.
- The text itself is the turn's. Stored here are the lengths of the deltas: "12 r40 7" is a text
  delta of 12 characters, a reasoning delta of 40, a text delta of 7.
- An unknown field of the terminal event is ignored and a missing one has its default.
"""

from collections.abc import Iterable, Sequence

import msgspec

from errors import CODES, ChatError
from families.types import ReasoningDelta, TextDelta
from store.items import StoredDone, StoredError, StoredTranscript, TerminalEvent
from wire.events import Done, Failed, Item, Start

REASONING = "r"  # before the length of a reasoning delta


def dump(items: Iterable[Item]) -> StoredTranscript:
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
) -> tuple[Item, ...]:
    """Returns the items that `dump` was given. `answer` and `reasoning` are the turn's texts."""
    items: list[Item] = [Start(session_id, transcript.model)] if transcript.model else []
    remaining = {TextDelta: answer, ReasoningDelta: reasoning}
    for entry in transcript.delta_lengths.split():
        kind = ReasoningDelta if entry.startswith(REASONING) else TextDelta
        length = int(entry.removeprefix(REASONING))
        items.append(kind(remaining[kind][:length]))
        remaining[kind] = remaining[kind][length:]
    return (*items, _from_terminal_event(transcript.terminal_event))


def reasoning_in(items: Sequence[Item]) -> str:
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
        return TerminalEvent(done=msgspec.convert(end, StoredDone, from_attributes=True))
    return TerminalEvent(error=msgspec.convert(end.error, StoredError, from_attributes=True))


def _from_terminal_event(text: str) -> Done | Failed:
    event = msgspec.json.decode(text or "{}", type=TerminalEvent)
    if event.done is not None:
        return msgspec.convert(event.done, Done, from_attributes=True)
    if event.error is None or not event.error.code:
        return Failed(answer_interrupted())
    error = event.error
    retryable = error.retryable
    if retryable is None and error.code not in CODES:  # a code of a later version
        retryable = True
    return Failed(
        ChatError(error.code, error.message, retryable=retryable, retry_at=error.retry_at)
    )

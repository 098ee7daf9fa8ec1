"""An answer as it was told, small enough to be kept beside its turn; and back. Pure.

Rules
- What is read is what was written: the same items in the same places, so that whoever lost a
  connection hears exactly what is missing, however long ago the answer ended.
- The words themselves are the turn's. Kept here is where they were cut: "12 r40 7" is a delta of
  twelve characters, reasoning of forty, a delta of seven.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from errors import ChatError
from families.types import ReasoningDelta, TextDelta
from wire.events import Done, Failed, Item, Start

REASONING = "r"  # before a number: of the reasoning, not of the answer


def dump(told: Iterable[Item]) -> dict[str, str]:
    """The items of one request as texts: `model`, `cuts` and, where there was one, `ending`."""
    model, ending = "", ""
    cuts: list[str] = []
    for item in told:
        match item:
            case Start():
                model = item.model
            case TextDelta():
                cuts.append(str(len(item.text)))
            case ReasoningDelta():
                cuts.append(f"{REASONING}{len(item.text)}")
            case Done():
                ending = json.dumps({"done": msgspec.to_builtins(item)})
            case Failed():
                ending = json.dumps({"error": _error_fields(item.error)})
    return {"model": model, "cuts": " ".join(cuts)} | ({"ending": ending} if ending else {})


def load(kept: Mapping[str, Any], session_id: str, answer: str, reasoning: str) -> tuple[Item, ...]:
    """What `dump` made, with the words of its turn, as the items again."""
    items: list[Item] = [Start(session_id, kept["model"])] if kept["model"] else []
    left = {TextDelta: answer, ReasoningDelta: reasoning}
    for cut in kept["cuts"].split():
        kind = ReasoningDelta if cut.startswith(REASONING) else TextDelta
        length = int(cut.removeprefix(REASONING))
        items.append(kind(left[kind][:length]))
        left[kind] = left[kind][length:]
    return (*items, _end(json.loads(kept["ending"])))


def reasoning_in(told: Sequence[Item]) -> str:
    """The reasoning that was told."""
    return "".join(item.text for item in told if isinstance(item, ReasoningDelta))


def _end(kept: Mapping[str, Any]) -> Done | Failed:
    if "error" in kept:
        error = dict(kept["error"])
        return Failed(ChatError(error.pop("code"), error.pop("message"), **error))
    return msgspec.convert(kept["done"], Done)


def _error_fields(error: ChatError) -> dict[str, Any]:
    fields = {"code": error.code, "message": error.message, "retryable": error.retryable}
    return fields if error.retry_at is None else {**fields, "retry_at": error.retry_at}

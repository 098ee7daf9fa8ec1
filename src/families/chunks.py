"""Reading a chunk's JSON without trust, and what Bedrock itself adds to any family's chunks. Pure.

Rules
- A field that is missing, null or of another type says nothing; it is never an error.
- Every family's stop words come down to one small vocabulary. No two families mean different
  things by one word, so there is one table for all of them.

Does not know which family a chunk is from.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from families.types import Event, Stopped, Usage

Json = Mapping[str, Any]
"""An object as `json.loads` gives it: every one inside it is a dict."""

# A model's own word, in small letters: what a client is told. Everything else is "other", such as
# a tool call, which this version never asks for.
STOP_REASONS: Mapping[str, str] = {
    "end_turn": "end_turn",  # Claude, Nova
    "stop": "end_turn",  # Llama, Mistral, OpenAI and its like; theirs for a stop sequence too
    "finish": "end_turn",  # Titan: "FINISH" in the user guide's examples, "FINISHED" in its table
    "finished": "end_turn",
    "complete": "end_turn",  # Command R
    "eos_token": "end_turn",  # DeepSeek R1, as langchain-aws has met it
    "max_tokens": "max_tokens",  # Claude, Nova, Command R
    "length": "max_tokens",  # all others
    "model_length": "max_tokens",  # Mistral: the context window is full
    "model_context_window_exceeded": "max_tokens",  # Claude, the same
    "error_limit": "max_tokens",  # Command R, the same
    "stop_sequence": "stop_sequence",  # Claude, Nova, Command R
    "stop_criteria_met": "stop_sequence",  # Titan
    "content_filtered": "content_filtered",  # Nova, Titan
    "content_filter": "content_filtered",  # OpenAI and its like
    "refusal": "content_filtered",  # Claude
    "error_toxic": "content_filtered",  # Command R
    "guardrail_intervened": "guardrail",  # Nova
}

_METRICS = "amazon-bedrock-invocationMetrics"
# InvokeModelWithResponseStream and "Use a guardrail with inference": the action is a member of the
# body, beside the trace. "INTERVENED" is documented; the Converse word is met in the wild.
_ACTION = "amazon-bedrock-guardrailAction"
_TRACE = "amazon-bedrock-trace"
_INTERVENED = ("INTERVENED", "GUARDRAIL_INTERVENED")


def text(parent: Json, name: str) -> str:
    """The text under `name`, or an empty one."""
    child = parent.get(name)
    return child if isinstance(child, str) else ""


def child(parent: Json, name: str) -> Json:
    """The object under `name`, or an empty one."""
    found = parent.get(name)
    return found if isinstance(found, dict) else {}


def first(parent: Json, name: str) -> Json:
    """The first object of the list under `name`, or an empty one."""
    found = parent.get(name)
    if isinstance(found, list) and found and isinstance(found[0], dict):
        return found[0]
    return {}


def count(parent: Json, name: str) -> int | None:
    """The whole number from 0 under `name`, if there is one."""
    found = parent.get(name)
    is_count = isinstance(found, int) and not isinstance(found, bool) and found >= 0
    return found if is_count else None


def drop_unset(**fields: Any) -> dict[str, Any]:
    """Only the fields that say something: a model's own defaults are left to the model."""
    return {name: value for name, value in fields.items() if value not in (None, "", (), [])}


def stopped(word: object) -> Iterator[Stopped]:
    """The end that a model's own stop word means; none where it is null or empty.

    A number is an end too: some servers name the token that ended the answer.
    """
    if isinstance(word, str) and word:
        yield Stopped(STOP_REASONS.get(word.lower(), "other"))
    elif isinstance(word, int) and not isinstance(word, bool):
        yield Stopped("other")


def usage(holder: Json, **names: str) -> Iterator[Usage]:
    """The counts of `Usage` (the keywords) under the names that this family has for them."""
    counts = {ours: count(holder, theirs) for ours, theirs in names.items()}
    if any(value is not None for value in counts.values()):
        yield Usage(**counts)


def added_by_bedrock(chunk: Json) -> Iterator[Event]:
    """What Bedrock adds to a chunk: a guardrail's action, and on the last one its own counts."""
    if _METRICS in chunk:
        yield from usage(
            child(chunk, _METRICS),
            input_tokens="inputTokenCount",
            output_tokens="outputTokenCount",
            cache_read_tokens="cacheReadInputTokenCount",
            cache_write_tokens="cacheWriteInputTokenCount",
        )
    if _guarded(chunk) or ("message" in chunk and _guarded(child(chunk, "message"))):
        yield Stopped("guardrail")


def _guarded(holder: Json) -> bool:
    """Whether a guardrail stepped in: by its action or, where that is missing, by its trace."""
    if _ACTION in holder:
        return text(holder, _ACTION).upper() in _INTERVENED
    return _TRACE in holder and _blocked(holder[_TRACE])


def _blocked(trace: object) -> bool:
    """Whether any policy of a guardrail's trace has `"action": "BLOCKED"`, however deep."""
    waiting = [trace]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if node.get("action") == "BLOCKED":
                return True
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return False

"""Reads fields of decoded chunks safely, and what Bedrock adds to every family's chunks. Pure.

Rules
- A field that is missing, null or of an unexpected type is ignored; it is never an error.
- The stop reasons of all families map to one small set. No reason has different meanings in two
  families, so one table serves all of them.

Does not know which family a chunk belongs to.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from families.types import ModelEvent, Stopped, Usage

JsonObject = Mapping[str, Any]
"""A JSON object as `json.loads` returns it: objects inside it are dicts."""

# A model's stop reason, in lower case, to the reason that clients receive. Any other becomes
# "other", such as a tool call: no request offers tools.
STOP_REASONS: Mapping[str, str] = {
    "end_turn": "end_turn",  # Claude, Nova
    "stop": "end_turn",  # Llama, Mistral, OpenAI-compatible; also after a stop sequence
    "finish": "end_turn",  # Titan: "FINISH" in the user guide's examples, "FINISHED" in its table
    "finished": "end_turn",
    "complete": "end_turn",  # Command R
    "eos_token": "end_turn",  # DeepSeek R1, according to langchain-aws
    "max_tokens": "max_tokens",  # Claude, Nova, Command R
    "length": "max_tokens",  # all others
    "model_length": "max_tokens",  # Mistral: the context window is full
    "model_context_window_exceeded": "max_tokens",  # Claude, the same
    "error_limit": "max_tokens",  # Command R, the same
    "stop_sequence": "stop_sequence",  # Claude, Nova, Command R
    "stop_criteria_met": "stop_sequence",  # Titan
    "content_filtered": "content_filtered",  # Nova, Titan
    "content_filter": "content_filtered",  # OpenAI-compatible
    "refusal": "content_filtered",  # Claude
    "error_toxic": "content_filtered",  # Command R
    "guardrail_intervened": "guardrail",  # Nova
}

_METRICS = "amazon-bedrock-invocationMetrics"
# InvokeModelWithResponseStream and "Use a guardrail with inference": the action is a field of the
# body, beside the trace. "INTERVENED" is documented; Converse's value has been observed too.
_ACTION = "amazon-bedrock-guardrailAction"
_TRACE = "amazon-bedrock-trace"
_INTERVENED = ("INTERVENED", "GUARDRAIL_INTERVENED")


def get_text(parent: JsonObject, name: str) -> str:
    """Returns the string in field `name`, or an empty string."""
    value = parent.get(name)
    return value if isinstance(value, str) else ""


def get_object(parent: JsonObject, name: str) -> JsonObject:
    """Returns the object in field `name`, or an empty object."""
    value = parent.get(name)
    return value if isinstance(value, dict) else {}


def get_first(parent: JsonObject, name: str) -> JsonObject:
    """Returns the first element of the list in field `name`, or an empty object."""
    value = parent.get(name)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return value[0]
    return {}


def get_count(parent: JsonObject, name: str) -> int | None:
    """Returns the non-negative integer in field `name`, or None."""
    value = parent.get(name)
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_count else None


def drop_unset(**fields: Any) -> dict[str, Any]:
    """Returns the fields that are set; for the others the model's own defaults apply."""
    return {name: value for name, value in fields.items() if value not in (None, "", (), [])}


def stop_events(reason: object) -> Iterator[Stopped]:
    """Returns the end that a model's stop reason means; none if it is null or empty.

    A number is an end too: some servers report the id of the token that ended the answer.
    """
    if isinstance(reason, str) and reason:
        yield Stopped(STOP_REASONS.get(reason.lower(), "other"))
    elif isinstance(reason, int) and not isinstance(reason, bool):
        yield Stopped("other")


def usage_events(counts: JsonObject, **names: str) -> Iterator[Usage]:
    """Returns the usage in `counts`; `names` maps `Usage`'s fields to the family's field names."""
    values = {field: get_count(counts, name) for field, name in names.items()}
    if any(value is not None for value in values.values()):
        yield Usage(**values)


def bedrock_events(chunk: JsonObject) -> Iterator[ModelEvent]:
    """Returns what Bedrock adds to a chunk: a guardrail's action; on the last, its token counts."""
    if _METRICS in chunk:
        yield from usage_events(
            get_object(chunk, _METRICS),
            input_tokens="inputTokenCount",
            output_tokens="outputTokenCount",
            cache_read_tokens="cacheReadInputTokenCount",
            cache_write_tokens="cacheWriteInputTokenCount",
        )
    if _intervened(chunk) or ("message" in chunk and _intervened(get_object(chunk, "message"))):
        yield Stopped("guardrail")


def _intervened(parent: JsonObject) -> bool:
    """Returns whether a guardrail intervened: from its action, or without one from its trace."""
    if _ACTION in parent:
        return get_text(parent, _ACTION).upper() in _INTERVENED
    return _TRACE in parent and _is_blocked(parent[_TRACE])


def _is_blocked(trace: object) -> bool:
    """Returns whether any policy in a guardrail's trace, at any depth, has the action BLOCKED."""
    pending = [trace]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if node.get("action") == "BLOCKED":
                return True
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
    return False

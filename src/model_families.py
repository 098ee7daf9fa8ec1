"""The native request and chunk shapes of Bedrock's model families, as one table.

Rules
- Pure: data in, data out. No boto3, no sockets, no settings.
- A family is one row of `FAMILIES`: how its ids begin, how a prompt becomes its request body, and
  how one of its chunks becomes events. Nothing outside this file asks which family it is.
- A chunk that says nothing to us (an unknown type, an empty delta) becomes no event.
- Any stop reason is an end. A stream that ends without one was cut: the caller must notice.

Does not know how chunks arrive, in what pieces they are relayed, or what failed.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation. `role` is "user" or "assistant"; they alternate."""

    role: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What is asked, in no family's shape. The first message and the last are the user's."""

    system: str
    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TextDelta:
    """New text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """New text of the model's reasoning, which is not part of the answer."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token counts as reported; None is "not said". `input_tokens` leaves out cached ones."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None

    def updated(self, later: "Usage") -> "Usage":
        """These counts, overwritten by those that `later` says."""
        return Usage(
            **{
                name: new if (new := getattr(later, name)) is not None else getattr(self, name)
                for name in self.__slots__
            }
        )

    @property
    def prompt_tokens(self) -> int | None:
        """The whole prompt: what was read afresh, and what a cache served or took in."""
        if self.input_tokens is None:
            return None
        return self.input_tokens + (self.cache_read_tokens or 0) + (self.cache_write_tokens or 0)


@dataclass(frozen=True, slots=True)
class Stopped:
    """The model's own end. `reason` is one of `STOP_REASONS`' values, or "other"."""

    reason: str


Event = TextDelta | ReasoningDelta | Usage | Stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One row of the table.

    `matches` are the beginnings of its model ids, without a Region prefix. `request` builds the
    JSON body. `events` reads one decoded chunk.
    """

    name: str
    matches: tuple[str, ...]
    request: Callable[[Prompt], dict[str, Any]]
    events: Callable[[Mapping[str, Any]], Iterator[Event]]


class UnknownModelError(Exception):
    """The model id tells no family that we speak. The message names the settings to change."""


STOP_REASONS: Mapping[str, str] = {
    "end_turn": "end_turn",
    "max_tokens": "max_tokens",
    "model_context_window_exceeded": "max_tokens",
    "stop_sequence": "stop_sequence",
    "content_filtered": "content_filtered",
    "refusal": "content_filtered",
    "guardrail_intervened": "guardrail",
}


def _stopped(reason: str) -> Stopped:
    return Stopped(STOP_REASONS.get(reason, "other"))


# -- common to all ---------------------------------------------------------------------------------

# The Region prefix of an inference profile: us., eu., apac., global., us-gov., jp., au., ...
_PROFILE_PREFIX = re.compile(r"^(?:global|apac|[a-z]{2}(?:-gov)?)\.")


def bare_model_id(model_id: str) -> str:
    """Without ARN and Region prefix: "us.amazon.nova-lite-v1:0" is "amazon.nova-lite-v1:0"."""
    if model_id.startswith("arn:"):
        model_id = model_id.rpartition("/")[2]
    return _PROFILE_PREFIX.sub("", model_id)


def family_of(model_id: str, family: str = "") -> Family:
    """The row for `model_id`, or for the `family` named.

    Raises:
        UnknownModelError: no row fits.
    """
    if family:
        for row in FAMILIES:
            if row.name == family:
                return row
        known = ", ".join(row.name for row in FAMILIES)
        raise UnknownModelError(f"MODEL_FAMILY={family} is not one of {known}")
    bare = bare_model_id(model_id)
    for row in FAMILIES:
        if bare.startswith(row.matches):
            return row
    known = ", ".join(sorted(prefix for row in FAMILIES for prefix in row.matches))
    raise UnknownModelError(
        f"MODEL_ID={model_id} tells no model family that is spoken here ({known}); "
        "for an imported model or an application inference profile set MODEL_FAMILY"
    )


def events_of(family: Family, chunk: Mapping[str, Any]) -> Iterator[Event]:
    """One chunk as events: the family's own, then the usage that Bedrock adds to any last chunk."""
    yield from family.events(chunk)
    metrics = chunk.get("amazon-bedrock-invocationMetrics")
    if isinstance(metrics, Mapping):
        yield Usage(
            input_tokens=_count(metrics.get("inputTokenCount")),
            output_tokens=_count(metrics.get("outputTokenCount")),
            cache_read_tokens=_count(metrics.get("cacheReadInputTokenCount")),
            cache_write_tokens=_count(metrics.get("cacheWriteInputTokenCount")),
        )


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _given(**fields: Any) -> dict[str, Any]:
    """Only the fields that say something: a model's own defaults are left to the model."""
    return {name: value for name, value in fields.items() if value not in (None, "", (), [])}


def _text(parent: Mapping[str, Any], name: str) -> str:
    child = parent.get(name)
    return child if isinstance(child, str) else ""


def _object(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    child = parent.get(name)
    return child if isinstance(child, Mapping) else {}


# -- Claude (Messages) -----------------------------------------------------------------------------
# Bedrock User Guide, "Anthropic Claude Messages API"; Anthropic, "Streaming Messages".


def _claude_request(prompt: Prompt) -> dict[str, Any]:
    return {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": prompt.max_tokens,
        "messages": [{"role": m.role, "content": m.text} for m in prompt.messages],
        **_given(
            system=prompt.system,
            temperature=prompt.temperature,
            top_p=prompt.top_p,
            stop_sequences=list(prompt.stop_sequences),
        ),
    }


def _claude_events(chunk: Mapping[str, Any]) -> Iterator[Event]:
    delta = _object(chunk, "delta")
    match chunk.get("type"):
        case "content_block_delta":
            if text := _text(delta, "text"):
                yield TextDelta(text)
            elif thinking := _text(delta, "thinking"):
                yield ReasoningDelta(thinking)
        case "message_start":
            # Its output count is only a beginning (1): believed, it would make an answer that
            # breaks off weigh next to nothing.
            yield replace(_claude_usage(_object(chunk, "message")), output_tokens=None)
        case "message_delta":
            yield _claude_usage(chunk)
            if reason := _text(delta, "stop_reason"):
                yield _stopped(reason)


def _claude_usage(holder: Mapping[str, Any]) -> Usage:
    usage = _object(holder, "usage")
    return Usage(
        input_tokens=_count(usage.get("input_tokens")),
        output_tokens=_count(usage.get("output_tokens")),
        cache_read_tokens=_count(usage.get("cache_read_input_tokens")),
        cache_write_tokens=_count(usage.get("cache_creation_input_tokens")),
    )


# -- Amazon Nova -----------------------------------------------------------------------------------
# Amazon Nova User Guide, "Complete request schema" and "Streaming responses".


def _nova_request(prompt: Prompt) -> dict[str, Any]:
    return {
        "schemaVersion": "messages-v1",
        "messages": [{"role": m.role, "content": [{"text": m.text}]} for m in prompt.messages],
        **_given(system=[{"text": prompt.system}] if prompt.system else None),
        "inferenceConfig": {
            "maxTokens": prompt.max_tokens,
            **_given(
                temperature=prompt.temperature,
                topP=prompt.top_p,
                stopSequences=list(prompt.stop_sequences),
            ),
        },
    }


def _nova_events(chunk: Mapping[str, Any]) -> Iterator[Event]:
    delta = _object(_object(chunk, "contentBlockDelta"), "delta")
    if text := _text(delta, "text"):
        yield TextDelta(text)
    # Nova 2 puts the text one level deeper than the Converse API's delta does; both are taken.
    reasoning = _object(delta, "reasoningContent")
    if thinking := _text(_object(reasoning, "reasoningText") or reasoning, "text"):
        yield ReasoningDelta(thinking)
    if usage := _object(_object(chunk, "metadata"), "usage"):
        yield Usage(
            input_tokens=_count(usage.get("inputTokens")),
            output_tokens=_count(usage.get("outputTokens")),
            cache_read_tokens=_count(usage.get("cacheReadInputTokenCount")),
            cache_write_tokens=_count(usage.get("cacheWriteInputTokenCount")),
        )
    if reason := _text(_object(chunk, "messageStop"), "stopReason"):
        yield _stopped(reason)


# -- the table -------------------------------------------------------------------------------------

FAMILIES: tuple[Family, ...] = (
    Family(
        name="claude",
        matches=("anthropic.claude",),
        request=_claude_request,
        events=_claude_events,
    ),
    Family(
        name="nova",
        # Bedrock also lists Nova models that do not answer in text (canvas, reel, sonic).
        matches=(
            "amazon.nova-micro",
            "amazon.nova-lite",
            "amazon.nova-pro",
            "amazon.nova-premier",
            "amazon.nova-2-lite",
            "amazon.nova-2-pro",
        ),
        request=_nova_request,
        events=_nova_events,
    ),
)

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_families import (
    FAMILIES,
    Event,
    Message,
    Prompt,
    ReasoningDelta,
    Stopped,
    TextDelta,
    UnknownModelError,
    Usage,
    bare_model_id,
    events_of,
    family_of,
)

CONVERSATION = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
PLAIN = Prompt(system="", messages=CONVERSATION, max_tokens=9)
FULL = Prompt(
    system="Be kind.",
    messages=CONVERSATION,
    max_tokens=9,
    temperature=0.0,
    top_p=0.9,
    stop_sequences=("END",),
)
METRICS = {
    "amazon-bedrock-invocationMetrics": {
        "inputTokenCount": 12,
        "outputTokenCount": 4,
        "invocationLatency": 900,
        "firstByteLatency": 300,
    }
}


def events(name: str, *chunks: Mapping[str, Any]) -> list[Event]:
    return [event for chunk in chunks for event in events_of(family_of("", name), chunk)]


@pytest.mark.parametrize(
    ("model_id", "bare"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", "anthropic.claude-3-haiku-20240307-v1:0"),
        ("us.anthropic.claude-x", "anthropic.claude-x"),
        ("global.anthropic.claude-x", "anthropic.claude-x"),
        ("apac.amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"),
        ("us-gov.anthropic.claude-x", "anthropic.claude-x"),
        ("jp.anthropic.claude-x", "anthropic.claude-x"),
        ("ai21.jamba-1-5-mini-v1:0", "ai21.jamba-1-5-mini-v1:0"),
        (
            "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0",
            "amazon.nova-pro-v1:0",
        ),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-pro-v1:0",
            "amazon.nova-pro-v1:0",
        ),
    ],
)
def test_bare_model_id(model_id: str, bare: str) -> None:
    """Region prefixes and ARNs are taken off before the family is told."""
    assert bare == bare_model_id(model_id)


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("global.anthropic.claude-sonnet-4-6", "claude"),
        ("us.amazon.nova-micro-v1:0", "nova"),
        ("global.amazon.nova-2-lite-v1:0", "nova"),
    ],
)
def test_family_of(model_id: str, name: str) -> None:
    """A model id tells its family."""
    assert name == family_of(model_id).name


def test_family_by_name() -> None:
    """Where the id does not tell, the setting does."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"

    assert "nova" == family_of(arn, "nova").name


@pytest.mark.parametrize(
    ("model_id", "name", "words"),
    [
        ("amazon.nova-canvas-v1:0", "", "MODEL_ID=amazon.nova-canvas-v1:0 .*MODEL_FAMILY"),
        ("claude", "", "MODEL_ID=claude"),
        ("anthropic.claude-x", "gpt", "MODEL_FAMILY=gpt is not one of claude, nova"),
    ],
)
def test_unknown_model(model_id: str, name: str, words: str) -> None:
    """A model that is not spoken here is refused with the settings to change."""
    with pytest.raises(UnknownModelError, match=words):
        family_of(model_id, name)


def test_claude_request() -> None:
    """Claude's Messages body, with what was given and nothing else."""
    said = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    least = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": said}

    assert least == family_of("", "claude").request(PLAIN)
    assert {
        **least,
        "system": "Be kind.",
        "temperature": 0.0,
        "top_p": 0.9,
        "stop_sequences": ["END"],
    } == family_of("", "claude").request(FULL)


def test_nova_request() -> None:
    """Nova's messages-v1 body, with what was given and nothing else."""
    said = [
        {"role": "user", "content": [{"text": "a"}]},
        {"role": "assistant", "content": [{"text": "b"}]},
        {"role": "user", "content": [{"text": "c"}]},
    ]
    least = {"schemaVersion": "messages-v1", "messages": said, "inferenceConfig": {"maxTokens": 9}}

    assert least == family_of("", "nova").request(PLAIN)
    assert {
        **least,
        "system": [{"text": "Be kind."}],
        "inferenceConfig": {
            "maxTokens": 9,
            "temperature": 0.0,
            "topP": 0.9,
            "stopSequences": ["END"],
        },
    } == family_of("", "nova").request(FULL)


def test_claude_stream() -> None:
    """A whole Claude stream: thinking apart, usage from both ends, the stop reason, the metrics."""
    usage = {"input_tokens": 12, "output_tokens": 1, "cache_read_input_tokens": 7}
    block: dict[str, Any] = {"type": "content_block_delta", "index": 0}

    assert [
        Usage(input_tokens=12, cache_read_tokens=7),
        ReasoningDelta("hm"),
        TextDelta("hi"),
        Usage(output_tokens=4),
        Stopped("end_turn"),
        Usage(input_tokens=12, output_tokens=4),
    ] == events(
        "claude",
        {"type": "message_start", "message": {"role": "assistant", "usage": usage}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        {**block, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {**block, "delta": {"type": "signature_delta", "signature": "c2ln"}},
        {**block, "delta": {"type": "text_delta", "text": "hi"}},
        {**block, "delta": {"type": "text_delta", "text": ""}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 4},
        },
        {"type": "message_stop", **METRICS},
    )


def test_nova_stream() -> None:
    """A whole Nova stream: the usage follows the stop."""
    usage = {"inputTokens": 12, "outputTokens": 4, "cacheReadInputTokenCount": 0}

    assert [
        ReasoningDelta("h"),
        ReasoningDelta("m"),
        TextDelta("hi"),
        Stopped("max_tokens"),
        Usage(input_tokens=12, output_tokens=4, cache_read_tokens=0),
        Usage(input_tokens=12, output_tokens=4),
    ] == events(
        "nova",
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"delta": {"reasoningContent": {"text": "h"}}}},
        {"contentBlockDelta": {"delta": {"reasoningContent": {"reasoningText": {"text": "m"}}}}},
        {"contentBlockDelta": {"delta": {"text": "hi"}, "contentBlockIndex": 0}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"messageStop": {"stopReason": "max_tokens"}},
        {"metadata": {"usage": usage, "metrics": {}, "trace": {}}, **METRICS},
    )


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("end_turn", "end_turn"),
        ("max_tokens", "max_tokens"),
        ("stop_sequence", "stop_sequence"),
        ("refusal", "content_filtered"),
        ("content_filtered", "content_filtered"),
        ("guardrail_intervened", "guardrail"),
        ("pause_turn", "other"),
        ("something_new", "other"),
    ],
)
def test_stop_reasons(reason: str, told: str) -> None:
    """Every family's reasons come down to one small vocabulary."""
    assert [Stopped(told)] == events("nova", {"messageStop": {"stopReason": reason}})


KNOWN_NAMES = st.sampled_from(
    [
        "delta",
        "usage",
        "text",
        "thinking",
        "stop_reason",
        "message",
        "input_tokens",
        "metadata",
        "contentBlockDelta",
        "messageStop",
        "stopReason",
        "reasoningContent",
        "amazon-bedrock-invocationMetrics",
    ]
)
odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just("x"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KNOWN_NAMES, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@given(
    st.dictionaries(KNOWN_NAMES, odd),
    st.sampled_from(["message_start", "content_block_delta", "message_delta", "new_type"]),
)
def test_unknown_shapes_break_nothing(family: Any, chunk: dict[str, Any], kind: str) -> None:
    """Whatever a chunk holds beside what we know, it becomes events of ours or none."""
    for event in events_of(family, {**chunk, "type": kind}):
        assert isinstance(event, TextDelta | ReasoningDelta | Usage | Stopped)
        if isinstance(event, TextDelta | ReasoningDelta):
            assert isinstance(event.text, str)


def test_usage_updated() -> None:
    """Later counts replace earlier ones; what is not said again stays."""
    early = Usage(input_tokens=12, output_tokens=1, cache_read_tokens=7)

    assert Usage(input_tokens=12, output_tokens=4, cache_read_tokens=7) == early.updated(
        Usage(output_tokens=4)
    )


def test_prompt_tokens() -> None:
    """The whole prompt counts what a cache served; unknown stays unknown."""
    usage = Usage(input_tokens=5, cache_read_tokens=100, cache_write_tokens=20)

    assert 125 == usage.prompt_tokens
    assert Usage(output_tokens=1).prompt_tokens is None

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace
from support.family_examples import EXAMPLES
from support.family_streams import METRICS, PLAIN, STREAMS, events

from families.registry import (
    FAMILIES,
    Family,
    UnknownModelError,
    bare_model_id,
    family_of,
    request_body,
)
from families.types import Message, Stopped, TextDelta, Usage


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
def test_arn_and_region_prefix_are_removed(model_id: str, bare: str) -> None:
    """What remains is the bare model id."""
    assert bare == bare_model_id(model_id)


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("global.anthropic.claude-sonnet-4-6", "claude"),
        ("us.amazon.nova-micro-v1:0", "nova"),
        ("global.amazon.nova-2-lite-v1:0", "nova"),
        ("amazon.titan-text-express-v1", "titan"),
        ("meta.llama2-13b-chat-v1", "llama2"),
        ("meta.llama3-8b-instruct-v1:0", "llama3"),
        ("us.meta.llama3-3-70b-instruct-v1:0", "llama3"),
        ("us.meta.llama4-scout-17b-instruct-v1:0", "llama4"),
        ("mistral.mistral-7b-instruct-v0:2", "mistral-text"),
        ("mistral.mixtral-8x7b-instruct-v0:1", "mistral-text"),
        ("mistral.mistral-large-2402-v1:0", "mistral-text"),
        ("mistral.mistral-large-2407-v1:0", "mistral-chat"),
        ("mistral.mistral-large-3-675b-instruct", "mistral-chat"),
        ("us.mistral.pixtral-large-2502-v1:0", "mistral-chat"),
        ("cohere.command-r-plus-v1:0", "command-r"),
        ("ai21.jamba-1-5-large-v1:0", "jamba"),
        ("us.deepseek.r1-v1:0", "deepseek-r1"),
        ("deepseek.v3-v1:0", "openai-chat"),
        ("openai.gpt-oss-120b-1:0", "openai-chat"),
        ("qwen.qwen3-32b-v1:0", "openai-chat"),
        ("moonshot.kimi-k2-thinking", "openai-chat"),
        ("global.moonshotai.kimi-k3", "openai-chat"),
        ("zai.glm-4.7", "openai-chat"),
        ("minimax.minimax-m2", "openai-chat"),
        ("google.gemma-3-27b-it", "openai-chat"),
        ("nvidia.nemotron-nano-12b-v2", "openai-chat"),
        ("us.writer.palmyra-x5-v1:0", "palmyra"),
    ],
)
def test_a_model_id_determines_its_family(model_id: str, name: str) -> None:
    """The longest known ids of every provider are examples."""
    assert name == family_of(model_id).name


def test_every_id_prefix_determines_one_family() -> None:
    """No prefix is in two rows or hidden by a prefix of an earlier row."""
    for family in FAMILIES:
        for prefix in family.id_prefixes:
            assert family.name == family_of(prefix).name


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_family_has_a_documented_example(name: str) -> None:
    """The example in docs/families.md is of that family."""
    assert name == family_of(EXAMPLES[name]).name


def test_every_decoder_has_a_recorded_stream() -> None:
    """A family with an `events` function of its own needs a stream that tests it."""
    tested = {family_of("", stream.family).events for stream in STREAMS.values()}

    assert tested == {family.events for family in FAMILIES}


def test_a_family_is_found_by_name() -> None:
    """The setting applies where the id does not determine the family."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"

    assert "nova" == family_of(arn, "nova").name


@pytest.mark.parametrize(
    ("model_id", "name", "message"),
    [
        ("amazon.nova-canvas-v1:0", "", "MODEL_ID=amazon.nova-canvas-v1:0 .*MODEL_FAMILY"),
        (
            "amazon.titan-embed-text-v2:0",
            "",
            "MODEL_ID=amazon.titan-embed-text-v2:0 .*MODEL_FAMILY",
        ),
        ("arn:aws:bedrock:us-east-1:123456789012:imported-model/abc", "", "set MODEL_FAMILY"),
        ("claude", "", "MODEL_ID=claude"),
        ("anthropic.claude-x", "gpt", "MODEL_FAMILY=gpt is not one of claude, nova"),
    ],
)
def test_an_unknown_model_is_rejected_with_the_setting_to_change(
    model_id: str, name: str, message: str
) -> None:
    """The message names the setting and its value."""
    with pytest.raises(UnknownModelError, match=message):
        family_of(model_id, name)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_body_has_alternating_messages(family: Family) -> None:
    """The two questions around an empty answer become one message."""
    messages = (Message("user", "a"), Message("assistant", ""), Message("user", "c"))
    joined = replace(PLAIN, messages=(Message("user", "a\n\nc"),))

    assert request_body(family, "", joined) == request_body(
        family, "", replace(PLAIN, messages=messages)
    )


@pytest.mark.parametrize(
    ("model_id", "field", "most"),
    [
        ("us.meta.llama3-3-70b-instruct-v1:0", "max_gen_len", 2048),
        ("ai21.jamba-1-5-mini-v1:0", "max_tokens", 4096),
        ("anthropic.claude-3-haiku-20240307-v1:0", "max_tokens", 4096),
        ("us.anthropic.claude-3-5-haiku-20241022-v1:0", "max_tokens", 8192),
        ("us.anthropic.claude-opus-4-20250514-v1:0", "max_tokens", 32_000),
        ("global.anthropic.claude-opus-4-6-v1", "max_tokens", 50_000),
        ("mistral.mixtral-8x7b-instruct-v0:1", "max_tokens", 4096),
        ("mistral.mistral-7b-instruct-v0:2", "max_tokens", 8192),
        ("qwen.qwen3-32b-v1:0", "max_tokens", 50_000),
    ],
)
def test_output_tokens_are_limited_to_what_the_model_accepts(
    model_id: str, field: str, most: int
) -> None:
    """A lower setting applies unchanged."""
    family = family_of(model_id)

    assert most == request_body(family, model_id, replace(PLAIN, max_tokens=50_000))[field]
    assert 9 == request_body(family, model_id, PLAIN)[field]


def test_no_output_limit_is_hidden_by_an_earlier_one() -> None:
    """The first prefix that matches applies."""
    for family in FAMILIES:
        prefixes = list(family.output_limits)
        hidden = [b for at, b in enumerate(prefixes) for a in prefixes[:at] if b.startswith(a)]
        assert not hidden, family.name


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize(
    "sign",
    [
        {"amazon-bedrock-guardrailAction": "INTERVENED"},
        {"amazon-bedrock-guardrailAction": "GUARDRAIL_INTERVENED"},
        {"message": {"amazon-bedrock-guardrailAction": "INTERVENED"}},
        {"amazon-bedrock-trace": {"guardrail": {"input": {"g": [{"action": "BLOCKED"}]}}}},
    ],
)
def test_an_intervening_guardrail_is_the_stop_reason(
    family: Family, sign: Mapping[str, Any]
) -> None:
    """It replaces the stop reason that the model reports later."""
    stream = next(
        stream
        for stream in STREAMS.values()
        if family_of("", stream.family).events is family.events
    )
    first, *rest = (chunk for chunk in stream.chunks if isinstance(chunk, dict))
    decoded = events(family.name, {**first, **sign}, *rest)

    assert {"guardrail"} == {event.reason for event in decoded if isinstance(event, Stopped)}


@pytest.mark.parametrize(
    "sign",
    [
        {"amazon-bedrock-guardrailAction": "NONE"},
        {"amazon-bedrock-guardrailAction": None},
        {
            "amazon-bedrock-guardrailAction": "NONE",
            "amazon-bedrock-trace": {"guardrail": [{"action": "BLOCKED"}]},
        },
        {"amazon-bedrock-trace": {"guardrail": {"input": {"action": "NONE"}}}},
        {"amazon-bedrock-trace": "INTERVENED"},
    ],
)
def test_a_guardrail_without_intervention_changes_nothing(sign: Mapping[str, Any]) -> None:
    """The model's own stop reason is reported."""
    assert [Stopped("end_turn")] == events(
        "nova", {"messageStop": {"stopReason": "end_turn"}, **sign}
    )


def test_buffered_text_is_emitted_before_the_stop() -> None:
    """Text that might have become a tag is not lost at the end."""
    stop = {"choices": [{"delta": {"content": "<thi"}, "finish_reason": "stop"}], **METRICS}

    assert [
        TextDelta("<thi"),
        Stopped("end_turn"),
        Usage(input_tokens=12, output_tokens=4),
    ] == events("openai-chat", stop)

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace
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
def test_bare_model_id(model_id: str, bare: str) -> None:
    """Region prefixes and ARNs are taken off before the family is told."""
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
def test_family_of(model_id: str, name: str) -> None:
    """A model id tells its family."""
    assert name == family_of(model_id).name


def test_every_family_is_told_by_an_id() -> None:
    """The test above leaves no row out, and no beginning stands in two rows."""
    prefixes = [prefix for family in FAMILIES for prefix in family.matches]

    assert len(prefixes) == len(set(prefixes))
    assert {family.name for family in FAMILIES} == {s.family for s in STREAMS.values()}


def test_family_by_name() -> None:
    """Where the id does not tell, the setting does."""
    arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"

    assert "nova" == family_of(arn, "nova").name


@pytest.mark.parametrize(
    ("model_id", "name", "words"),
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
def test_unknown_model(model_id: str, name: str, words: str) -> None:
    """A model that is not spoken here is refused with the settings to change."""
    with pytest.raises(UnknownModelError, match=words):
        family_of(model_id, name)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_alternation_is_repaired_for_all(family: Family) -> None:
    """A failed answer left nothing behind: the two questions around it become one."""
    said = (Message("user", "a"), Message("assistant", ""), Message("user", "c"))
    whole = replace(PLAIN, messages=(Message("user", "a\n\nc"),))

    assert request_body(family, "", whole) == request_body(
        family, "", replace(PLAIN, messages=said)
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
def test_ceilings(model_id: str, field: str, most: int) -> None:
    """No more tokens are asked for than the model gives, nor than the settings allow."""
    family = family_of(model_id)

    assert most == request_body(family, model_id, replace(PLAIN, max_tokens=50_000))[field]
    assert 9 == request_body(family, model_id, PLAIN)[field]


def test_ceilings_are_in_order() -> None:
    """The first beginning that fits counts: none stands behind one that hides it."""
    for family in FAMILIES:
        starts = list(family.ceilings)
        hidden = [b for at, b in enumerate(starts) for a in starts[:at] if b.startswith(a)]
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
def test_guardrails(family: Family, sign: Mapping[str, Any]) -> None:
    """Where a guardrail stepped in, that is the end told, whatever the model says after it."""
    stream = next(stream for stream in STREAMS.values() if stream.family == family.name)
    first, *rest = (chunk for chunk in stream.chunks if isinstance(chunk, dict))
    said = events(family.name, {**first, **sign}, *rest)

    assert {"guardrail"} == {event.reason for event in said if isinstance(event, Stopped)}


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
def test_guardrails_that_let_pass(sign: Mapping[str, Any]) -> None:
    """A guardrail that only looked on changes nothing."""
    assert [Stopped("end_turn")] == events(
        "nova", {"messageStop": {"stopReason": "end_turn"}, **sign}
    )


def test_reasoning_ends_before_the_stop() -> None:
    """What was held back as the possible beginning of a tag is given out before the end."""
    stop = {"choices": [{"delta": {"content": "<thi"}, "finish_reason": "stop"}], **METRICS}

    assert [
        TextDelta("<thi"),
        Stopped("end_turn"),
        Usage(input_tokens=12, output_tokens=4),
    ] == events("openai-chat", stop)

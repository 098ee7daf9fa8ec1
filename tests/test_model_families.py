from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streams import METRICS, STREAMS, Stream

from model_families import (
    FAMILIES,
    Decoder,
    Event,
    Family,
    Message,
    Prompt,
    ReasoningDelta,
    Stopped,
    TextDelta,
    UnknownModelError,
    Usage,
    bare_model_id,
    body,
    family_of,
)
from native import STOP_REASONS

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


def events(name: str, *chunks: Mapping[str, Any]) -> list[Event]:
    decoder = Decoder(family_of("", name))
    return [event for chunk in chunks for event in decoder.events(chunk)]


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


REST = {"temperature": 0.0, "top_p": 0.9}
SAID = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
    {"role": "user", "content": "c"},
]
CHAT: dict[str, Any] = {"messages": SAID, "max_tokens": 9}
FULL_CHAT = {**CHAT, "messages": [{"role": "system", "content": "Be kind."}, *SAID], **REST}
NOVA_SAID = [{"role": m["role"], "content": [{"text": m["content"]}]} for m in SAID]


@pytest.mark.parametrize(
    ("name", "plain", "full"),
    [
        (
            "claude",
            {"anthropic_version": "bedrock-2023-05-31", **CHAT},
            {
                "anthropic_version": "bedrock-2023-05-31",
                **CHAT,
                "system": "Be kind.",
                **REST,
                "stop_sequences": ["END"],
            },
        ),
        (
            "nova",
            {
                "schemaVersion": "messages-v1",
                "messages": NOVA_SAID,
                "inferenceConfig": {"maxTokens": 9},
            },
            {
                "schemaVersion": "messages-v1",
                "messages": NOVA_SAID,
                "system": [{"text": "Be kind."}],
                "inferenceConfig": {
                    "maxTokens": 9,
                    "temperature": 0.0,
                    "topP": 0.9,
                    "stopSequences": ["END"],
                },
            },
        ),
        (
            "titan",
            {"inputText": ..., "textGenerationConfig": {"maxTokenCount": 9}},
            {
                "inputText": ...,
                "textGenerationConfig": {
                    "maxTokenCount": 9,
                    "temperature": 0.0,
                    "topP": 0.9,
                    "stopSequences": ["END"],
                },
            },
        ),
        ("llama2", {"prompt": ..., "max_gen_len": 9}, {"prompt": ..., "max_gen_len": 9, **REST}),
        ("llama3", {"prompt": ..., "max_gen_len": 9}, {"prompt": ..., "max_gen_len": 9, **REST}),
        ("llama4", {"prompt": ..., "max_gen_len": 9}, {"prompt": ..., "max_gen_len": 9, **REST}),
        (
            "mistral-text",
            {"prompt": ..., "max_tokens": 9},
            {"prompt": ..., "max_tokens": 9, **REST, "stop": ["END"]},
        ),
        ("mistral-chat", CHAT, FULL_CHAT),
        (
            "command-r",
            {
                "message": "c",
                "chat_history": [
                    {"role": "USER", "message": "a"},
                    {"role": "CHATBOT", "message": "b"},
                ],
                "max_tokens": 9,
            },
            {
                "message": "c",
                "chat_history": [
                    {"role": "USER", "message": "a"},
                    {"role": "CHATBOT", "message": "b"},
                ],
                "preamble": "Be kind.",
                "max_tokens": 9,
                "temperature": 0.0,
                "p": 0.9,
                "stop_sequences": ["END"],
            },
        ),
        ("jamba", CHAT, {**FULL_CHAT, "stop": ["END"]}),
        (
            "deepseek-r1",
            {"prompt": ..., "max_tokens": 9},
            {"prompt": ..., "max_tokens": 9, **REST, "stop": ["END"]},
        ),
        ("openai-chat", CHAT, {**FULL_CHAT, "stop": ["END"]}),
        ("palmyra", CHAT, {**FULL_CHAT, "stop": ["END"]}),
    ],
)
def test_requests(name: str, plain: dict[str, Any], full: dict[str, Any]) -> None:
    """Each family's own body, with what was given and nothing else; templates have their tests."""
    for prompt, expected in ((PLAIN, plain), (FULL, full)):
        made = body(family_of("", name), "", prompt)
        for field in ("prompt", "inputText"):
            if field in made:
                assert "a" in made[field]
                made[field] = ...
        assert expected == made


def test_one_question_alone() -> None:
    """A conversation's first message needs no history, and no system prompt."""
    asked = Prompt(system="", messages=(Message("user", "c"),), max_tokens=9, cache=True)

    assert {"message": "c", "max_tokens": 9} == body(family_of("", "command-r"), "", asked)
    assert [{"role": "user", "content": "c"}] == body(family_of("", "claude"), "", asked)[
        "messages"
    ]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_alternation_is_repaired_for_all(family: Family) -> None:
    """A failed answer left nothing behind: the two questions around it become one."""
    said = (Message("user", "a"), Message("assistant", ""), Message("user", "c"))
    whole = replace(PLAIN, messages=(Message("user", "a\n\nc"),))

    assert body(family, "", whole) == body(family, "", replace(PLAIN, messages=said))


def test_cache_points() -> None:
    """With a cache, Claude's system prompt and the end of its history carry a point each."""
    point = {"cache_control": {"type": "ephemeral"}}
    made = body(family_of("", "claude"), "", replace(FULL, cache=True))

    assert [{"type": "text", "text": "Be kind.", **point}] == made["system"]
    assert [
        SAID[0],
        {"role": "assistant", "content": [{"type": "text", "text": "b", **point}]},
        SAID[2],
    ] == made["messages"]
    assert body(family_of("", "nova"), "", FULL) == body(
        family_of("", "nova"), "", replace(FULL, cache=True)
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

    assert most == body(family, model_id, replace(PLAIN, max_tokens=50_000))[field]
    assert 9 == body(family, model_id, PLAIN)[field]


def test_ceilings_are_in_order() -> None:
    """The first beginning that fits counts: none stands behind one that hides it."""
    for family in FAMILIES:
        starts = list(family.ceilings)
        hidden = [b for at, b in enumerate(starts) for a in starts[:at] if b.startswith(a)]
        assert not hidden, family.name


def told(stream: Stream) -> tuple[str, str, list[str], Usage]:
    """What is told of a stream: reasoning, answer, stop reasons, usage."""
    decoder = Decoder(family_of("", stream.family))
    usage = Usage()
    said: dict[type, str] = {ReasoningDelta: "", TextDelta: ""}
    stops = []
    for chunk in stream.chunks:
        for event in decoder.events(chunk) if isinstance(chunk, dict) else ():
            match event:
                case TextDelta() | ReasoningDelta():
                    said[type(event)] += event.text
                case Usage():
                    usage = usage.updated(event)
                case Stopped():
                    stops.append(event.reason)
    return said[ReasoningDelta], said[TextDelta], stops, usage


@pytest.mark.parametrize("name", STREAMS)
def test_streams(name: str) -> None:
    """A whole stream of each family: reasoning apart, the answer, one end, the counts."""
    stream = STREAMS[name]

    assert (stream.reasoning, stream.text, [stream.stop], stream.usage) == told(stream)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_short_has_no_end(name: str) -> None:
    """Until the chunk with the stop reason has come there is no end, nor text that means one."""
    stream = STREAMS[name]
    cut = next(
        length
        for length in range(len(stream.chunks))
        if told(replace(stream, chunks=stream.chunks[: length + 1]))[2]
    )

    assert [] == told(replace(stream, chunks=stream.chunks[:cut]))[2]
    assert cut >= len(stream.chunks) - 3


@pytest.mark.parametrize(
    ("name", "reason", "told"),
    [
        ("claude", "end_turn", "end_turn"),
        ("claude", "max_tokens", "max_tokens"),
        ("claude", "stop_sequence", "stop_sequence"),
        ("claude", "refusal", "content_filtered"),
        ("claude", "model_context_window_exceeded", "max_tokens"),
        ("claude", "pause_turn", "other"),
        ("claude", "tool_use", "other"),
        ("nova", "end_turn", "end_turn"),
        ("nova", "max_tokens", "max_tokens"),
        ("nova", "stop_sequence", "stop_sequence"),
        ("nova", "content_filtered", "content_filtered"),
        ("nova", "guardrail_intervened", "guardrail"),
        ("nova", "something_new", "other"),
        ("titan", "FINISH", "end_turn"),
        ("titan", "FINISHED", "end_turn"),
        ("titan", "LENGTH", "max_tokens"),
        ("titan", "STOP_CRITERIA_MET", "stop_sequence"),
        ("titan", "CONTENT_FILTERED", "content_filtered"),
        ("titan", "RAG_QUERY_WHEN_RAG_DISABLED", "other"),
        *((f"llama{version}", "stop", "end_turn") for version in "234"),
        *((f"llama{version}", "length", "max_tokens") for version in "234"),
        ("mistral-text", "stop", "end_turn"),
        ("mistral-text", "length", "max_tokens"),
        ("mistral-chat", "stop", "end_turn"),
        ("mistral-chat", "length", "max_tokens"),
        ("mistral-chat", "model_length", "max_tokens"),
        ("mistral-chat", "tool_calls", "other"),
        ("command-r", "COMPLETE", "end_turn"),
        ("command-r", "MAX_TOKENS", "max_tokens"),
        ("command-r", "STOP_SEQUENCE", "stop_sequence"),
        ("command-r", "ERROR_LIMIT", "max_tokens"),
        ("command-r", "ERROR_TOXIC", "content_filtered"),
        ("command-r", "ERROR", "other"),
        ("command-r", "USER_CANCEL", "other"),
        ("command-r", None, "other"),
        *((name, "stop", "end_turn") for name in ("jamba", "openai-chat", "palmyra")),
        *((name, "length", "max_tokens") for name in ("jamba", "openai-chat", "palmyra")),
        ("deepseek-r1", "stop", "end_turn"),
        ("deepseek-r1", "length", "max_tokens"),
        ("deepseek-r1", "eos_token", "end_turn"),
        ("openai-chat", "content_filter", "content_filtered"),
        ("openai-chat", "tool_calls", "other"),
        ("openai-chat", 128008, "other"),
    ],
)
def test_stop_reasons(name: str, reason: Any, told: str) -> None:
    """Every family's own words come down to one small vocabulary."""
    shapes: dict[str, Mapping[str, Any]] = {
        "claude": {"type": "message_delta", "delta": {"stop_reason": reason}},
        "nova": {"messageStop": {"stopReason": reason}},
        "titan": {"outputText": "", "completionReason": reason},
        "llama2": {"generation": "", "stop_reason": reason},
        "llama3": {"generation": "", "stop_reason": reason},
        "llama4": {"generation": "", "stop_reason": reason},
        "mistral-text": {"outputs": [{"text": "", "stop_reason": reason}]},
        "mistral-chat": {"choices": [{"message": {"content": ""}, "stop_reason": reason}]},
        "command-r": {"event_type": "stream-end", "finish_reason": reason},
        "deepseek-r1": {"choices": [{"text": "", "stop_reason": reason}]},
    }
    last = shapes.get(name, {"choices": [{"delta": {}, "finish_reason": reason}]})

    assert [Stopped(told)] == events(name, last)


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


def test_cached_tokens() -> None:
    """Claude's cached tokens are counted apart, from its own usage and from Bedrock's."""
    usage = {"input_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 3}
    metrics = {"inputTokenCount": 5, "cacheReadInputTokenCount": 8, "cacheWriteInputTokenCount": 2}

    assert [
        Usage(input_tokens=5, cache_read_tokens=7, cache_write_tokens=3),
        Usage(input_tokens=5, cache_read_tokens=8, cache_write_tokens=2),
    ] == events(
        "claude",
        {"type": "message_start", "message": {"usage": usage}},
        {"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics},
    )


def test_reasoning_ends_before_the_stop() -> None:
    """What was held back as the possible beginning of a tag is given out before the end."""
    stop = {"choices": [{"delta": {"content": "<thi"}, "finish_reason": "stop"}], **METRICS}

    assert [
        TextDelta("<thi"),
        Stopped("end_turn"),
        Usage(input_tokens=12, output_tokens=4),
    ] == events("openai-chat", stop)


KNOWN_NAMES = st.sampled_from(
    [
        "amazon-bedrock-guardrailAction",
        "amazon-bedrock-invocationMetrics",
        "amazon-bedrock-trace",
        "choices",
        "completionReason",
        "content",
        "contentBlockDelta",
        "delta",
        "event_type",
        "finish_reason",
        "generation",
        "input_tokens",
        "inputTokenCount",
        "is_finished",
        "message",
        "messageStop",
        "metadata",
        "outputText",
        "outputs",
        "prompt_tokens",
        "reasoning_content",
        "reasoningContent",
        "response",
        "stop_reason",
        "stopReason",
        "text",
        "thinking",
        "token_count",
        "usage",
    ]
)
odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["x", "<think>", "stop", "BLOCKED"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KNOWN_NAMES, inner, max_size=3),
    max_leaves=6,
)
KINDS = ["message_start", "content_block_delta", "message_delta", "new", "stream-end"]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@given(st.lists(st.dictionaries(KNOWN_NAMES, odd), max_size=3), st.sampled_from(KINDS))
def test_unknown_shapes_break_nothing(
    family: Family, chunks: list[dict[str, Any]], kind: str
) -> None:
    """Whatever a chunk holds beside what we know, it becomes events of ours or none."""
    for event in events(family.name, *({**chunk, "type": kind} for chunk in chunks)):
        assert isinstance(event, TextDelta | ReasoningDelta | Usage | Stopped)
        if isinstance(event, TextDelta | ReasoningDelta):
            assert isinstance(event.text, str)
            assert event.text
        if isinstance(event, Stopped):
            assert event.reason in {*STOP_REASONS.values(), "other"}

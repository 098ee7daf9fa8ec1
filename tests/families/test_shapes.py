import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from support.family_streams import FULL, PLAIN, STREAMS, Stream, events

from families.chunks import STOP_REASONS
from families.registry import FAMILIES, Decoder, family_of, request_body
from families.shapes import choice_events, claude_events
from families.types import Message, Prompt, ReasoningDelta, Stopped, TextDelta, Usage

SRC = Path(__file__).parents[2] / "src"
REST = {"temperature": 0.0, "top_p": 0.9}
MESSAGES = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "b"},
    {"role": "user", "content": "c"},
]
CHAT: dict[str, Any] = {"messages": MESSAGES, "max_tokens": 9}
FULL_CHAT = {**CHAT, "messages": [{"role": "system", "content": "Be kind."}, *MESSAGES], **REST}
NOVA_MESSAGES = [{"role": m["role"], "content": [{"text": m["content"]}]} for m in MESSAGES]


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
                "messages": NOVA_MESSAGES,
                "inferenceConfig": {"maxTokens": 9},
            },
            {
                "schemaVersion": "messages-v1",
                "messages": NOVA_MESSAGES,
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
def test_a_body_has_the_familys_fields_and_no_others(
    name: str, plain: dict[str, Any], full: dict[str, Any]
) -> None:
    """Unset settings are omitted. Templates have tests of their own."""
    for prompt, expected in ((PLAIN, plain), (FULL, full)):
        made = request_body(family_of("", name), "", prompt)
        for field in ("prompt", "inputText"):
            if field in made:
                assert "a" in made[field]
                made[field] = ...
        assert expected == made


def test_a_first_message_has_no_history_or_system_prompt() -> None:
    """Fields for them are omitted, cache points too."""
    prompt = Prompt(system="", messages=(Message("user", "c"),), max_tokens=9, cache=True)

    assert {"message": "c", "max_tokens": 9} == request_body(family_of("", "command-r"), "", prompt)
    assert [{"role": "user", "content": "c"}] == request_body(family_of("", "claude"), "", prompt)[
        "messages"
    ]


def test_claudes_system_prompt_and_history_have_cache_points() -> None:
    """Other families ignore the setting."""
    point = {"cache_control": {"type": "ephemeral"}}
    made = request_body(family_of("", "claude"), "", structs.replace(FULL, cache=True))

    assert [{"type": "text", "text": "Be kind.", **point}] == made["system"]
    assert [
        MESSAGES[0],
        {"role": "assistant", "content": [{"type": "text", "text": "b", **point}]},
        MESSAGES[2],
    ] == made["messages"]
    assert request_body(family_of("", "nova"), "", FULL) == request_body(
        family_of("", "nova"), "", structs.replace(FULL, cache=True)
    )


def decoded(stream: Stream) -> tuple[str, str, list[str], Usage]:
    """Returns the reasoning, answer, stop reasons and usage of a stream."""
    decoder = Decoder(family_of("", stream.family))
    usage = Usage()
    texts: dict[type, str] = {ReasoningDelta: "", TextDelta: ""}
    stops = []
    for chunk in stream.chunks:
        for event in decoder.events(chunk) if isinstance(chunk, dict) else ():
            match event:
                case TextDelta() | ReasoningDelta():
                    texts[type(event)] += event.text
                case Usage():
                    usage = usage.updated(event)
                case Stopped():
                    stops.append(event.reason)
    return texts[ReasoningDelta], texts[TextDelta], stops, usage


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_decodes_to_reasoning_answer_stop_and_usage(name: str) -> None:
    """A complete stream of each shape."""
    stream = STREAMS[name]

    assert (stream.reasoning, stream.text, [stream.stop], stream.usage) == decoded(stream)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_off_has_no_end(name: str) -> None:
    """Nothing before the chunk with the stop reason counts as an end."""
    stream = STREAMS[name]
    cut = next(
        length
        for length in range(len(stream.chunks))
        if decoded(replace(stream, chunks=stream.chunks[: length + 1]))[2]
    )

    assert [] == decoded(replace(stream, chunks=stream.chunks[:cut]))[2]
    assert cut >= len(stream.chunks) - 3


@pytest.mark.parametrize(
    ("name", "reason", "expected"),
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
def test_stop_reasons_map_to_one_small_set(name: str, reason: Any, expected: str) -> None:
    """Unknown ones become "other"."""
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

    assert [Stopped(expected)] == events(name, last)


def test_claudes_cached_tokens_are_counted_separately() -> None:
    """In its own usage and in Bedrock's metrics."""
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
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["x", "<think>", "stop", "BLOCKED"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KNOWN_NAMES, inner, max_size=3),
    max_leaves=6,
)
KINDS = ["message_start", "content_block_delta", "message_delta", "new", "stream-end"]


@settings(max_examples=300)
@given(
    st.lists(st.dictionaries(KNOWN_NAMES, ANY_JSON, max_size=4), max_size=3),
    st.sampled_from(KINDS),
)
def test_unknown_shapes_are_not_errors(chunks: list[dict[str, Any]], kind: str) -> None:
    """Any chunk decodes to valid events or none, whatever the family.

    One example serves all families: generating it takes far longer than decoding it.
    """
    for family in FAMILIES:
        for event in events(family.name, *({**chunk, "type": kind} for chunk in chunks)):
            assert isinstance(event, TextDelta | ReasoningDelta | Usage | Stopped), family.name
            if isinstance(event, TextDelta | ReasoningDelta):
                assert isinstance(event.text, str), family.name
                assert event.text, family.name
            if isinstance(event, Stopped):
                assert event.reason in {*STOP_REASONS.values(), "other"}, family.name


def test_claudes_initial_output_count_is_ignored() -> None:
    """If the stream ends early, it must not stand for the whole answer."""
    started = {
        "type": "message_start",
        "message": {"usage": {"input_tokens": 9, "output_tokens": 1}},
    }

    assert [Usage(input_tokens=9)] == list(claude_events(started))


def test_of_two_reasoning_fields_the_first_is_read() -> None:
    """Which one does not depend on the process, whose hash seed orders a set of names."""
    program = "import sys, families.shapes as s; print(*s.choice_events(eval(sys.argv[1])))"
    chunk = {"choices": [{"delta": {"reasoning": "b", "reasoning_content": "a"}}]}
    found = {
        subprocess.run(
            [sys.executable, "-c", program, repr(chunk)],
            env={**os.environ, "PYTHONPATH": str(SRC), "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in range(6)
    }

    assert {"ReasoningDelta(text='a')"} == found
    assert [ReasoningDelta("a")] == list(choice_events(chunk))

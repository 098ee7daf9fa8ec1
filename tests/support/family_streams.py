"""Prompts, and complete streams of every shape with their decoded content.

Shared by the tests of the decoder and the comparison with langchain-aws.

Written from the sources in docs/families.md. Those marked as recorded are shortened real streams.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from families.registry import Decoder, family_of
from families.types import Message, ModelEvent, Prompt, Usage

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
COUNTED = Usage(input_tokens=12, output_tokens=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Chunks of one answer and what they decode to. The default text is "Hello there."."""

    family: str
    chunks: tuple[Any, ...]
    stop: str
    text: str = "Hello there."
    reasoning: str = ""
    usage: Usage = COUNTED


def claude(*deltas: Mapping[str, str], reason: str = "end_turn") -> tuple[Any, ...]:
    return (
        {
            "type": "message_start",
            "message": {
                "role": "assistant",
                "content": [],
                "usage": {"input_tokens": 12, "output_tokens": 1},
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": None},
            "usage": {"output_tokens": 4},
        },
        {"type": "message_stop", **METRICS},
    )


def llama(*texts: str, reason: str = "stop") -> tuple[Any, ...]:
    return (
        *(
            {
                "generation": text,
                "prompt_token_count": 12 if at == 0 else None,
                "generation_token_count": at + 1,
                "stop_reason": None,
            }
            for at, text in enumerate(texts)
        ),
        {
            "generation": "",
            "prompt_token_count": None,
            "generation_token_count": 4,
            "stop_reason": reason,
            **METRICS,
        },
    )


def listed(name: str, *texts: str, reason: str = "stop") -> tuple[Any, ...]:
    return (
        *({name: [{"text": text, "stop_reason": None}]} for text in texts),
        {name: [{"text": "", "stop_reason": reason}], **METRICS},
    )


def chat(*deltas: Mapping[str, Any], reason: str = "stop") -> tuple[Any, ...]:
    return (
        {"choices": [{"delta": {"role": "assistant"}, "index": 0}]},
        *({"choices": [{"delta": delta, "index": 0}]} for delta in deltas),
        {"choices": [{"delta": {}, "finish_reason": reason, "index": 0}], **METRICS},
    )


STREAMS: Mapping[str, Stream] = {
    "claude": Stream(
        family="claude",
        chunks=claude(
            {"type": "text_delta", "text": "Hello"}, {"type": "text_delta", "text": " there."}
        ),
        stop="end_turn",
    ),
    "claude-thinking": Stream(
        family="claude",
        chunks=claude(
            {"type": "thinking_delta", "thinking": "Hm."},
            {"type": "signature_delta", "signature": "c2ln"},
            {"type": "text_delta", "text": "Hello there."},
            reason="max_tokens",
        ),
        stop="max_tokens",
        reasoning="Hm.",
    ),
    "claude-tool": Stream(
        family="claude",
        chunks=(
            {"type": "ping"},
            {"type": "content_block_start", "index": 1, "content_block": {"type": "redacted"}},
            *claude(
                {"type": "text_delta", "text": "Hello there."},
                {"type": "input_json_delta", "partial_json": '{"text": "no'},
                {"type": "citations_delta"},
                reason="tool_use",
            ),
        ),
        stop="other",
    ),
    "nova": Stream(
        family="nova",
        chunks=(
            {"messageStart": {"role": "assistant"}},
            {"contentBlockDelta": {"delta": {"reasoningContent": {"text": "H"}}}},
            {
                "contentBlockDelta": {
                    "delta": {"reasoningContent": {"reasoningText": {"text": "m."}}}
                }
            },
            {"contentBlockDelta": {"delta": {"text": "Hello there."}, "contentBlockIndex": 1}},
            {"contentBlockStop": {"contentBlockIndex": 1}},
            {"messageStop": {"stopReason": "end_turn"}},
            {
                "metadata": {
                    "usage": {
                        "inputTokens": 12,
                        "outputTokens": 4,
                        "cacheReadInputTokenCount": 0,
                        "cacheWriteInputTokenCount": 0,
                    },
                    "metrics": {},
                    "trace": {},
                },
                **METRICS,
            },
        ),
        stop="end_turn",
        reasoning="Hm.",
        usage=Usage(input_tokens=12, output_tokens=4, cache_read_tokens=0, cache_write_tokens=0),
    ),
    "titan": Stream(
        family="titan",
        chunks=(
            {
                "outputText": "Hello",
                "index": 0,
                "totalOutputTextTokenCount": None,
                "completionReason": None,
                "inputTextTokenCount": 12,
            },
            {
                "outputText": " there.",
                "index": 0,
                "totalOutputTextTokenCount": 4,
                "completionReason": "FINISH",
                "inputTextTokenCount": None,
                **METRICS,
            },
        ),
        stop="end_turn",
    ),
    "llama2": Stream(family="llama2", chunks=llama("Hello", " there."), stop="end_turn"),
    "llama3": Stream(
        family="llama3", chunks=llama("Hello", " there.", reason="length"), stop="max_tokens"
    ),
    "llama3-distilled": Stream(
        family="llama3",
        chunks=llama("<thi", "nk>\nH", "m.\n</th", "ink>\n\n", "Hello there."),
        stop="end_turn",
        reasoning="\nHm.\n",
    ),
    "llama4": Stream(family="llama4", chunks=llama("Hello", " there."), stop="end_turn"),
    # The first chunk is recorded: litellm, issue 2464.
    "mistral-text": Stream(
        family="mistral-text", chunks=listed("outputs", "Hello", " there."), stop="end_turn"
    ),
    "mistral-text-long": Stream(
        family="mistral-text",
        chunks=listed("outputs", "Hello there.", reason="length"),
        stop="max_tokens",
    ),
    "mistral-chat": Stream(
        family="mistral-chat",
        chunks=(
            {
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": "Hello"},
                        "stop_reason": None,
                    }
                ]
            },
            {
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": " there."},
                        "stop_reason": "stop",
                    }
                ],
                **METRICS,
            },
        ),
        stop="end_turn",
    ),
    "magistral": Stream(
        family="mistral-chat",
        chunks=chat(
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]},
            {"content": [{"type": "text", "text": "Hello"}, {"type": "unknown"}, 7]},
            {"content": " there."},
            reason="model_length",
        ),
        stop="max_tokens",
        reasoning="Hm.",
    ),
    # As recorded from Cohere's own service: several clients' tests agree.
    "command-r": Stream(
        family="command-r",
        chunks=(
            {"is_finished": False, "event_type": "stream-start", "generation_id": "g"},
            {"is_finished": False, "event_type": "text-generation", "text": "Hello"},
            {"is_finished": False, "event_type": "text-generation", "text": " there."},
            {"is_finished": False, "event_type": "citation-generation", "text": "no"},
            {
                "is_finished": True,
                "event_type": "stream-end",
                "response": {
                    "text": "Hello there.",
                    "token_count": {"prompt_tokens": 77, "response_tokens": 10},
                },
                "finish_reason": "COMPLETE",
                **METRICS,
            },
        ),
        stop="end_turn",
    ),
    "command-r-reason-inside": Stream(
        family="command-r",
        chunks=(
            {"event_type": "text-generation", "text": "Hello there."},
            {
                "event_type": "stream-end",
                "response": {
                    "finish_reason": "MAX_TOKENS",
                    "token_count": {"prompt_tokens": 12, "response_tokens": 4},
                },
            },
        ),
        stop="max_tokens",
    ),
    "jamba": Stream(
        family="jamba",
        chunks=(
            {"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
            {"choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {"content": " there."}, "finish_reason": None}]},
            {
                "choices": [{"index": 0, "delta": {"content": None}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 12, "completion_tokens": 4, "total_tokens": 16},
                **METRICS,
            },
        ),
        stop="end_turn",
    ),
    "deepseek-r1": Stream(
        family="deepseek-r1",
        chunks=listed("choices", "Hm", ".\n</th", "ink", ">\n\nHello", " there."),
        stop="end_turn",
        reasoning="Hm.\n",
    ),
    "deepseek-r1-not-thinking": Stream(
        family="deepseek-r1",
        chunks=listed("choices", "Hello", " there."),
        stop="end_turn",
        reasoning="Hello there.",
    ),
    # Recorded: Cherry Studio, issue 10225. Each chunk of reasoning has tags of its own.
    "gpt-oss": Stream(
        family="openai-chat",
        chunks=chat(
            {"content": "<reasoning>The user:</reasoning>"},
            {"content": "<reasoning> says hello.</reasoning>"},
            {"content": "Hello"},
            {"content": " there."},
        ),
        stop="end_turn",
        reasoning="The user: says hello.",
    ),
    "qwen3": Stream(
        family="openai-chat",
        chunks=chat({"content": "Hello"}, {"content": " there."}, reason="length"),
        stop="max_tokens",
    ),
    # As reported for Kimi K2 Thinking on Bedrock: no usage in any chunk but Bedrock's own.
    "kimi": Stream(
        family="openai-chat",
        chunks=chat(
            {"reasoning_content": "H"},
            {"reasoning_content": {"text": "m"}},
            {"reasoning": "."},
            {"content": "Hello there."},
            reason="content_filter",
        ),
        stop="content_filtered",
        reasoning="Hm.",
    ),
    "palmyra": Stream(
        family="palmyra",
        chunks=(
            *chat({"content": "Hello"}, {"content": " there."}),
            "[DONE]",
        ),
        stop="end_turn",
    ),
    "palmyra-text": Stream(
        family="palmyra",
        chunks=(
            {"choices": [{"text": "Hello", "finish_reason": None}]},
            {"choices": [{"text": " there.", "finish_reason": "length"}], **METRICS},
            "[DONE]",
        ),
        stop="max_tokens",
    ),
}


def events(name: str, *chunks: Mapping[str, Any]) -> list[ModelEvent]:
    """Returns the events that the family's decoder makes of these chunks."""
    decoder = Decoder(family_of("", name))
    return [event for chunk in chunks for event in decoder.events(chunk)]

"""The same streams, read by langchain-aws: an independent reading of text, stop reason and usage.

`DIFFERENCES` lists every difference, with the reason. The test fails when a difference appears and
when one disappears.
"""

import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from support.family_streams import STREAMS, Stream

from families.registry import Decoder, family_of
from families.types import Stopped, TextDelta, Usage

if importlib.util.find_spec("langchain_aws") is None and not os.environ.get("CI"):
    pytest.skip(
        "langchain-aws is not installed: make test ARGS=tests/oracle", allow_module_level=True
    )

from langchain_aws.llms.bedrock import LLMInputOutputAdapter

PROVIDERS = {
    "claude": "anthropic",
    "nova": "amazon",
    "titan": "amazon",
    "llama2": "meta",
    "llama3": "meta",
    "llama4": "meta",
    "mistral-text": "mistral",
    "mistral-chat": "mistral",
    "command-r": "cohere",
    "jamba": "ai21",
    "deepseek-r1": "deepseek",
    "openai-chat": "openai",
    "palmyra": "writer",
}
# langchain-aws passes on the models' own stop reasons; this is our mapping, written independently.
REASONS = {
    "stop": "end_turn",
    "FINISH": "end_turn",
    "length": "max_tokens",
    "tool_use": "other",
}

# It keeps a chunk's fields beside the text, but drops the list that contains the stop reason.
NO_REASON = {"stop": None}
# An "error" is an exception of langchain-aws, after which nothing else can be compared. The shapes
# are documented or recorded (docs/families.md).
DIFFERENCES: Mapping[str, Mapping[str, Any]] = {
    # It reads the citation of each citations delta. This stream has one without (invented).
    "claude-tool": {"error": "KeyError"},
    # It supports Nova through the Converse API only, and reads it as Titan here.
    "nova": {"error": "KeyError"},
    # It does not separate reasoning from the text of imported Llama models.
    "llama3-distilled": {"text": "<think>\nHm.\n</think>\n\nHello there."},
    "mistral-text": NO_REASON,
    "mistral-text-long": NO_REASON,
    # It supports Mistral's text completions only.
    "mistral-chat": {"error": "KeyError"},
    "magistral": {"error": "KeyError"},
    # It expects text in every chunk, as in the Command models before R.
    "command-r": {"error": "KeyError"},
    "command-r-reason-inside": {"error": "KeyError"},
    # It does not support streaming with AI21's models.
    "jamba": {"error": "ValueError"},
    # It does not separate reasoning from the text.
    "deepseek-r1": {"text": "Hm.\n</think>\n\nHello there.", **NO_REASON},
    "deepseek-r1-not-thinking": NO_REASON,
    "gpt-oss": {
        "text": "<reasoning>The user:</reasoning><reasoning> says hello.</reasoning>Hello there.",
        **NO_REASON,
    },
    "qwen3": NO_REASON,
    "kimi": NO_REASON,
    # It reads `text`; Writer's guide and its API have `delta`. Both are read here.
    "palmyra": {"error": "KeyError"},
    "palmyra-text": NO_REASON,
}

Reading = dict[str, Any]


def ours(stream: Stream) -> Reading:
    decoder = Decoder(family_of("", stream.family))
    reading: Reading = {"text": "", "stop": None, "usage": Usage()}
    for chunk in stream.chunks:
        for event in decoder.events(chunk) if isinstance(chunk, dict) else ():
            match event:
                case TextDelta():
                    reading["text"] += event.text
                case Stopped():
                    reading["stop"] = event.reason
                case Usage():
                    reading["usage"] = reading["usage"].updated(event)
    reading["usage"] = (reading["usage"].prompt_tokens, reading["usage"].output_tokens)
    return reading


def theirs(stream: Stream) -> Reading:
    reading: Reading = {"text": "", "stop": None, "usage": (None, None)}
    try:
        for chunk in read(stream):
            content = getattr(chunk, "content", getattr(chunk, "text", ""))
            if isinstance(content, list):
                content = "".join(part.get("text", "") for part in content)
            reading["text"] += content
            for fields in (
                getattr(chunk, "generation_info", None) or {},
                getattr(chunk, "response_metadata", None) or {},
            ):
                reason = fields.get("stop_reason") or fields.get("completionReason")
                reading["stop"] = REASONS.get(reason, reason) if reason else reading["stop"]
                if metrics := fields.get("amazon-bedrock-invocationMetrics"):
                    reading["usage"] = (metrics["inputTokenCount"], metrics["outputTokenCount"])
                if usage := fields.get("usage_metadata"):
                    reading["usage"] = (usage["input_tokens"], usage["output_tokens"])
    except (KeyError, ValueError) as error:
        return {"error": type(error).__name__}
    return reading


def read(stream: Stream) -> Iterator[Any]:
    """Returns the chunks of a boto3 response as langchain-aws reads them."""
    messages = [{"chunk": {"bytes": json.dumps(chunk).encode()}} for chunk in stream.chunks]
    chunks: Iterator[Any] = LLMInputOutputAdapter.prepare_output_stream(
        PROVIDERS[stream.family], {"body": messages}, messages_api=stream.family == "claude"
    )
    return chunks


@pytest.mark.parametrize("name", STREAMS)
def test_langchain_reads_the_same_except_for_listed_differences(name: str) -> None:
    """Text, stop reason and usage of every recorded or documented stream."""
    mine, other = ours(STREAMS[name]), theirs(STREAMS[name])
    found = {point: value for point, value in other.items() if mine.get(point) != value}

    assert DIFFERENCES.get(name, {}) == found


def test_every_stream_is_compared() -> None:
    """Every family of a stream has a provider, and every listed difference a stream."""
    assert {stream.family for stream in STREAMS.values()} == set(PROVIDERS)
    assert DIFFERENCES.keys() <= STREAMS.keys()

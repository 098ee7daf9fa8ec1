"""The same streams, read by langchain-aws: an independent opinion of text, stop reason and usage.

`DIFFERENCES` holds every point where it says something else, with who is right and why. The test
fails when a difference appears, and when one is gone.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from langchain_aws.llms.bedrock import LLMInputOutputAdapter
from support.family_streams import STREAMS, Stream

from families.registry import FAMILIES, Decoder, family_of
from families.types import Stopped, TextDelta, Usage

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
# Its words are the models' own; ours for them, written down once more.
WORDS = {
    "stop": "end_turn",
    "FINISH": "end_turn",
    "length": "max_tokens",
    "tool_use": "other",
}

# It keeps a chunk's members beside the text, but throws away the list that the reason stands in.
NO_REASON = {"stop": None}
# Each of these ends with an exception there, so that nothing else can be compared. Ours is right:
# the shapes are documented or recorded (docs/families.md).
DIFFERENCES: Mapping[str, Mapping[str, Any]] = {
    # It asks every citations delta for its citation. A chunk without one is made up, but harmless.
    "claude-tool": {"error": "KeyError"},
    # It speaks with Nova through the Converse API only, and takes all of Amazon for Titan here.
    "nova": {"error": "KeyError"},
    # It does not part reasoning from the text of imported Llama models.
    "llama3-distilled": {"text": "<think>\nHm.\n</think>\n\nHello there."},
    "mistral-text": NO_REASON,
    "mistral-text-long": NO_REASON,
    # It knows Mistral's text completions only.
    "mistral-chat": {"error": "KeyError"},
    "magistral": {"error": "KeyError"},
    # It expects text in every chunk, as the Command models before R had it.
    "command-r": {"error": "KeyError"},
    "command-r-reason-inside": {"error": "KeyError"},
    # It streams no model of AI21.
    "jamba": {"error": "ValueError"},
    # It leaves the reasoning in the text.
    "deepseek-r1": {"text": "Hm.\n</think>\n\nHello there.", **NO_REASON},
    "deepseek-r1-not-thinking": NO_REASON,
    "gpt-oss": {
        "text": "<reasoning>The user:</reasoning><reasoning> says hello.</reasoning>Hello there.",
        **NO_REASON,
    },
    "qwen3": NO_REASON,
    "kimi": NO_REASON,
    # It reads `text`, where Writer's guide and its own answers have `delta`: we read both.
    "palmyra": {"error": "KeyError"},
    "palmyra-text": NO_REASON,
}

Told = dict[str, Any]


def ours(stream: Stream) -> Told:
    decoder = Decoder(family_of("", stream.family))
    told: Told = {"text": "", "stop": None, "usage": Usage()}
    for chunk in stream.chunks:
        for event in decoder.events(chunk) if isinstance(chunk, dict) else ():
            match event:
                case TextDelta():
                    told["text"] += event.text
                case Stopped():
                    told["stop"] = event.reason
                case Usage():
                    told["usage"] = told["usage"].updated(event)
    told["usage"] = (told["usage"].prompt_tokens, told["usage"].output_tokens)
    return told


def theirs(stream: Stream) -> Told:
    told: Told = {"text": "", "stop": None, "usage": (None, None)}
    try:
        for chunk in read(stream):
            content = getattr(chunk, "content", getattr(chunk, "text", ""))
            if isinstance(content, list):
                content = "".join(part.get("text", "") for part in content)
            told["text"] += content
            for said in (
                getattr(chunk, "generation_info", None) or {},
                getattr(chunk, "response_metadata", None) or {},
            ):
                word = said.get("stop_reason") or said.get("completionReason")
                told["stop"] = WORDS.get(word, word) if word else told["stop"]
                if metrics := said.get("amazon-bedrock-invocationMetrics"):
                    told["usage"] = (metrics["inputTokenCount"], metrics["outputTokenCount"])
                if usage := said.get("usage_metadata"):
                    told["usage"] = (usage["input_tokens"], usage["output_tokens"])
    except (KeyError, ValueError) as error:
        return {"error": type(error).__name__}
    return told


def read(stream: Stream) -> Iterator[Any]:
    """As langchain-aws reads a response of boto3."""
    messages = [{"chunk": {"bytes": json.dumps(chunk).encode()}} for chunk in stream.chunks]
    return LLMInputOutputAdapter.prepare_output_stream(
        PROVIDERS[stream.family], {"body": messages}, messages_api=stream.family == "claude"
    )


@pytest.mark.parametrize("name", STREAMS)
def test_differences(name: str) -> None:
    """What langchain-aws reads is what we read, but for the differences that are listed."""
    mine, other = ours(STREAMS[name]), theirs(STREAMS[name])
    found = {point: value for point, value in other.items() if mine.get(point) != value}

    assert DIFFERENCES.get(name, {}) == found


def test_every_family_was_compared() -> None:
    """No family and no listed difference is left out."""
    assert {family.name for family in FAMILIES} == set(PROVIDERS)
    assert DIFFERENCES.keys() <= STREAMS.keys()

"""Nova's native shape: what is refused, what is read, and the order of the events."""

from typing import Any

import pytest

from local.bedrock import nova
from local.bedrock.native import METRICS, Document
from local.bedrock.pieces import End, Failure, Turn

METRIC_VALUES = {"inputTokenCount": 7, "outputTokenCount": 2}


def said(role: str, *texts: str) -> Document:
    return {"role": role, "content": [{"text": text} for text in texts]}


def test_a_full_request_is_read() -> None:
    """System prompt, turns with their blocks, and the inference settings."""
    image = {"image": {"format": "png", "source": {}}}
    user = {"role": "user", "content": [image, {"text": "one"}, {"text": "two"}]}
    prompt = nova.read(
        {
            "schemaVersion": "messages-v1",
            "system": [{"text": "be"}, {"text": "kind"}],
            "messages": [user, said("assistant", "yes"), said("user", "three")],
            "inferenceConfig": {
                "maxTokens": 5,
                "temperature": 0.5,
                "topP": 1,
                "topK": 20,
                "stopSequences": ["END"],
            },
        },
        "the body",
    )

    assert prompt.system == "be\nkind"
    assert prompt.turns == (
        Turn("user", ("one", "two")),
        Turn("assistant", ("yes",)),
        Turn("user", ("three",)),
    )
    assert (prompt.max_tokens, prompt.temperature, prompt.top_p) == (5, 0.5, 1.0)
    assert prompt.stop_sequences == ("END",)
    assert prompt.body == "the body"


def test_the_least_request_is_read() -> None:
    """Messages are all that Nova asks for."""
    prompt = nova.read({"messages": [said("user", "hi")]}, "")

    assert prompt.turns == (Turn("user", ("hi",)),)
    assert prompt.max_tokens > 1000


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "#: required key [messages] not found"),
        ({"messages": [said("user", "x")], "max_tokens": 5}, "extraneous key [max_tokens]"),
        ({"messages": [said("user", "x")], "schemaVersion": "v2"}, "#/schemaVersion"),
        ({"messages": [said("user", "x")], "system": "be kind"}, "#/system: expected type: JSONA"),
        (
            {"messages": [said("user", "x")], "inferenceConfig": {"max_tokens": 5}},
            "extraneous key [max_tokens] is not permitted",
        ),
        (
            {"messages": [said("user", "x")], "inferenceConfig": {"maxTokens": 0}},
            "inferenceConfig/maxTokens: must be greater than or equal to 1",
        ),
        (
            {"messages": [said("user", "x")], "inferenceConfig": {"temperature": 2}},
            "temperature: range: 0..1",
        ),
        ({"messages": []}, "must start with a user message"),
        ({"messages": [said("assistant", "x")]}, "must start with a user message"),
        ({"messages": [said("user", "x"), said("user", "y")]}, "must alternate between user and"),
        ({"messages": [said("system", "x")]}, "#/messages/0/role: system is not a valid enum"),
        (
            {"messages": [{"role": "user", "content": "x"}]},
            "#/messages/0/content: expected type: JSONArray, found: String",
        ),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "#/messages/0/content/0: expected"),
        ({"messages": [said("user")]}, "messages.0.content is empty"),
        (
            {"messages": [said("user", "x"), said("assistant", "y", "")]},
            "The text field in the ContentBlock object at messages.1.content.1 is blank.",
        ),
        ({"messages": [said("user", " \n ")]}, "at messages.0.content.0 is blank."),
        ({"messages": [said("user", "x")], "system": [{"text": ""}]}, "at system.0 is blank."),
    ],
)
def test_what_the_service_refuses_is_refused(document: Document, words: str) -> None:
    """A ValidationException with words close to the service's own."""
    with pytest.raises(Failure) as caught:
        nova.read(document, "")

    assert caught.value.code == "ValidationException"
    assert words in caught.value.message


def test_an_answer_is_spoken_in_order() -> None:
    """Each chunk has one key; the stop reason comes before the usage, and the metrics are last."""
    speech = nova.Speech("amazon.nova-lite-v1:0", 7)
    chunks: list[dict[str, Any]] = [*speech.begin(), *speech.text("a"), *speech.text("b")]
    chunks += speech.end(End("length", input_tokens=7, output_tokens=2), METRIC_VALUES)

    assert chunks[:-1] == [
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"delta": {"text": "a"}, "contentBlockIndex": 0}},
        {"contentBlockDelta": {"delta": {"text": "b"}, "contentBlockIndex": 0}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"messageStop": {"stopReason": "max_tokens"}},
    ]
    assert chunks[-1]["metadata"]["usage"]["inputTokens"] == 7
    assert chunks[-1]["metadata"]["usage"]["outputTokens"] == 2
    assert chunks[-1][METRICS] == METRIC_VALUES


def test_reasoning_and_text_are_two_blocks() -> None:
    """The first is closed before the second begins."""
    speech = nova.Speech("amazon.nova-2-lite-v1:0", 7)

    chunks = [*speech.reasoning("hm"), *speech.text("a")]

    reasoning = {"reasoningContent": {"reasoningText": {"text": "hm"}}}
    assert chunks == [
        {"contentBlockDelta": {"delta": reasoning, "contentBlockIndex": 0}},
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"contentBlockDelta": {"delta": {"text": "a"}, "contentBlockIndex": 1}},
    ]


@pytest.mark.parametrize(
    ("reason", "native"),
    [("end", "end_turn"), ("filtered", "content_filtered"), ("tool_use", "tool_use")],
)
def test_a_stop_reason_is_spelled_its_way(reason: str, native: str) -> None:
    """Without any text there is no block to close; an unknown reason is passed on as it is."""
    stop, _ = nova.Speech("amazon.nova-lite-v1:0", 7).end(End(reason, 1, 1), METRIC_VALUES)

    assert stop == {"messageStop": {"stopReason": native}}


def test_unknown_chunks_are_of_no_type_that_exists() -> None:
    """And they are not text."""
    assert [list(chunk) for chunk in nova.Speech("", 1).unknown()] == [["somethingNew"]]

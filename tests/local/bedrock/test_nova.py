"""Nova's native shape: what is refused, what is read, and the order of the events."""

from typing import Any

import pytest

from local.bedrock import nova
from local.bedrock.native import METRICS, Document
from local.bedrock.pieces import End, Prompt, ServiceError, Turn

METRIC_VALUES = {"inputTokenCount": 7, "outputTokenCount": 2}
PROMPT = Prompt("", (Turn("user", ("hi",)),), 5)


def message(role: str, *texts: str) -> Document:
    return {"role": role, "content": [{"text": text} for text in texts]}


def test_a_full_request_is_parsed() -> None:
    """System prompt, turns with their blocks, and the inference settings."""
    image = {"image": {"format": "png", "source": {}}}
    user = {"role": "user", "content": [image, {"text": "one"}, {"text": "two"}]}
    prompt = nova.read(
        {
            "schemaVersion": "messages-v1",
            "system": [{"text": "be"}, {"text": "kind"}],
            "messages": [user, message("assistant", "yes"), message("user", "three")],
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


def test_a_minimal_request_is_parsed() -> None:
    """Only messages are required."""
    prompt = nova.read({"messages": [message("user", "hi")]}, "")

    assert prompt.turns == (Turn("user", ("hi",)),)
    assert prompt.max_tokens > 1000


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({}, "#: required key [messages] not found"),
        ({"messages": [message("user", "x")], "max_tokens": 5}, "extraneous key [max_tokens]"),
        ({"messages": [message("user", "x")], "schemaVersion": "v2"}, "#/schemaVersion"),
        (
            {"messages": [message("user", "x")], "system": "be kind"},
            "#/system: expected type: JSONA",
        ),
        (
            {"messages": [message("user", "x")], "inferenceConfig": {"max_tokens": 5}},
            "extraneous key [max_tokens] is not permitted",
        ),
        (
            {"messages": [message("user", "x")], "inferenceConfig": {"maxTokens": 0}},
            "inferenceConfig/maxTokens: must be greater than or equal to 1",
        ),
        (
            {"messages": [message("user", "x")], "inferenceConfig": {"temperature": 2}},
            "temperature: range: 0..1",
        ),
        ({"messages": []}, "must start with a user message"),
        ({"messages": [message("assistant", "x")]}, "must start with a user message"),
        (
            {"messages": [message("user", "x"), message("user", "y")]},
            "must alternate between user and",
        ),
        ({"messages": [message("system", "x")]}, "#/messages/0/role: system is not a valid enum"),
        (
            {"messages": [{"role": "user", "content": "x"}]},
            "#/messages/0/content: expected type: JSONArray, found: String",
        ),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "#/messages/0/content/0: expected"),
        ({"messages": [message("user")]}, "messages.0.content is empty"),
        (
            {"messages": [message("user", "x"), message("assistant", "y", "")]},
            "The text field in the ContentBlock object at messages.1.content.1 is blank.",
        ),
        ({"messages": [message("user", " \n ")]}, "at messages.0.content.0 is blank."),
        ({"messages": [message("user", "x")], "system": [{"text": ""}]}, "at system.0 is blank."),
    ],
)
def test_requests_that_the_service_rejects_are_rejected(document: Document, error: str) -> None:
    """The error is a ValidationException with a message close to the service's."""
    with pytest.raises(ServiceError) as caught:
        nova.read(document, "")

    assert caught.value.code == "ValidationException"
    assert error in caught.value.message


def test_chunks_of_an_answer_are_in_order() -> None:
    """Each chunk has one key; the stop reason comes before the usage, and the metrics are last."""
    writer = nova.ChunkWriter("amazon.nova-lite-v1:0", PROMPT)
    chunks: list[dict[str, Any]] = [*writer.begin(), *writer.text("a"), *writer.text("b")]
    chunks += writer.end(End("length", input_tokens=7, output_tokens=2), METRIC_VALUES)

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
    """The first block is closed before the second begins."""
    writer = nova.ChunkWriter("amazon.nova-2-lite-v1:0", PROMPT)

    chunks = [*writer.reasoning("hm"), *writer.text("a")]

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
def test_stop_reasons_have_the_familys_own_names(reason: str, native: str) -> None:
    """Without text there is no block to close; an unknown reason is passed on unchanged."""
    stop, _ = nova.ChunkWriter("amazon.nova-lite-v1:0", PROMPT).end(
        End(reason, 1, 1), METRIC_VALUES
    )

    assert stop == {"messageStop": {"stopReason": native}}


def test_unknown_chunks_have_an_undocumented_type() -> None:
    """They are not text."""
    assert [list(chunk) for chunk in nova.ChunkWriter("", PROMPT).unknown()] == [["somethingNew"]]

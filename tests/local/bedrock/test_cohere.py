"""Command R's native shape: request validation, parsing, and the order of the events."""

import pytest

from local.bedrock import cohere
from local.bedrock.native import METRICS, Document
from local.bedrock.pieces import End, Prompt, ServiceError, Turn

METRIC_VALUES = {"inputTokenCount": 7, "outputTokenCount": 2}


def message(role: str, text: str) -> Document:
    return {"role": role, "message": text}


def test_a_full_request_is_parsed() -> None:
    """The message follows the history."""
    prompt = cohere.read(
        {
            "message": "three",
            "chat_history": [message("USER", "one"), message("CHATBOT", "two")],
            "preamble": "Be kind.",
            "max_tokens": 5,
            "temperature": 0.5,
            "p": 0.9,
            "stop_sequences": ["END"],
        },
        "the body",
    )

    assert "Be kind." == prompt.system
    assert (
        Turn("user", ("one",)),
        Turn("assistant", ("two",)),
        Turn("user", ("three",)),
    ) == prompt.turns
    assert (5, 0.5, 0.9) == (prompt.max_tokens, prompt.temperature, prompt.top_p)
    assert (("END",), "the body") == (prompt.stop_sequences, prompt.body)


def test_a_minimal_request_is_parsed() -> None:
    """Only the message is required."""
    prompt = cohere.read({"message": "hi"}, "")

    assert (Turn("user", ("hi",)),) == prompt.turns
    assert "" == prompt.system


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({}, "required key [message] not found"),
        ({"message": "x", "top_p": 1}, "extraneous key [top_p]"),
        ({"message": "x", "system": "y"}, "extraneous key [system]"),
        ({"message": " "}, "at least 1 token long"),
        ({"message": ["x"]}, "#/message: expected type: String"),
        (
            {"message": "x", "chat_history": [message("user", "y")]},
            "/role: user is not a valid enum",
        ),
        ({"message": "x", "chat_history": [message("USER", "y")]}, "must alternate"),
        ({"message": "x", "chat_history": [message("CHATBOT", "y")]}, "must alternate"),
        (
            {"message": "x", "chat_history": [message("USER", ""), message("CHATBOT", "y")]},
            "must be non-empty",
        ),
        ({"message": "x", "chat_history": [{"role": "USER"}]}, "required key [message]"),
        ({"message": "x", "max_tokens": 0}, "greater than or equal to 1"),
        ({"message": "x", "p": 2}, "p: range: 0..1"),
    ],
)
def test_requests_that_the_service_rejects_are_rejected(document: Document, error: str) -> None:
    """The error has the service's code and message."""
    with pytest.raises(ServiceError) as caught:
        cohere.read(document, "")

    assert "ValidationException" == caught.value.code
    assert error in caught.value.message


def test_chunks_of_an_answer_are_in_order() -> None:
    """The end repeats the whole text, which a client must not append."""
    writer = cohere.ChunkWriter("cohere.command-r-v1:0", Prompt("", (), 1))
    chunks = [*writer.begin(), *writer.reasoning("hm"), *writer.text("a"), *writer.text("b")]
    chunks += writer.end(End("length", 7, 2), METRIC_VALUES)

    assert ["stream-start", "text-generation", "text-generation", "stream-end"] == [
        chunk["event_type"] for chunk in chunks
    ]
    assert [False, False, False, True] == [chunk["is_finished"] for chunk in chunks]
    assert ["a", "b"] == [chunk["text"] for chunk in chunks if "text" in chunk]
    assert "ab" == chunks[-1]["response"]["text"]
    assert "MAX_TOKENS" == chunks[-1]["finish_reason"] == chunks[-1]["response"]["finish_reason"]
    assert METRIC_VALUES == chunks[-1][METRICS]


@pytest.mark.parametrize(
    ("reason", "native"),
    [
        ("end", "COMPLETE"),
        ("stop_sequence", "STOP_SEQUENCE"),
        ("filtered", "ERROR_TOXIC"),
        ("USER_CANCEL", "USER_CANCEL"),
    ],
)
def test_stop_reasons_have_the_familys_own_names(reason: str, native: str) -> None:
    """An unknown reason is passed on unchanged."""
    writer = cohere.ChunkWriter("", Prompt("", (), 1))

    assert native == writer.end(End(reason, 1, 1), METRIC_VALUES)[0]["finish_reason"]


def test_unknown_events_have_an_undocumented_type() -> None:
    """They may have a text."""
    [event] = cohere.ChunkWriter("", Prompt("", (), 1)).unknown()

    assert ("something-new", "not for you") == (event["event_type"], event["text"])

"""Command R's native shape: what is read, what is refused, and the order of the events."""

import pytest

from local.bedrock import cohere
from local.bedrock.native import METRICS, Document
from local.bedrock.pieces import End, Failure, Prompt, Turn

METRIC_VALUES = {"inputTokenCount": 7, "outputTokenCount": 2}


def said(role: str, text: str) -> Document:
    return {"role": role, "message": text}


def test_a_full_request_is_read() -> None:
    """The history, and behind it the message."""
    prompt = cohere.read(
        {
            "message": "three",
            "chat_history": [said("USER", "one"), said("CHATBOT", "two")],
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


def test_the_least_request_is_read() -> None:
    """A message is all that Command R asks for."""
    prompt = cohere.read({"message": "hi"}, "")

    assert (Turn("user", ("hi",)),) == prompt.turns
    assert "" == prompt.system


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "required key [message] not found"),
        ({"message": "x", "top_p": 1}, "extraneous key [top_p]"),
        ({"message": "x", "system": "y"}, "extraneous key [system]"),
        ({"message": " "}, "at least 1 token long"),
        ({"message": ["x"]}, "#/message: expected type: String"),
        ({"message": "x", "chat_history": [said("user", "y")]}, "/role: user is not a valid enum"),
        ({"message": "x", "chat_history": [said("USER", "y")]}, "must alternate"),
        ({"message": "x", "chat_history": [said("CHATBOT", "y")]}, "must alternate"),
        (
            {"message": "x", "chat_history": [said("USER", ""), said("CHATBOT", "y")]},
            "must be non-empty",
        ),
        ({"message": "x", "chat_history": [{"role": "USER"}]}, "required key [message]"),
        ({"message": "x", "max_tokens": 0}, "greater than or equal to 1"),
        ({"message": "x", "p": 2}, "p: range: 0..1"),
    ],
)
def test_what_the_service_refuses_is_refused(document: Document, words: str) -> None:
    """With the service's own code."""
    with pytest.raises(Failure) as caught:
        cohere.read(document, "")

    assert "ValidationException" == caught.value.code
    assert words in caught.value.message


def test_an_answer_is_spoken_in_order() -> None:
    """The end repeats the whole text, which a client must not take for more of it."""
    speech = cohere.Speech("cohere.command-r-v1:0", Prompt("", (), 1))
    chunks = [*speech.begin(), *speech.reasoning("hm"), *speech.text("a"), *speech.text("b")]
    chunks += speech.end(End("length", 7, 2), METRIC_VALUES)

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
def test_a_stop_reason_is_spelled_its_way(reason: str, native: str) -> None:
    """An unknown one is passed on as it is."""
    speech = cohere.Speech("", Prompt("", (), 1))

    assert native == speech.end(End(reason, 1, 1), METRIC_VALUES)[0]["finish_reason"]


def test_unknown_events_are_of_no_type_that_exists() -> None:
    """Even if they have a text."""
    [event] = cohere.Speech("", Prompt("", (), 1)).unknown()

    assert ("something-new", "not for you") == (event["event_type"], event["text"])

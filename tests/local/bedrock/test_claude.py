"""Claude's native shape: request validation, parsing, and the order of the events."""

from typing import Any

import pytest

from local.bedrock import claude
from local.bedrock.native import METRICS, Document
from local.bedrock.pieces import End, Prompt, ServiceError, Turn

METRIC_VALUES = {"inputTokenCount": 7, "outputTokenCount": 2}
PROMPT = Prompt("", (Turn("user", ("hi",)),), 5, body="x" * 28)  # estimated at 7 tokens


def request(**changes: Any) -> Document:
    """Returns a valid request with some fields changed; None removes one."""
    valid = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": "hi"}],
    }
    return {name: value for name, value in {**valid, **changes}.items() if value is not None}


def message(role: str, content: Any = "hi") -> Document:
    return {"role": role, "content": content}


def test_a_full_request_is_parsed() -> None:
    """System prompt, turns with their blocks, and limits; blocks without text are ignored."""
    image = {"type": "image", "source": {}}
    blocks = [image, {"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    prompt = claude.read(
        request(
            system=[{"type": "text", "text": "be"}, {"type": "text", "text": "kind"}],
            messages=[message("user", blocks), message("assistant"), message("user", "three")],
            max_tokens=5,
            temperature=0,
            top_p=0.5,
            stop_sequences=["END"],
        ),
        "the body",
    )

    assert prompt.system == "be\nkind"
    assert prompt.turns == (
        Turn("user", ("one", "two")),
        Turn("assistant", ("hi",)),
        Turn("user", ("three",)),
    )
    assert (prompt.max_tokens, prompt.temperature, prompt.top_p) == (5, 0.0, 0.5)
    assert prompt.stop_sequences == ("END",)
    assert prompt.body == "the body"
    assert prompt.last_user_text == "three"


def test_the_last_user_text_is_the_last_block_of_the_user() -> None:
    """A merged earlier message and a prefill are not part of it."""
    blocks = [{"type": "text", "text": "unanswered"}, {"type": "text", "text": "newest"}]

    prompt = claude.read(request(messages=[message("user", blocks), message("assistant", "I")]), "")

    assert prompt.last_user_text == "newest"
    assert prompt.turns[0].text == "unanswered\nnewest"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"anthropic_version": None}, "#: required key [anthropic_version] not found"),
        ({"max_tokens": None}, "#: required key [max_tokens] not found"),
        ({"messages": None}, "#: required key [messages] not found"),
        ({"prompt": "x"}, "#: extraneous key [prompt] is not permitted"),
        ({"stream": True}, "#: extraneous key [stream] is not permitted"),
        ({"anthropic_version": "2023-06-01"}, "anthropic_version"),
        ({"max_tokens": 0}, "max_tokens: must be greater than or equal to 1"),
        ({"max_tokens": "9"}, "#/max_tokens: expected type: Integer, found: String"),
        ({"max_tokens": True}, "#/max_tokens: expected type: Integer, found: Boolean"),
        ({"temperature": 1.1}, "temperature: range: 0..1"),
        ({"temperature": True}, "temperature: range: 0..1"),
        ({"top_p": "1"}, "top_p: range: 0..1"),
        ({"stop_sequences": "END"}, "#/stop_sequences: expected type: JSONArray"),
        ({"messages": {}}, "#/messages: expected type: JSONArray, found: JSONObject"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": ["hi"]}, "#/messages/0: expected type: JSONObject"),
        ({"messages": [{"role": "user"}]}, "#: required key [content] not found"),
        ({"messages": [{**message("user"), "name": "x"}]}, "extraneous key [name]"),
        ({"messages": [message("system")]}, "Unexpected role"),
        ({"messages": [message("assistant")]}, 'first message must use the "user" role'),
        ({"messages": [message("user"), message("user")]}, "roles must alternate"),
        (
            {"messages": [message("user"), message("assistant"), message("assistant")]},
            'found multiple "assistant" roles in a row',
        ),
        ({"messages": [message("user", "")]}, "messages: text content blocks must be non-empty"),
        ({"messages": [message("user", " \n")]}, "must contain non-whitespace text"),
        ({"messages": [message("user", [])]}, "all messages must have non-empty content"),
        ({"messages": [message("user", [{"type": "text", "text": ""}])]}, "must be non-empty"),
        (
            {"messages": [message("user", [{"text": "x"}])]},
            "does not match any of the expected tags",
        ),
        ({"messages": [message("user", [{"type": "text"}])]}, "expected type: String, found: Null"),
        ({"messages": [message("user", 5)]}, "expected type: JSONArray, found: Integer"),
        ({"messages": [message("user"), message("assistant", "I ")]}, "trailing whitespace"),
        ({"system": ""}, "system: text content blocks must be non-empty"),
    ],
)
def test_requests_that_the_service_rejects_are_rejected(
    changes: dict[str, Any], error: str
) -> None:
    """The error is a ValidationException with a message close to the service's."""
    with pytest.raises(ServiceError) as caught:
        claude.read(request(**changes), "")

    assert caught.value.code == "ValidationException"
    assert error in caught.value.message


def test_all_schema_violations_are_reported_at_once() -> None:
    """As the service reports them, concatenated."""
    with pytest.raises(ServiceError) as caught:
        claude.read(request(max_tokens=None, prompt="x"), "")

    assert caught.value.message == (
        "Malformed input request: #: required key [max_tokens] not found"
        "#: extraneous key [prompt] is not permitted, please reformat your input and try again."
    )


def test_chunks_of_an_answer_are_in_order() -> None:
    """Message, block, ping, deltas, end of block, stop reason with usage, metrics last."""
    writer = claude.ChunkWriter("anthropic.claude-3-haiku-20240307-v1:0", PROMPT)
    chunks = [*writer.begin(), *writer.text("a"), *writer.text("b")]
    chunks += writer.end(End("end", input_tokens=7, output_tokens=2), METRIC_VALUES)

    assert [chunk["type"] for chunk in chunks] == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert chunks[0]["message"]["model"] == "claude-3-haiku-20240307"
    assert chunks[0]["message"]["usage"]["input_tokens"] == 7
    assert chunks[3] == {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "a"},
    }
    assert chunks[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert chunks[-2]["usage"] == {"output_tokens": 2}
    assert chunks[-1] == {"type": "message_stop", METRICS: METRIC_VALUES}
    assert not any(METRICS in chunk for chunk in chunks[:-1])


def test_thinking_has_a_block_of_its_own() -> None:
    """It ends with a signature before the text's block begins."""
    writer = claude.ChunkWriter("anthropic.claude-3-haiku-20240307-v1:0", PROMPT)

    chunks = [*writer.reasoning("hm"), *writer.text("a")]

    assert [(chunk["type"], chunk.get("index")) for chunk in chunks] == [
        ("content_block_start", 0),
        ("ping", None),
        ("content_block_delta", 0),
        ("content_block_delta", 0),
        ("content_block_stop", 0),
        ("content_block_start", 1),
        ("content_block_delta", 1),
    ]
    assert chunks[2]["delta"] == {"type": "thinking_delta", "thinking": "hm"}
    assert chunks[3]["delta"]["type"] == "signature_delta"


@pytest.mark.parametrize(
    ("reason", "native"),
    [
        ("end", "end_turn"),
        ("length", "max_tokens"),
        ("stop_sequence", "stop_sequence"),
        ("filtered", "refusal"),
        ("pause_turn", "pause_turn"),
    ],
)
def test_stop_reasons_have_the_familys_own_names(reason: str, native: str) -> None:
    """Without text there is no block to close; an unknown reason is passed on unchanged."""
    writer = claude.ChunkWriter("anthropic.claude-3-haiku-20240307-v1:0", PROMPT)

    delta, stop = writer.end(End(reason, 1, 1, stop_sequence="X"), METRIC_VALUES)

    assert delta["delta"] == {"stop_reason": native, "stop_sequence": "X"}
    assert stop["type"] == "message_stop"


def test_unknown_chunks_have_an_undocumented_type() -> None:
    """An event and, inside an open block, a delta; neither is text."""
    writer = claude.ChunkWriter("anthropic.claude-3-haiku-20240307-v1:0", PROMPT)

    outside = writer.unknown()
    writer.text("a")
    inside = writer.unknown()

    assert [chunk["type"] for chunk in outside] == ["something_new"]
    assert [chunk["type"] for chunk in inside] == ["something_new", "content_block_delta"]
    assert inside[1]["delta"]["type"] == "something_new_delta"

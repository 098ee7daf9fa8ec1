"""The families with messages and choices: their requests and their chunks."""

from collections.abc import Callable
from typing import Any

import pytest

from local.bedrock import chat
from local.bedrock.native import METRICS, Document
from local.bedrock.pieces import End, Prompt, ServiceError, Turn

METRIC_VALUES = {"inputTokenCount": 7, "outputTokenCount": 2}
REQUESTS = {
    "openai": chat.read_openai,
    "mistral": chat.read_mistral,
    "jamba": chat.read_jamba,
    "palmyra": chat.read_palmyra,
}
every = pytest.mark.parametrize("read", REQUESTS.values(), ids=list(REQUESTS))


def message(role: str, content: Any) -> Document:
    return {"role": role, "content": content}


HI = [message("user", "hi")]


@every
def test_a_full_request_is_parsed(read: chat.Request) -> None:
    """System prompt, turns with their parts, and settings."""
    image = {"type": "image_url", "image_url": {}}
    parts = [image, {"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    prompt = read(
        {
            "messages": [
                message("system", "Be kind."),
                message("user", parts),
                message("assistant", "yes"),
                message("user", "three"),
            ],
            "max_tokens": 5,
            "temperature": 0.5,
            "top_p": 1,
            "stop": ["END"],
        },
        "the body",
    )

    assert "Be kind." == prompt.system
    assert (
        Turn("user", ("one", "two")),
        Turn("assistant", ("yes",)),
        Turn("user", ("three",)),
    ) == prompt.turns
    assert (5, 0.5, 1.0) == (prompt.max_tokens, prompt.temperature, prompt.top_p)
    assert (("END",), "the body") == (prompt.stop_sequences, prompt.body)


@every
def test_a_minimal_request_is_parsed(read: chat.Request) -> None:
    """Only messages are required."""
    prompt = read({"messages": HI}, "")

    assert (Turn("user", ("hi",)),) == prompt.turns
    assert ("", ()) == (prompt.system, prompt.stop_sequences)


def test_openai_alone_has_developer_messages_and_another_limit() -> None:
    """Also, a stop sequence may be a string, and the temperature up to 2."""
    request = {
        "messages": [message("developer", "Be kind."), *HI],
        "max_completion_tokens": 5,
        "stop": "END",
        "temperature": 2,
    }
    prompt = chat.read_openai(request, "")

    assert ("Be kind.", 5, ("END",)) == (prompt.system, prompt.max_tokens, prompt.stop_sequences)
    for read in (chat.read_mistral, chat.read_jamba, chat.read_palmyra):
        with pytest.raises(ServiceError, match=r"extraneous key \[max_completion_tokens\]"):
            read(request, "")
    with pytest.raises(ServiceError, match="cannot both be set"):
        chat.read_openai(request | {"max_tokens": 5}, "")
    with pytest.raises(ServiceError, match=r"temperature: range: 0\.\.1"):
        chat.read_mistral({"messages": HI, "temperature": 2}, "")
    with pytest.raises(ServiceError, match="developer is not a valid enum"):
        chat.read_jamba({"messages": [message("developer", "x"), *HI]}, "")


@every
@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({}, "required key [messages] not found"),
        ({"messages": HI, "prompt": "x"}, "extraneous key [prompt]"),
        ({"messages": HI, "max_gen_len": 5}, "extraneous key [max_gen_len]"),
        ({"messages": HI, "system": "x"}, "extraneous key [system]"),
        ({"messages": []}, "#/messages: expected minimum item count: 1"),
        ({"messages": [message("bot", "x")]}, "#/messages/0/role: bot is not a valid enum value"),
        ({"messages": [message("assistant", "x")]}, "must alternate"),
        ({"messages": [*HI, *HI]}, "must alternate"),
        ({"messages": [*HI, message("assistant", "x")]}, "Expected last role User"),
        ({"messages": [message("system", "x")]}, "Expected last role User"),
        ({"messages": [*HI, message("system", "x")]}, "System messages must come before"),
        ({"messages": [message("user", "")]}, "#/messages/0/content: text content must be non-em"),
        ({"messages": [message("user", [])]}, "#/messages/0/content: content must be non-empty"),
        ({"messages": [message("user", [{"text": "x"}])]}, "/0/type: None is not a valid"),
        ({"messages": [{"role": "user"}]}, "required key [content]"),
        ({"messages": ["x"]}, "#/messages/0: expected type: JSONObject"),
        ({"messages": HI, "max_tokens": 0}, "max_tokens: must be greater than or equal to 1"),
        ({"messages": HI, "top_p": 2}, "top_p: range: 0..1"),
        ({"messages": HI, "stop": [1]}, "#/stop: expected type: String"),
    ],
)
def test_requests_that_the_service_rejects_are_rejected(
    read: chat.Request, document: Document, error: str
) -> None:
    """The error has the service's code and message."""
    with pytest.raises(ServiceError) as caught:
        read(document, "")

    assert "ValidationException" == caught.value.code
    assert error in caught.value.message


# -- answers ---------------------------------------------------------------------------------------

Write = Callable[[str, Prompt], chat.ChunkWriter]


def writer(model_id: str, write: Write = chat.write_openai) -> chat.ChunkWriter:
    return write(model_id, Prompt("", (Turn("user", ("hi",)),), 5))


def deltas(chunks: list[Any], field: str = "delta") -> list[Any]:
    """Returns the deltas of the chunks' first choices."""
    return [chunk["choices"][0][field] for chunk in chunks]


def test_gpt_oss_tags_each_part_of_its_reasoning_and_ends_with_usage() -> None:
    """The end has an empty delta, the stop reason and the usage."""
    one = writer("openai.gpt-oss-120b-1:0")
    chunks = [*one.begin(), *one.reasoning("hm"), *one.reasoning("so"), *one.text("a")]
    [end] = one.end(End("length", 7, 2), METRIC_VALUES)

    assert ["", "<reasoning>hm</reasoning>", "<reasoning>so</reasoning>", "a"] == [
        delta["content"] for delta in deltas(chunks)
    ]
    assert "assistant" == deltas(chunks)[0]["role"]
    assert isinstance(end, dict)
    assert [{"index": 0, "delta": {}, "finish_reason": "length"}] == end["choices"]
    assert {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9} == end["usage"]
    assert METRIC_VALUES == end[METRICS]


@pytest.mark.parametrize(
    ("model_id", "field", "text"),
    [
        ("qwen.qwen3-32b-v1:0", None, "<think>\nhm\n</think>\n\na"),
        ("minimax.minimax-m2", None, "<think>\nhm\n</think>\n\na"),
        ("nvidia.nemotron-nano-9b-v2", "reasoning", "a"),
        ("deepseek.v3-v1:0", "reasoning_content", "a"),
        ("moonshot.kimi-k2-thinking", "reasoning_content", "a"),
        ("zai.glm-4.7", None, "<reasoning>hm</reasoning>a"),
    ],
)
def test_each_form_of_reasoning_is_written_by_a_provider(
    model_id: str, field: str | None, text: str
) -> None:
    """In tags, or in a field of its own with a null content."""
    one = writer(model_id)
    found = deltas([*one.begin(), *one.reasoning("hm"), *one.text("a")])

    assert text == "".join(delta["content"] or "" for delta in found)
    if field:
        assert {"content": None, field: "hm"} in found


def test_usage_follows_the_end_or_is_omitted() -> None:
    """It is on a last chunk without choices, which has the metrics too."""
    stop, usage = writer("qwen.qwen3-32b-v1:0").end(End("end", 7, 2), METRIC_VALUES)
    [bare] = writer("minimax.minimax-m2").end(End("end", 7, 2), METRIC_VALUES)

    assert isinstance(stop, dict)
    assert isinstance(usage, dict)
    assert "stop" == stop["choices"][0]["finish_reason"]
    assert METRICS not in stop
    assert ([], 7) == (usage["choices"], usage["usage"]["prompt_tokens"])
    assert METRIC_VALUES == usage[METRICS]
    assert METRICS in bare
    assert "usage" not in bare


def test_mistrals_documented_models_write_messages() -> None:
    """`message` and `stop_reason` in place of `delta` and `finish_reason`."""
    one = writer("mistral.mistral-large-2407-v1:0", chat.write_mistral)
    chunks = [*one.begin(), *one.reasoning("hm"), *one.text("a")]
    [end] = one.end(End("end", 7, 2), METRIC_VALUES)

    assert ["", "a"] == [message["content"] for message in deltas(chunks, "message")]
    assert isinstance(end, dict)
    assert "stop" == end["choices"][0]["stop_reason"]
    assert "delta" not in end["choices"][0]


def test_mistrals_newer_models_write_deltas() -> None:
    """They follow Mistral's own API, which has OpenAI's names."""
    one = writer("mistral.ministral-3-8b-instruct", chat.write_mistral)
    end, _usage = one.end(End("end", 7, 2), METRIC_VALUES)

    assert [{"content": "a"}] == deltas([*one.text("a")])
    assert isinstance(end, dict)
    assert "stop" == end["choices"][0]["finish_reason"]


def test_jambas_last_chunk_has_null_content_and_usage() -> None:
    """The content of the last delta is not a string."""
    [end] = writer("ai21.jamba-1-5-mini-v1:0", chat.write_jamba).end(
        End("stop_sequence", 7, 2), METRIC_VALUES
    )

    assert isinstance(end, dict)
    assert [{"index": 0, "delta": {"content": None}, "finish_reason": "stop"}] == end["choices"]
    assert 7 == end["usage"]["prompt_tokens"]


def test_palmyra_ends_with_a_string_chunk() -> None:
    """`[DONE]` follows the stop reason."""
    end, done = writer("writer.palmyra-x5-v1:0", chat.write_palmyra).end(
        End("filtered", 7, 2), METRIC_VALUES
    )

    assert isinstance(end, dict)
    assert "content_filter" == end["choices"][0]["finish_reason"]
    assert METRIC_VALUES == end[METRICS]
    assert "[DONE]" == done


def test_unknown_chunks_have_no_text() -> None:
    """They have no choices or an unknown field; an unknown reason is passed on unchanged."""
    one = writer("openai.gpt-oss-20b-1:0")
    empty, new = one.unknown()
    [end] = one.end(End("tool_calls", 1, 1), METRIC_VALUES)

    assert isinstance(empty, dict)
    assert [] == empty["choices"]
    assert "content" not in deltas([new])[0]
    assert isinstance(end, dict)
    assert "tool_calls" == end["choices"][0]["finish_reason"]

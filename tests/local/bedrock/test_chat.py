"""The families with messages and choices: their requests, and how each of them fills a chunk."""

from collections.abc import Callable
from typing import Any

import pytest

from local.bedrock import chat
from local.bedrock.native import METRICS, Document
from local.bedrock.pieces import End, Failure, Prompt, Turn

METRIC_VALUES = {"inputTokenCount": 7, "outputTokenCount": 2}
REQUESTS = {
    "openai": chat.read_openai,
    "mistral": chat.read_mistral,
    "jamba": chat.read_jamba,
    "palmyra": chat.read_palmyra,
}
every = pytest.mark.parametrize("read", REQUESTS.values(), ids=list(REQUESTS))


def said(role: str, content: Any) -> Document:
    return {"role": role, "content": content}


HI = [said("user", "hi")]


@every
def test_a_full_request_is_read(read: chat.Request) -> None:
    """System prompt, turns with their parts, and the settings."""
    image = {"type": "image_url", "image_url": {}}
    parts = [image, {"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    prompt = read(
        {
            "messages": [
                said("system", "Be kind."),
                said("user", parts),
                said("assistant", "yes"),
                said("user", "three"),
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
def test_the_least_request_is_read(read: chat.Request) -> None:
    """Messages are all that is asked for."""
    prompt = read({"messages": HI}, "")

    assert (Turn("user", ("hi",)),) == prompt.turns
    assert ("", ()) == (prompt.system, prompt.stop_sequences)


def test_what_only_openai_knows() -> None:
    """The developer's role, another name for the limit, and one stop sequence by itself."""
    request = {
        "messages": [said("developer", "Be kind."), *HI],
        "max_completion_tokens": 5,
        "stop": "END",
        "temperature": 2,
    }
    prompt = chat.read_openai(request, "")

    assert ("Be kind.", 5, ("END",)) == (prompt.system, prompt.max_tokens, prompt.stop_sequences)
    for read in (chat.read_mistral, chat.read_jamba, chat.read_palmyra):
        with pytest.raises(Failure, match=r"extraneous key \[max_completion_tokens\]"):
            read(request, "")
    with pytest.raises(Failure, match="cannot both be set"):
        chat.read_openai(request | {"max_tokens": 5}, "")
    with pytest.raises(Failure, match=r"temperature: range: 0\.\.1"):
        chat.read_mistral({"messages": HI, "temperature": 2}, "")
    with pytest.raises(Failure, match="developer is not a valid enum"):
        chat.read_jamba({"messages": [said("developer", "x"), *HI]}, "")


@every
@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "required key [messages] not found"),
        ({"messages": HI, "prompt": "x"}, "extraneous key [prompt]"),
        ({"messages": HI, "max_gen_len": 5}, "extraneous key [max_gen_len]"),
        ({"messages": HI, "system": "x"}, "extraneous key [system]"),
        ({"messages": []}, "#/messages: expected minimum item count: 1"),
        ({"messages": [said("bot", "x")]}, "#/messages/0/role: bot is not a valid enum value"),
        ({"messages": [said("assistant", "x")]}, "must alternate"),
        ({"messages": [*HI, *HI]}, "must alternate"),
        ({"messages": [*HI, said("assistant", "x")]}, "Expected last role User"),
        ({"messages": [said("system", "x")]}, "Expected last role User"),
        ({"messages": [*HI, said("system", "x")]}, "System messages must come before"),
        ({"messages": [said("user", "")]}, "#/messages/0/content: text content must be non-em"),
        ({"messages": [said("user", [])]}, "#/messages/0/content: content must be non-empty"),
        ({"messages": [said("user", [{"text": "x"}])]}, "/0/type: None is not a valid"),
        ({"messages": [{"role": "user"}]}, "required key [content]"),
        ({"messages": ["x"]}, "#/messages/0: expected type: JSONObject"),
        ({"messages": HI, "max_tokens": 0}, "max_tokens: must be greater than or equal to 1"),
        ({"messages": HI, "top_p": 2}, "top_p: range: 0..1"),
        ({"messages": HI, "stop": [1]}, "#/stop: expected type: String"),
    ],
)
def test_what_the_service_refuses_is_refused(
    read: chat.Request, document: Document, words: str
) -> None:
    """With the service's own code."""
    with pytest.raises(Failure) as caught:
        read(document, "")

    assert "ValidationException" == caught.value.code
    assert words in caught.value.message


# -- answers ---------------------------------------------------------------------------------------

Speak = Callable[[str, Prompt], chat.Speech]


def speech(model_id: str, speak: Speak = chat.speak_openai) -> chat.Speech:
    return speak(model_id, Prompt("", (Turn("user", ("hi",)),), 5))


def words(chunks: list[Any], holder: str = "delta") -> list[Any]:
    """What the first choices of the chunks hold."""
    return [chunk["choices"][0][holder] for chunk in chunks]


def test_gpt_oss_thinks_in_many_tags_and_tells_the_usage_with_the_reason() -> None:
    """Each piece is in tags of its own. The end has an empty delta."""
    one = speech("openai.gpt-oss-120b-1:0")
    chunks = [*one.begin(), *one.reasoning("hm"), *one.reasoning("so"), *one.text("a")]
    [end] = one.end(End("length", 7, 2), METRIC_VALUES)

    assert ["", "<reasoning>hm</reasoning>", "<reasoning>so</reasoning>", "a"] == [
        delta["content"] for delta in words(chunks)
    ]
    assert "assistant" == words(chunks)[0]["role"]
    assert isinstance(end, dict)
    assert [{"index": 0, "delta": {}, "finish_reason": "length"}] == end["choices"]
    assert {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9} == end["usage"]
    assert METRIC_VALUES == end[METRICS]


@pytest.mark.parametrize(
    ("model_id", "thought", "text"),
    [
        ("qwen.qwen3-32b-v1:0", None, "<think>\nhm\n</think>\n\na"),
        ("minimax.minimax-m2", None, "<think>\nhm\n</think>\n\na"),
        ("nvidia.nemotron-nano-9b-v2", "reasoning", "a"),
        ("deepseek.v3-v1:0", "reasoning_content", "a"),
        ("moonshot.kimi-k2-thinking", "reasoning_content", "a"),
        ("zai.glm-4.7", None, "<reasoning>hm</reasoning>a"),
    ],
)
def test_each_form_of_reasoning_is_spoken_by_one(
    model_id: str, thought: str | None, text: str
) -> None:
    """In tags, or in a member of its own beside content that is null."""
    one = speech(model_id)
    deltas = words([*one.begin(), *one.reasoning("hm"), *one.text("a")])

    assert text == "".join(delta["content"] or "" for delta in deltas)
    if thought:
        assert {"content": None, thought: "hm"} in deltas


def test_usage_may_come_after_the_end_or_never() -> None:
    """On a chunk without choices, which is the last and has the metrics."""
    stop, usage = speech("qwen.qwen3-32b-v1:0").end(End("end", 7, 2), METRIC_VALUES)
    [bare] = speech("minimax.minimax-m2").end(End("end", 7, 2), METRIC_VALUES)

    assert isinstance(stop, dict)
    assert isinstance(usage, dict)
    assert "stop" == stop["choices"][0]["finish_reason"]
    assert METRICS not in stop
    assert ([], 7) == (usage["choices"], usage["usage"]["prompt_tokens"])
    assert METRIC_VALUES == usage[METRICS]
    assert METRICS in bare
    assert "usage" not in bare


def test_mistral_speaks_in_messages() -> None:
    """`message` and `stop_reason`, where the others say `delta` and `finish_reason`."""
    one = speech("mistral.mistral-large-2407-v1:0", chat.speak_mistral)
    chunks = [*one.begin(), *one.reasoning("hm"), *one.text("a")]
    [end] = one.end(End("end", 7, 2), METRIC_VALUES)

    assert ["", "a"] == [message["content"] for message in words(chunks, "message")]
    assert isinstance(end, dict)
    assert "stop" == end["choices"][0]["stop_reason"]
    assert "delta" not in end["choices"][0]


def test_jamba_ends_with_null() -> None:
    """Content is no string there, and the usage is."""
    [end] = speech("ai21.jamba-1-5-mini-v1:0", chat.speak_jamba).end(
        End("stop_sequence", 7, 2), METRIC_VALUES
    )

    assert isinstance(end, dict)
    assert [{"index": 0, "delta": {"content": None}, "finish_reason": "stop"}] == end["choices"]
    assert 7 == end["usage"]["prompt_tokens"]


def test_palmyra_says_that_it_is_done() -> None:
    """In a chunk that is a string, after the reason."""
    end, done = speech("writer.palmyra-x5-v1:0", chat.speak_palmyra).end(
        End("filtered", 7, 2), METRIC_VALUES
    )

    assert isinstance(end, dict)
    assert "content_filter" == end["choices"][0]["finish_reason"]
    assert METRIC_VALUES == end[METRICS]
    assert "[DONE]" == done


def test_unknown_chunks_have_no_words() -> None:
    """No choice, or a delta with another member; an unknown reason is passed on as it is."""
    one = speech("openai.gpt-oss-20b-1:0")
    empty, new = one.unknown()
    [end] = one.end(End("tool_calls", 1, 1), METRIC_VALUES)

    assert isinstance(empty, dict)
    assert [] == empty["choices"]
    assert "content" not in words([new])[0]
    assert isinstance(end, dict)
    assert "tool_calls" == end["choices"][0]["finish_reason"]

"""The families that take one prompt: their requests and the order of their chunks."""

from collections.abc import Callable
from typing import Any

import pytest

from local.bedrock import templated
from local.bedrock.native import METRICS, Document
from local.bedrock.pieces import End, Prompt, ServiceError, Turn

METRIC_VALUES = {"inputTokenCount": 7, "outputTokenCount": 2}
LLAMA3 = (
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
)
LLAMA4 = "<|begin_of_text|><|header_start|>user<|header_end|>\n\nhi<|eot|><|header_start|>assistant"
BRACKETS = "<s>[INST] hi [/INST]"
DEEPSEEK = "<|begin▁of▁sentence|><|User|>hi<|Assistant|>".replace(
    "|", "\N{FULLWIDTH VERTICAL LINE}"
)
REQUESTS: list[tuple[templated.Request, str, str]] = [
    (templated.read_llama2, BRACKETS, "max_gen_len"),
    (templated.read_llama3, LLAMA3, "max_gen_len"),
    (templated.read_llama4, LLAMA4 + "<|header_end|>\n\n", "max_gen_len"),
    (templated.read_mistral, BRACKETS, "max_tokens"),
    (templated.read_deepseek, DEEPSEEK, "max_tokens"),
]
every = pytest.mark.parametrize(
    ("read", "prompt", "limit"), REQUESTS, ids=["llama2", "llama3", "llama4", "mistral", "r1"]
)


@every
def test_a_request_is_parsed(read: templated.Request, prompt: str, limit: str) -> None:
    """Only the prompt is required; settings are applied if present."""
    minimal = read({"prompt": prompt}, "")
    full = read({"prompt": prompt + "Well", limit: 5, "temperature": 0.5, "top_p": 1}, "the body")

    assert (Turn("user", ("hi",)),) == minimal.turns == full.turns
    assert minimal.max_tokens >= 512
    assert (5, 0.5, 1.0) == (full.max_tokens, full.temperature, full.top_p)
    assert ("Well", "the body") == (full.prefill, full.body)


@every
def test_requests_that_the_service_rejects_are_rejected(
    read: templated.Request, prompt: str, limit: str
) -> None:
    """Keys of other families, values out of range, and invalid prompts."""
    other = "max_tokens" if limit == "max_gen_len" else "max_gen_len"
    cases: list[tuple[Document, str]] = [
        ({}, "required key [prompt] not found"),
        ({"prompt": prompt, "messages": []}, "extraneous key [messages]"),
        ({"prompt": prompt, other: 5}, f"extraneous key [{other}]"),
        ({"prompt": prompt, limit: 0}, "must be greater than or equal to 1"),
        ({"prompt": prompt, limit: 100_000}, f"#/{limit}: 100000 is not less or equal to"),
        ({"prompt": prompt, "temperature": 2}, "temperature: range: 0..1"),
        ({"prompt": [prompt]}, "#/prompt: expected type: String, found: JSONArray"),
        ({"prompt": "hi"}, "#/prompt: there is text before the first control token"),
    ]
    for document, error in cases:
        with pytest.raises(ServiceError) as caught:
            read(document, "")
        assert error in caught.value.message


def test_llama_alone_rejects_stop_sequences() -> None:
    """Mistral and DeepSeek accept them."""
    for read, prompt, limit in REQUESTS:
        request = {"prompt": prompt, "stop": ["END"]}
        if limit == "max_gen_len":
            with pytest.raises(ServiceError, match=r"extraneous key \[stop\]"):
                read(request, "")
        else:
            assert ("END",) == read(request, "").stop_sequences


def prompt(prefill: str = "") -> Prompt:
    return Prompt("", (Turn("user", ("hi",)),), 5, prefill=prefill, body="x" * 28)


def test_llama_counts_the_prompt_in_the_first_chunk_and_its_tokens_in_each() -> None:
    """The last chunk has no text but the stop reason."""
    writer = templated.LlamaWriter("meta.llama3-8b-instruct-v1:0", prompt())
    chunks = [*writer.begin(), *writer.reasoning("hm"), *writer.text("a"), *writer.text("b")]
    chunks += writer.end(End("length", 7, 2), METRIC_VALUES)

    values = [tuple(chunk.values())[:4] for chunk in chunks]
    assert [("a", 7, 1, None), ("b", None, 2, None), ("", None, 2, "length")] == values
    assert ["generation", "prompt_token_count", "generation_token_count", "stop_reason"] == list(
        chunks[0]
    )
    assert METRIC_VALUES == chunks[-1][METRICS]


def test_mistral_text_is_in_outputs_without_reasoning() -> None:
    """The text models have no field for reasoning."""
    writer = templated.MistralWriter("mistral.mistral-7b-instruct-v0:2", prompt())
    chunks = [*writer.begin(), *writer.reasoning("hm"), *writer.text("a")]
    chunks += writer.end(End("end", 7, 1), METRIC_VALUES)

    assert [
        {"outputs": [{"text": "a", "stop_reason": None}]},
        {"outputs": [{"text": "", "stop_reason": "stop"}], METRICS: METRIC_VALUES},
    ] == chunks


@pytest.mark.parametrize(
    ("prefill", "text"),
    [
        ("", "<think>\nhm\n</think>\n\na"),
        ("<think>\n", "hm\n</think>\n\na"),
    ],
)
def test_deepseeks_reasoning_is_in_its_text(prefill: str, text: str) -> None:
    """The opening tag is not repeated if the prompt contains it."""
    writer = templated.DeepSeekWriter("deepseek.r1-v1:0", prompt(prefill))
    chunks: list[dict[str, Any]] = [*writer.begin(), *writer.reasoning("hm"), *writer.text("a")]

    assert text == "".join(chunk["choices"][0]["text"] for chunk in chunks)
    assert {"choices": [{"text": "", "stop_reason": "stop"}], METRICS: METRIC_VALUES} == (
        writer.end(End("stop_sequence", 7, 1), METRIC_VALUES)[0]
    )


@pytest.mark.parametrize(
    "make", [templated.LlamaWriter, templated.MistralWriter, templated.DeepSeekWriter]
)
def test_unknown_reasons_are_passed_on_and_unknown_chunks_have_no_text(
    make: Callable[[str, Prompt], Any],
) -> None:
    """The families share their names for stop reasons."""
    writer = make("", prompt())

    assert "content_filter" in str(writer.end(End("filtered", 1, 1), METRIC_VALUES))
    assert "tool_use" in str(writer.end(End("tool_use", 1, 1), METRIC_VALUES))
    assert not any(chunk.get("generation") for chunk in writer.unknown())
    assert "somethingNew" in writer.unknown()[0]

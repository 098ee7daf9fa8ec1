"""The families with one prompt: their requests, and the order of their chunks."""

from collections.abc import Callable
from typing import Any

import pytest

from local.bedrock import templated
from local.bedrock.native import METRICS, Document
from local.bedrock.pieces import End, Failure, Prompt, Turn

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
def test_a_request_is_read(read: templated.Request, prompt: str, limit: str) -> None:
    """The prompt alone is enough; the settings are taken where they are given."""
    least = read({"prompt": prompt}, "")
    full = read({"prompt": prompt + "Well", limit: 5, "temperature": 0.5, "top_p": 1}, "the body")

    assert (Turn("user", ("hi",)),) == least.turns == full.turns
    assert least.max_tokens >= 512
    assert (5, 0.5, 1.0) == (full.max_tokens, full.temperature, full.top_p)
    assert ("Well", "the body") == (full.opening, full.body)


@every
def test_what_the_service_refuses_is_refused(
    read: templated.Request, prompt: str, limit: str
) -> None:
    """Keys of other families, values out of range, and prompts that are none."""
    other = "max_tokens" if limit == "max_gen_len" else "max_gen_len"
    refusals: list[tuple[Document, str]] = [
        ({}, "required key [prompt] not found"),
        ({"prompt": prompt, "messages": []}, "extraneous key [messages]"),
        ({"prompt": prompt, other: 5}, f"extraneous key [{other}]"),
        ({"prompt": prompt, limit: 0}, "must be greater than or equal to 1"),
        ({"prompt": prompt, limit: 100_000}, f"#/{limit}: 100000 is not less or equal to"),
        ({"prompt": prompt, "temperature": 2}, "temperature: range: 0..1"),
        ({"prompt": [prompt]}, "#/prompt: expected type: String, found: JSONArray"),
        ({"prompt": "hi"}, "#/prompt: there is text before the first control token"),
    ]
    for document, words in refusals:
        with pytest.raises(Failure) as caught:
            read(document, "")
        assert words in caught.value.message


def test_stop_sequences() -> None:
    """Mistral and DeepSeek take them; Llama on Bedrock does not."""
    for read, prompt, limit in REQUESTS:
        request = {"prompt": prompt, "stop": ["END"]}
        if limit == "max_gen_len":
            with pytest.raises(Failure, match=r"extraneous key \[stop\]"):
                read(request, "")
        else:
            assert ("END",) == read(request, "").stop_sequences


def prompt(opening: str = "") -> Prompt:
    return Prompt("", (Turn("user", ("hi",)),), 5, opening=opening, body="x" * 28)


def test_llama_tells_the_prompts_tokens_first_and_its_own_as_it_goes() -> None:
    """Each chunk has its count; the last has no words but the reason."""
    speech = templated.LlamaSpeech("meta.llama3-8b-instruct-v1:0", prompt())
    chunks = [*speech.begin(), *speech.reasoning("hm"), *speech.text("a"), *speech.text("b")]
    chunks += speech.end(End("length", 7, 2), METRIC_VALUES)

    told = [tuple(chunk.values())[:4] for chunk in chunks]
    assert [("a", 7, 1, None), ("b", None, 2, None), ("", None, 2, "length")] == told
    assert ["generation", "prompt_token_count", "generation_token_count", "stop_reason"] == list(
        chunks[0]
    )
    assert METRIC_VALUES == chunks[-1][METRICS]


def test_mistral_speaks_in_outputs() -> None:
    """And has no place for thoughts."""
    speech = templated.MistralSpeech("mistral.mistral-7b-instruct-v0:2", prompt())
    chunks = [*speech.begin(), *speech.reasoning("hm"), *speech.text("a")]
    chunks += speech.end(End("end", 7, 1), METRIC_VALUES)

    assert [
        {"outputs": [{"text": "a", "stop_reason": None}]},
        {"outputs": [{"text": "", "stop_reason": "stop"}], METRICS: METRIC_VALUES},
    ] == chunks


@pytest.mark.parametrize(
    ("opening", "text"),
    [
        ("", "<think>\nhm\n</think>\n\na"),
        ("<think>\n", "hm\n</think>\n\na"),
    ],
)
def test_deepseek_thinks_in_its_text(opening: str, text: str) -> None:
    """The opening tag is not said again if the prompt has it."""
    speech = templated.DeepSeekSpeech("deepseek.r1-v1:0", prompt(opening))
    chunks: list[dict[str, Any]] = [*speech.begin(), *speech.reasoning("hm"), *speech.text("a")]

    assert text == "".join(chunk["choices"][0]["text"] for chunk in chunks)
    assert {"choices": [{"text": "", "stop_reason": "stop"}], METRICS: METRIC_VALUES} == (
        speech.end(End("stop_sequence", 7, 1), METRIC_VALUES)[0]
    )


@pytest.mark.parametrize(
    "speak", [templated.LlamaSpeech, templated.MistralSpeech, templated.DeepSeekSpeech]
)
def test_stop_reasons_and_unknown_chunks(speak: Callable[[str, Prompt], Any]) -> None:
    """A reason without a name is passed on; what is unknown has no words."""
    speech = speak("", prompt())

    assert "content_filter" in str(speech.end(End("filtered", 1, 1), METRIC_VALUES))
    assert "tool_use" in str(speech.end(End("tool_use", 1, 1), METRIC_VALUES))
    assert not any(chunk.get("generation") for chunk in speech.unknown())
    assert "somethingNew" in speech.unknown()[0]

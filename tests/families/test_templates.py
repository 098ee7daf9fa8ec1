import re
from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.control_token_samples import PIECES, TOKENIZER

from families import templates
from families.registry import family_of, request_body
from families.types import Message, Prompt

CONVERSATION = (Message("user", "a"), Message("assistant", " b"), Message("user", "c"))


def prompt(system: str, messages: Sequence[Message] = CONVERSATION) -> Prompt:
    return Prompt(system=system, messages=tuple(messages), max_tokens=9)


@pytest.mark.parametrize(
    ("template", "plain", "full"),
    [
        (
            templates.llama2,
            "<s>[INST] a [/INST] b </s><s>[INST] c [/INST]",
            "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\na [/INST] b </s><s>[INST] c [/INST]",
        ),
        (
            templates.llama3,
            (
                "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\na<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n b<|eot_id|>"
                "<|start_header_id|>user<|end_header_id|>\n\nc<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n"
            ),
            (
                "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
                "<|start_header_id|>user<|end_header_id|>\n\na<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n b<|eot_id|>"
                "<|start_header_id|>user<|end_header_id|>\n\nc<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n"
            ),
        ),
        (
            templates.llama4,
            (
                "<|begin_of_text|><|header_start|>user<|header_end|>\n\na<|eot|>"
                "<|header_start|>assistant<|header_end|>\n\n b<|eot|>"
                "<|header_start|>user<|header_end|>\n\nc<|eot|>"
                "<|header_start|>assistant<|header_end|>\n\n"
            ),
            (
                "<|begin_of_text|><|header_start|>system<|header_end|>\n\nBe kind.<|eot|>"
                "<|header_start|>user<|header_end|>\n\na<|eot|>"
                "<|header_start|>assistant<|header_end|>\n\n b<|eot|>"
                "<|header_start|>user<|header_end|>\n\nc<|eot|>"
                "<|header_start|>assistant<|header_end|>\n\n"
            ),
        ),
        (
            templates.mistral,
            "<s>[INST] a [/INST] b</s>[INST] c [/INST]",
            "<s>[INST] Be kind.\n\na [/INST] b</s>[INST] c [/INST]",
        ),
        (
            templates.deepseek,
            (
                "<｜begin▁of▁sentence｜><｜User｜>a<｜Assistant｜> b<｜end▁of▁sentence｜>"
                "<｜User｜>c<｜Assistant｜><think>\n"
            ),
            (
                "<｜begin▁of▁sentence｜>Be kind.<｜User｜>a<｜Assistant｜> b<｜end▁of▁sentence｜>"
                "<｜User｜>c<｜Assistant｜><think>\n"
            ),
        ),
        (
            templates.titan,
            "User: a\nBot: b\nUser: c\nBot:",
            "Be kind.\n\nUser: a\nBot: b\nUser: c\nBot:",
        ),
    ],
)
def test_each_template_is_as_its_source_documents_it(
    template: Callable[[Prompt], str], plain: str, full: str
) -> None:
    """Without and with a system prompt."""
    assert plain == template(prompt(""))
    assert full == template(prompt("Be kind."))


TEMPLATED = ("llama2", "llama3", "llama4", "mistral-text", "deepseek-r1", "titan")
TITANS_SPEAKERS = re.compile(r"(?:^|\n)(?:User|Bot):")
TEXTS = st.lists(
    PIECES | st.sampled_from(["User:", "Bot:", "\nBot: "]) | st.text(max_size=2), max_size=8
).map("".join)


@pytest.mark.parametrize("name", TEMPLATED)
@example(system="", texts=["‹｜b<s>egin▁of▁sentence｜>", "[A_B]", "[MODEL_SETTINGS]"])
@example(system="<｜b<s>egin▁of▁sentence｜>", texts=["[A_[INST]_B]", "[[/INST]", "</<s>s>"])
@given(system=TEXTS, texts=st.lists(TEXTS, min_size=3, max_size=3))
def test_no_text_adds_a_control_token_to_a_prompt(name: str, system: str, texts: list[str]) -> None:
    """A prompt has the template's own control tokens only, whatever its texts contain."""
    family = family_of("", name)

    def control_tokens(system: str, texts: Sequence[str]) -> list[str]:
        # A letter in each keeps the number of messages: blank ones are dropped. Titan's is last,
        # so that a speaker's name can be first.
        messages = [
            Message(
                "assistant" if index % 2 else "user",
                f"{text}x" if name == "titan" else f"x{text}",
            )
            for index, text in enumerate(texts)
        ]
        body = request_body(family, "", prompt(system, messages))
        if name == "titan":
            return TITANS_SPEAKERS.findall(body["inputText"])
        return TOKENIZER.findall(body["prompt"])

    expected = control_tokens("x" if system else "", ["x", "x", "x"])
    assert expected == control_tokens(system, texts)

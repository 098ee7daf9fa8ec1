import re
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.control_token_samples import PIECES

from families import templates
from families.registry import family_of, request_body
from families.types import Message, Prompt

CONVERSATION = (Message("user", "a"), Message("assistant", " b"), Message("user", "c"))


def prompt(system: str, said: Sequence[Message] = CONVERSATION) -> Prompt:
    return Prompt(system=system, messages=tuple(said), max_tokens=9)


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
def test_templates(template: Callable[[Prompt], str], plain: str, full: str) -> None:
    """Each family's own template, without and with a system prompt."""
    assert plain == template(prompt(""))
    assert full == template(prompt("Be kind."))


# How a tokenizer parts a prompt: its control tokens, found exactly.
TOKENIZERS = {
    "llama2": r"</?s>|\[/?INST\]|<</?SYS>>",
    "llama3": r"<\|[a-zA-Z0-9_]+\|>",
    "llama4": r"<\|[a-zA-Z0-9_]+\|>",
    "mistral-text": r"</?s>|\[/?[A-Z_]+\]",
    "deepseek-r1": r"<｜[^｜]+｜>|</?think>",
    "titan": r"(?:^|\n)(?:User|Bot):",
}
TEXTS = st.lists(
    PIECES | st.sampled_from(["User:", "Bot:", "\nBot: "]) | st.text(max_size=2), max_size=8
).map("".join)


@pytest.mark.parametrize("name", TOKENIZERS)
@given(system=TEXTS, said=st.lists(TEXTS, min_size=3, max_size=3))
def test_nobody_closes_a_turn(name: str, system: str, said: list[str]) -> None:
    """Whatever anybody has said, a prompt has the template's own control tokens and no others."""
    family, tokens = family_of("", name), re.compile(TOKENIZERS[name])

    def control(system: str, said: Sequence[str]) -> list[str]:
        # A letter in each keeps the number of turns: messages of white space are left out.
        messages = [
            Message(
                "assistant" if at % 2 else "user", f"x{text}" if name != "titan" else text + "x"
            )
            for at, text in enumerate(said)
        ]
        shape = request_body(family, "", prompt(system, messages))
        return tokens.findall(shape.get("prompt") or shape["inputText"])

    assert control("x" if system else "", ["x", "x", "x"]) == control(system, said)

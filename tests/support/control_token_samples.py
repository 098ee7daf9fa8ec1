"""The control tokens of the families, and strategies for hostile text."""

import re

from hypothesis import strategies as st

# Exact tokens of the tokenizers, from their tokenizer_config.json and model cards.
TOKENS = (
    "<s>",
    "</s>",
    "<unk>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|python_tag|>",
    "<|reserved_special_token_247|>",
    "<|header_start|>",
    "<|header_end|>",
    "<|eot|>",
    "<｜begin▁of▁sentence｜>",
    "<｜end▁of▁sentence｜>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<｜tool▁calls▁begin｜>",
    "<｜fim▁hole｜>",
    "<think>",
    "</think>",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[BEGIN_AUDIO]",
    "[MODEL_SETTINGS]",
    "[/MODEL_SETTINGS]",
    "[control_8]",
    "[TOOL_CALLS]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[THINK]",
    "<|start|>",
    "<|end|>",
    "<|channel|>",
    "<|message|>",
    "<|return|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|user|>",
    "<|assistant|>",
    "<|system|>",
    "<|START_OF_TURN_TOKEN|>",
    "<|END_OF_TURN_TOKEN|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<bos>",
    "<eos>",
    "<SPECIAL_11>",
    "<extra_id_1>",
    "]~!b[",
    "]~b]",
    "[e~[",
    "]!p~[",
    "]<]start of image[>[",
)


def _nested(outer: str, inner: str, at: int) -> str:
    """Returns `outer` with `inner` inserted: removing or breaking `inner` could restore `outer`."""
    return outer[:at] + inner + outer[at:]


_TOKENS = st.sampled_from(TOKENS)
PIECES = st.sampled_from(
    [*TOKENS, *(half for token in TOKENS for half in (token[:3], token[3:])), " ", "\n", "x"]
) | st.recursive(
    _TOKENS,
    lambda inner: st.builds(_nested, _TOKENS, inner, st.integers(1, 8)),
    max_leaves=3,
)
"""Tokens, halves of tokens, and tokens inside of tokens."""

# How tokenizers find control tokens: exactly, in the text as it is sent. Some models reserve many
# names; all of them are made of letters, digits, "_" and "▁".
TOKENIZER = re.compile(
    "|".join(
        [
            *(re.escape(token) for token in sorted(TOKENS, key=len, reverse=True)),
            "<[|｜][A-Za-z0-9_▁]+[|｜]>",
            r"\[control_[0-9]+\]",
            "<SPECIAL_[0-9]+>",
        ]
    )
)

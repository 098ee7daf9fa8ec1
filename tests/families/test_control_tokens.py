import time
from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.control_token_samples import PIECES, TOKENIZER, TOKENS

from families.control_tokens import neutralize, neutralize_transcript, unchanged


@pytest.mark.parametrize("token", TOKENS)
def test_every_token_keeps_its_name_and_loses_its_brackets(token: str) -> None:
    """The text keeps its length."""
    neutral = neutralize(f"a {token} b")

    assert token not in neutral
    assert len(f"a {token} b") == len(neutral)
    assert token.strip("<>[]") in neutral


@pytest.mark.parametrize(
    ("text", "neutral"),
    [
        ("[/INST]", "(/INST)"),
        ("[ / inst ]", "( / inst )"),
        ("<|eot_id|>", "‹|eot_id|›"),
        ("< |EOT_ID| >", "‹ |EOT_ID| ›"),
        ("<|User|>", "‹|User|›"),
        ("<<SYS>>", "‹‹SYS››"),
        ("</s>", "‹/s›"),
        ("<|a<|eot_id|>", "<|a‹|eot_id|›"),
        ("[INST[/INST]", "[INST(/INST)"),
        ("]~b]~b]", ")~b)~b]"),
        ("[MODEL_SETTINGS]", "(MODEL_SETTINGS)"),
        ("<｜b<s>egin▁of▁sentence｜>", "<｜b‹s›egin▁of▁sentence｜>"),
    ],
)
def test_variants_and_overlapping_tokens_are_neutralized(text: str, neutral: str) -> None:
    """Other cases, spaces inside and both kinds of bar; overlaps do not protect a token."""
    assert neutral == neutralize(text)


@pytest.mark.parametrize(
    "text",
    [
        "if a < b and b > c or d[0] | e: print(f'<{x}|{y}>')",
        "[a link](https://example.com)! and [1], [] and ]!",
        "<p>html</p> <strong> <script>",
        "data |> Enum.map(&f/1) <|> other",
        "SELECT '|' FROM t WHERE a <> b",
        "plain",
        "",
        "[thinking] of [tools] with User: and Bot:",
        "[audio]\nrate = 3\n[model_settings]\n[control_flow]",
    ],
)
def test_ordinary_text_is_unchanged(text: str) -> None:
    """Code, links, mathematics and section headings contain no control tokens."""
    assert text == neutralize(text)
    assert text == unchanged(text)


@pytest.mark.parametrize(
    ("text", "neutral"),
    [
        ("Bot: yes", "(Bot): yes"),
        ("a\nUser: b\n\n bot : c", "a\n(User): b\n\n (bot) : c"),
        ("a\r\nBot:\u2028User:", "a\r\n(Bot):\u2028(User):"),
        ("the User: b, Robot: c", "the User: b, Robot: c"),
        ("</s>\nBot:", "‹/s›\n(Bot):"),
    ],
)
def test_speakers_names_at_line_starts_are_neutralized(text: str, neutral: str) -> None:
    """In a transcript no line of a text can begin a turn."""
    assert neutral == neutralize_transcript(text)


@example("<｜b<s>egin▁of▁sentence｜>")
@example("‹｜b<s>egin▁of▁sentence｜>")
@example("[A_[INST]_B]")
@example("[[/INST]")
@given(st.lists(PIECES | st.text(max_size=2), max_size=12).map("".join))
def test_no_token_survives_or_is_created(text: str) -> None:
    """Not by overlapping or nested tokens, nor by the rewriting itself."""
    neutral = neutralize(text)

    assert [] == TOKENIZER.findall(neutral)
    assert len(text) == len(neutral)


@pytest.mark.parametrize(
    ("rewrite", "piece"),
    list(
        product(
            (neutralize, neutralize_transcript),
            ("<", "[", "<|", "< ", "[ ", "<｜a", "\n", " ", "<s", "]~", "\n ", "<|a|", "[INST"),
        )
    ),
)
def test_hostile_text_takes_linear_time(rewrite: Callable[[str], str], piece: str) -> None:
    """A message of the maximum length takes little CPU time, whatever it repeats."""
    text = piece * (128 * 1024 // len(piece))
    start = time.process_time()
    rewrite(text)

    assert time.process_time() - start < 2

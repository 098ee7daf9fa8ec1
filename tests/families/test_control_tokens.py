import time
from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.control_token_samples import PIECES, TOKENS

from families.control_tokens import neutralize, neutralize_lines, unchanged


@pytest.mark.parametrize("token", TOKENS)
def test_every_token(token: str) -> None:
    """A control token keeps its words and loses its brackets."""
    disarmed = neutralize(f"a {token} b")

    assert token not in disarmed
    assert len(f"a {token} b") == len(disarmed)
    assert token.strip("<>[]") in disarmed


@pytest.mark.parametrize(
    ("text", "disarmed"),
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
    ],
)
def test_spelling(text: str, disarmed: str) -> None:
    """Other cases, spaces and bars are disarmed too; overlapping tokens are no way around."""
    assert disarmed == neutralize(text)


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
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    """Code, links and mathematics are left alone."""
    assert text == neutralize(text)
    assert text == unchanged(text)


@pytest.mark.parametrize(
    ("text", "disarmed"),
    [
        ("Bot: yes", "(Bot): yes"),
        ("a\nUser: b\n\n bot : c", "a\n(User): b\n\n (bot) : c"),
        ("a\r\nBot:\u2028User:", "a\r\n(Bot):\u2028(User):"),
        ("the User: b, Robot: c", "the User: b, Robot: c"),
        ("</s>\nBot:", "‹/s›\n(Bot):"),
    ],
)
def test_lines(text: str, disarmed: str) -> None:
    """Where turns begin with a name, no line of a text begins with one."""
    assert disarmed == neutralize_lines(text)


@given(st.lists(PIECES | st.text(max_size=2), max_size=12).map("".join))
def test_nothing_survives(text: str) -> None:
    """No control token is left in any text, nor made by what is done to it."""
    disarmed = neutralize(text)

    assert not [token for token in TOKENS if token in disarmed]
    assert len(text) == len(disarmed)


@pytest.mark.parametrize(
    ("disarm", "piece"),
    list(
        product(
            (neutralize, neutralize_lines),
            ("<", "[", "<|", "< ", "[ ", "<｜a", "\n", " ", "<s", "]~", "\n ", "<|a|", "[INST"),
        )
    ),
)
def test_hostile_text_costs_little(disarm: Callable[[str], str], piece: str) -> None:
    """A message as long as allowed is read in a moment, whatever it is made of."""
    text = piece * (128 * 1024 // len(piece))
    began = time.process_time()
    disarm(text)

    assert time.process_time() - began < 2

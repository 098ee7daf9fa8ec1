"""Covers bedrock_chat/blocks.py: when a block is finished, and that no text is lost."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_chat.blocks import LONG_LINES, Block, BlockParser

ANSWER = """# Title
Some *text* that
goes on.

Heading
---
1. one
2. two
   - nested

> quoted
lazily

```python
def f():

    return 1
```
| a | b |
|---|---|
| 1 | 2 |

***
    indented

    code

last"""
PARTS = [
    "# Title",
    "Some *text* that\ngoes on.",
    "Heading\n---",
    "1. one\n2. two\n   - nested",
    "> quoted\nlazily",
    "```python\ndef f():\n\n    return 1\n```",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "***",
    "    indented\n\n    code",
    "last",
]


def all_of(*pieces: str) -> list[Block]:
    blocks = BlockParser()
    return [each for piece in pieces for each in blocks.add(piece)] + blocks.end()


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]


def test_an_answer_is_split_into_blocks() -> None:
    """There is one block for each Markdown element."""
    assert PARTS == [block.text.strip("\n") for block in all_of(ANSWER)]


@given(st.lists(st.integers(0, 10_000), max_size=30))
def test_chunk_boundaries_make_no_difference(places: list[int]) -> None:
    """The text gives the same blocks, however it is cut into chunks."""
    assert all_of(ANSWER) == all_of(*cut(ANSWER, places))


MARKUP = [
    "a ",
    "\n",
    "\n\n",
    "- x\n",
    "1. y\n",
    "```\n",
    "> q\n",
    "# h\n",
    "| a |\n|---|\n",
    "    ",
]


@given(st.lists(st.sampled_from([*MARKUP, "word", "---\n"]), max_size=60))
def test_no_text_is_lost(pieces: list[str]) -> None:
    """Whatever the markup, the blocks contain all letters, each once and in order."""
    letters = re.sub(r"[^a-z]", "", "".join(pieces))
    assert letters == re.sub(r"[^a-z]", "", "".join(block.text for block in all_of(*pieces)))


@pytest.mark.parametrize(
    ("before", "more", "finished"),
    [
        ("one", "\n\n", []),
        ("one\n\n", "t", []),
        ("one\n\n", "two\n", ["one"]),
        ("one\n", "- not yet a li", []),
        ("one\n", "- a list\n", ["one"]),
        ("one\n", "***bold*** and not a rule\n", []),
        ("- a\n\n", "b", []),
        ("- a\n\n", "b\n", ["- a"]),
        ("```\ncode\n\n", "# no heading\n", []),
        ("```\ncode\n```\n", "then\n", ["```\ncode\n```"]),
    ],
)
def test_when_a_block_is_finished(before: str, more: str, finished: list[str]) -> None:
    """As soon as a complete line of the next block has arrived, and not earlier."""
    blocks = BlockParser()
    assert [] == blocks.add(before)
    assert finished == [block.text.strip("\n") for block in blocks.add(more)]


def test_a_long_block_of_code() -> None:
    """It is finished in continued parts, at empty lines; the tail stays short."""
    blocks, parts = BlockParser(), list[Block]()
    for n in range(100):
        parts += blocks.add(("```py\n" if n == 0 else "") + f"line {n}\n" + "\n" * (n % 7 == 0))
        assert len(blocks.tail.text.splitlines()) <= 2 * LONG_LINES
    parts += blocks.add("```\nafter\n") + blocks.end()
    *code, after = parts

    assert len(code) >= 5
    assert all(part.text.startswith("```py\n") for part in code)
    assert [False] + [True] * (len(code) - 1) == [part.continued for part in code]
    assert list(map(str, range(100))) == re.findall(
        r"line (\d+)", "".join(part.text for part in code)
    )
    assert Block("after\n") == after


def test_long_code_that_arrives_at_once() -> None:
    """It is finished with its last line, before anything follows."""
    code = "```\n" + "line\n" * 50 + "```\n"
    blocks = BlockParser()
    assert [Block(code)] == blocks.add(code)
    assert [] == blocks.end()


def test_a_long_list_without_numbers() -> None:
    """It is finished item by item, too."""
    blocks, parts = BlockParser(), list[Block]()
    for n in range(100):
        parts += blocks.add(f"- item {n}\n")
    parts += blocks.end()
    assert [False] + [True] * (len(parts) - 1) == [part.continued for part in parts]
    assert "".join(f"- item {n}\n" for n in range(100)) == "".join(part.text for part in parts)


def test_a_long_list_that_starts_at_zero() -> None:
    """Its numbers continue, too."""
    blocks = BlockParser()
    parts = [each for n in range(50) for each in blocks.add(f"{n}. item {n}\n")] + blocks.end()
    firsts = [re.match(r"(\d+)\. item (\d+)", part.text) for part in parts]
    assert len(parts) >= 2
    assert all(each and each[1] == each[2] for each in firsts)


def test_code_without_an_empty_line() -> None:
    """It is split nevertheless."""
    blocks = BlockParser()
    parts = [each for n in range(50) for each in blocks.add(f"{'```' * (n == 0)}\n{n}")]
    assert len(parts) >= 2
    assert len(blocks.tail.text.splitlines()) <= LONG_LINES + 2


@pytest.mark.parametrize("number", ["{n}", "1"], ids=["counted", "all ones"])
def test_a_long_list(number: str) -> None:
    """It is finished item by item, and its numbers continue."""
    blocks, parts = BlockParser(), list[Block]()
    for n in range(1, 101):
        parts += blocks.add(f"{number.format(n=n)}. item\n")
        assert len(blocks.tail.text.splitlines()) <= LONG_LINES + 1
    parts += blocks.end()

    firsts, at = [], 1
    for part in parts:
        firsts.append(int(part.text.split(".")[0]) == at)
        at += part.text.count("item")
    assert len(parts) >= 5
    assert all(firsts)
    assert 101 == at

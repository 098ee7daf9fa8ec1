from itertools import combinations_with_replacement

import pytest

from families.reasoning import ReasoningSplitter
from families.types import ReasoningDelta, TextDelta

TAGS = ("think", "reasoning")


def split(
    *pieces: str, starts_in_reasoning: bool = False, finished: bool = True
) -> tuple[str, str]:
    """Returns the reasoning and the answer of a text that arrives in these pieces."""
    splitter = ReasoningSplitter(TAGS, starts_in_reasoning=starts_in_reasoning)
    deltas = [delta for piece in pieces for delta in splitter.split(piece)]
    deltas.extend(splitter.end(finished=finished))
    assert all(delta.text for delta in deltas)
    return (
        "".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta)),
        "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)),
    )


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("hi", "", "hi"),
        ("<think>hm</think>hi", "hm", "hi"),
        ("\n<think>hm</think>\n\nhi", "hm", "hi"),
        ("<reasoning>h</reasoning><reasoning>m</reasoning>hi", "hm", "hi"),
        ("<think>a</reasoning>b</think>hi", "a</reasoning>b", "hi"),
        ("hi <think>no</think>", "", "hi <think>no</think>"),
        ("<think>hm</think>hi <think>no</think>", "hm", "hi <think>no</think>"),
        ("<thin air>", "", "<thin air>"),
        ("<", "", "<"),
        ("\n ", "", "\n "),
        ("\n hi\n", "", "\n hi\n"),
        ("<think>hm", "hm", ""),
        ("<think>hm</thi", "hm</thi", ""),
        ("<think></think>", "", ""),
        ("<think>hm</think>\n", "hm", ""),
        ("</think>hi", "", "</think>hi"),
    ],
)
def test_reasoning_is_split_from_the_answer_wherever_chunks_end(
    text: str, reasoning: str, answer: str
) -> None:
    """Reasoning is enclosed in tags before the answer; boundaries of chunks do not matter.

    Up to three chunks are tried with every boundary, and chunks of one character.
    """
    for a, b in combinations_with_replacement(range(len(text) + 1), 2):
        pieces = [piece for piece in (text[:a], text[a:b], text[b:]) if piece]
        assert (reasoning, answer) == split(*pieces), pieces
    assert (reasoning, answer) == split(*text)


def test_text_is_buffered_only_while_it_may_be_a_tag() -> None:
    """As soon as it cannot become one, it is emitted."""
    splitter = ReasoningSplitter(TAGS)

    assert [] == list(splitter.split("<rea"))
    assert [ReasoningDelta("a")] == list(splitter.split("soning>a</"))
    assert [ReasoningDelta("</b")] == list(splitter.split("b"))
    assert [TextDelta("x")] == list(splitter.split("</reasoning> x"))
    assert [TextDelta("<think>")] == list(splitter.split("<think>"))


def test_a_tag_opened_by_the_prompt_starts_in_reasoning() -> None:
    """The text up to the closing tag is reasoning."""
    assert ("hm", "hi") == split("hm</th", "ink>\nhi", starts_in_reasoning=True)


def test_unclosed_reasoning_of_a_finished_answer_is_the_answer() -> None:
    """Only if the prompt opened it and the model was not cut off."""
    assert ("hi there", "hi there") == split("hi ", "there", starts_in_reasoning=True)
    assert ("hi there", "") == split("hi ", "there", starts_in_reasoning=True, finished=False)
    assert ("hi", "") == split("<think>hi")


def test_a_second_end_emits_nothing() -> None:
    """A stream may report its end twice."""
    splitter = ReasoningSplitter(TAGS, starts_in_reasoning=True)
    list(splitter.split("hi"))
    list(splitter.end(finished=True))

    assert [] == list(splitter.end(finished=True))

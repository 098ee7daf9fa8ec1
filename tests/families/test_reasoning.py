import pytest
from hypothesis import given
from hypothesis import strategies as st

from families.reasoning import ReasoningSplitter
from families.types import ReasoningDelta, TextDelta

TAGS = ("think", "reasoning")


def parted(
    *pieces: str, tags: tuple[str, ...] = TAGS, begun: bool = False, whole: bool = True
) -> tuple[str, str]:
    """The reasoning and the answer of a text that arrives in these pieces."""
    splitter = ReasoningSplitter(tags, begun=begun)
    deltas = [delta for piece in pieces for delta in splitter.split(piece)]
    deltas.extend(splitter.end(whole=whole))
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
@given(data=st.data())
def test_parting(text: str, reasoning: str, answer: str, data: st.DataObject) -> None:
    """Reasoning is what stands in tags before the answer's first word, however the text is cut."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    assert (reasoning, answer) == parted(*(piece for piece in pieces if piece))
    assert (reasoning, answer) == parted(*text)


def test_text_comes_at_once() -> None:
    """Nothing is held back that cannot be a tag any more."""
    splitter = ReasoningSplitter(TAGS)

    assert [] == list(splitter.split("<rea"))
    assert [ReasoningDelta("a")] == list(splitter.split("soning>a</"))
    assert [ReasoningDelta("</b")] == list(splitter.split("b"))
    assert [TextDelta("x")] == list(splitter.split("</reasoning> x"))
    assert [TextDelta("<think>")] == list(splitter.split("<think>"))


def test_begun_in_the_prompt() -> None:
    """Where the prompt opened the tag, the text begins inside."""
    assert ("hm", "hi") == parted("hm</th", "ink>\nhi", begun=True)


def test_reasoning_never_closed() -> None:
    """A model made to reason that ends without closing it has answered; one cut short has not."""
    assert ("hi there", "hi there") == parted("hi ", "there", begun=True)
    assert ("hi there", "") == parted("hi ", "there", begun=True, whole=False)
    assert ("hi", "") == parted("<think>hi")


def test_the_end_may_come_twice() -> None:
    """A second end says nothing again."""
    splitter = ReasoningSplitter(TAGS, begun=True)
    list(splitter.split("hi"))
    list(splitter.end(whole=True))

    assert [] == list(splitter.end(whole=True))

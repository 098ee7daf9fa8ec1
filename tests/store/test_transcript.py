from hypothesis import given
from hypothesis import strategies as st

from errors import CODES, ChatError
from families.types import ReasoningDelta, TextDelta, Usage
from store.transcript import dump, load, reasoning_in
from wire.events import Done, Failed, Item, Latency, Start

words = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
counts = st.none() | st.integers(0, 10**6)
ends = st.builds(
    Done,
    stop_reason=st.sampled_from(["end_turn", "stopped"]),
    usage=st.none() | st.builds(Usage, input_tokens=counts, output_tokens=counts),
    latency_ms=st.none() | st.just(Latency(total=5)),
    model=st.just("m"),
) | st.builds(
    lambda code, message, at: Failed(ChatError(code, message, retry_at=at)),
    st.sampled_from(list(CODES)),
    words,
    st.none() | st.integers(0, 10**10),
)


def plain(items: tuple[Item, ...]) -> list[object]:
    """Comparable: an exception is equal to itself alone."""
    return [
        {**vars(item.error), "args": None} if isinstance(item, Failed) else item for item in items
    ]


@given(
    st.booleans(),
    st.lists(st.builds(TextDelta, words) | st.builds(ReasoningDelta, words), max_size=12),
    ends,
    words,
)
def test_what_is_read_is_what_was_told(
    started: bool, deltas: list[Item], end: Done | Failed, untold: str
) -> None:
    """The same items in the same places, from the turn's words and where they were cut."""
    told = (*([Start("s", "m")] if started else []), *deltas, end)
    answer = "".join(item.text for item in deltas if isinstance(item, TextDelta))

    kept = dump(told)

    assert plain(told) == plain(load(kept, "s", answer + untold, reasoning_in(told)))


def test_an_answer_without_its_end() -> None:
    """Before it ended there is nothing to say of its end."""
    kept = dump([Start("s", "m"), TextDelta("abc"), ReasoningDelta("hm"), TextDelta("d")])

    assert {"model": "m", "cuts": "3 r2 1"} == kept

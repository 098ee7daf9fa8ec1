from hypothesis import given
from hypothesis import strategies as st

from errors import CODES, ChatError
from families.types import ReasoningDelta, TextDelta, Usage
from store.items import StoredTranscript
from store.transcript import dump, load, reasoning_in
from wire.events import Done, Failed, Item, Latency, Start

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
counts = st.none() | st.integers(0, 10**6)
ends = st.builds(
    Done,
    stop_reason=st.none() | st.sampled_from(["end_turn", "stopped"]),
    usage=st.none() | st.builds(Usage, input_tokens=counts, output_tokens=counts),
    latency_ms=st.none() | st.builds(Latency, total=st.just(5), first_token=counts),
    model=st.none() | st.just("m"),
    cleared=counts,
) | st.builds(
    lambda code, message, retryable, at: Failed(
        ChatError(code, message, retryable=retryable, retry_at=at)
    ),
    st.sampled_from(list(CODES)),
    texts,
    st.none() | st.booleans(),
    st.none() | st.integers(0, 10**10),
)


def comparable(items: tuple[Item, ...]) -> list[object]:
    """An exception is equal to itself alone."""
    return [
        {**vars(item.error), "args": None} if isinstance(item, Failed) else item for item in items
    ]


@given(
    st.booleans(),
    st.lists(st.builds(TextDelta, texts) | st.builds(ReasoningDelta, texts), max_size=12),
    ends,
    texts,
)
def test_load_returns_what_dump_was_given(
    started: bool, deltas: list[Item], end: Done | Failed, unsent: str
) -> None:
    """The same items in the same places; text of the turn that was never sent is not."""
    items = (*([Start("s", "m")] if started else []), *deltas, end)
    answer = "".join(item.text for item in deltas if isinstance(item, TextDelta))

    stored = dump(items)

    assert comparable(items) == comparable(load(stored, "s", answer + unsent, reasoning_in(items)))


def test_a_request_that_runs_has_no_terminal_event() -> None:
    """Its model and the lengths of its deltas, reasoning marked."""
    stored = dump([Start("s", "m"), TextDelta("abc"), ReasoningDelta("hm"), TextDelta("d")])

    assert StoredTranscript(model="m", delta_lengths="3 r2 1", terminal_event="") == stored


def test_the_cause_of_an_error_is_not_stored() -> None:
    """It is for the log alone."""
    stored = dump([Failed(ChatError("internal", "Sorry.", cause="secret"))])

    assert "secret" not in stored.terminal_event

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from errors import CODES, ChatError
from families.types import ReasoningDelta, TextDelta, Usage
from store.items import StoredTranscript
from store.transcript import dump, load, reasoning_in
from wire.events import Done, Failed, Latency, ResponseEvent, Start

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
counts = st.none() | st.integers(0, 10**6)

USAGE = dict.fromkeys(Usage.__struct_fields__, counts)
LATENCY = {"first_token": counts, "total": st.integers(0, 10**6)}
DONE = {
    "stop_reason": st.none() | st.sampled_from(["end_turn", "stopped"]),
    "usage": st.none() | st.builds(Usage, **USAGE),
    "latency_ms": st.none() | st.builds(Latency, **LATENCY),
    "model": st.none() | st.just("m"),
    "cleared": counts,
    "running": st.none() | st.just("r"),
}
USED = Usage(**dict.fromkeys(USAGE, 1))
TOOK = Latency(first_token=1, total=2)
ends = st.builds(Done, **DONE) | st.builds(
    lambda code, message, retryable, at: Failed(
        ChatError(code, message, retryable=retryable, retry_at=at)
    ),
    st.sampled_from(list(CODES)),
    texts,
    st.none() | st.booleans(),
    st.none() | st.integers(0, 10**10),
)


def comparable(items: tuple[ResponseEvent, ...]) -> list[object]:
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
    started: bool, deltas: list[ResponseEvent], end: Done | Failed, unsent: str
) -> None:
    """The same items in the same places; text of the turn that was never sent is not."""
    items = (*([Start("s", "m")] if started else []), *deltas, end)
    answer = "".join(item.text for item in deltas if isinstance(item, TextDelta))

    stored = dump(items)

    assert comparable(items) == comparable(load(stored, "s", answer + unsent, reasoning_in(items)))


def test_every_field_of_done_is_among_those_examples() -> None:
    """A new field of `Done` or `Latency` has to be stored and replayed, too."""
    assert set(Done.__struct_fields__) == set(DONE)
    assert set(Latency.__struct_fields__) == set(LATENCY)


@pytest.mark.parametrize(
    "path",
    [
        *((name,) for name in DONE),
        *(("usage", name) for name in USAGE),
        *(("latency_ms", name) for name in LATENCY),
    ],
)
def test_any_field_of_done_may_be_missing(path: tuple[str, ...]) -> None:
    """An earlier version, or a later one, may not have stored it."""
    done = Done("end_turn", USED, TOOK, "m", 3, "r")
    stored = json.loads(dump([done]).terminal_event)
    *outer, name = path
    holder = stored["done"]
    for each in outer:
        holder = holder[each]
    del holder[name]

    (end,) = load(StoredTranscript(terminal_event=json.dumps(stored)), "s", "", "")

    default = {"total": 0}.get(name)
    if outer == ["usage"]:
        assert replace(done, usage=replace(USED, **{name: default})) == end
    elif outer == ["latency_ms"]:
        assert replace(done, latency_ms=replace(TOOK, **{name: default})) == end
    else:
        assert replace(done, **{name: default}) == end


@pytest.mark.parametrize("entry", ["i4", "r", "x", "-3", "4:sig", "r2r", "\u0663"])
def test_a_delta_of_an_unknown_kind_has_a_place_and_no_text(entry: str) -> None:
    """A later version may store other kinds; the frames after it keep their `seq`."""
    stored = replace(dump([Start("s", "m"), Done("end_turn")]), delta_lengths=f"3 {entry} r2 1")

    assert (
        Start("s", "m"),
        TextDelta("abc"),
        ReasoningDelta(""),
        ReasoningDelta("hm"),
        TextDelta("d"),
        Done("end_turn"),
    ) == load(stored, "s", "abcd", "hm")


def test_a_request_that_runs_has_no_terminal_event() -> None:
    """Its model and the lengths of its deltas, reasoning marked."""
    stored = dump([Start("s", "m"), TextDelta("abc"), ReasoningDelta("hm"), TextDelta("d")])

    assert StoredTranscript(model="m", delta_lengths="3 r2 1", terminal_event="") == stored


def test_the_cause_of_an_error_is_not_stored() -> None:
    """It is for the log alone."""
    stored = dump([Failed(ChatError("internal", "Sorry.", cause="secret"))])

    assert "secret" not in stored.terminal_event

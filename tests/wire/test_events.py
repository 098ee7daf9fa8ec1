import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.e2e_clients import SEED, SERVER

from errors import CODES, ChatError
from families.types import ReasoningDelta, TextDelta, Usage
from wire.events import (
    STATES,
    STOP_REASONS,
    Done,
    Failed,
    HistoryPage,
    Latency,
    PastTurn,
    ResponseEvent,
    Start,
)
from wire.formats import MAX_ESCAPED_BYTES, EventsEncoder, SeedEncoder, json_bytes

any_text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40)
some_text = any_text.filter(bool)
ids = st.from_regex(r"[A-Za-z0-9_.:=@+-]{1,128}", fullmatch=True)
counts = st.integers(0, 10**9)


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


turns = st.builds(
    PastTurn,
    turn=st.integers(1, 10**6),
    request_id=ids,
    created_at=counts,
    state=st.sampled_from(list(STATES)),
    user=any_text,
    assistant=any_text,
)
errors = st.builds(
    ChatError,
    st.sampled_from(list(CODES)),
    some_text,
    retryable=optional(st.booleans()),
    cause=any_text,
    retry_at=optional(counts),
)
items: st.SearchStrategy[ResponseEvent] = st.one_of(
    st.builds(Start, ids, some_text),
    st.builds(TextDelta, some_text),
    st.builds(ReasoningDelta, some_text),
    st.builds(HistoryPage, st.lists(turns, max_size=3).map(tuple)),
    st.builds(
        Done,
        optional(st.sampled_from(list(STOP_REASONS))),
        optional(st.builds(Usage, **dict.fromkeys(Usage.__struct_fields__, optional(counts)))),
        optional(st.builds(Latency, first_token=optional(counts), total=counts)),
        optional(some_text),
        optional(counts),
        optional(ids),
    ),
    st.builds(Failed, errors),
)


@given(items, ids, counts)
def test_every_frame_is_valid_in_the_published_schema(
    item: ResponseEvent, request_id: str, seq: int
) -> None:
    """Any item, with any values, as `format=events` writes it; and as `format=seed` does."""
    (frame,) = EventsEncoder(request_id).encode(seq, item)
    SERVER.validate(json.loads(frame))
    for seed_frame in SeedEncoder(request_id).encode(seq, item):
        SEED.validate(json.loads(seed_frame))


@given(items, ids, counts)
def test_a_frame_begins_with_its_type_and_ids(
    item: ResponseEvent, request_id: str, seq: int
) -> None:
    """A person who reads a log of frames finds them in the same place."""
    (frame,) = EventsEncoder(request_id).encode(seq, item)

    assert ["type", "request_id", "seq"] == list(json.loads(frame))[:3]


@given(items, ids, counts)
def test_a_field_without_a_value_is_left_out(
    item: ResponseEvent, request_id: str, seq: int
) -> None:
    """Clients need not distinguish null from a missing field."""
    (frame,) = EventsEncoder(request_id).encode(seq, item)

    def no_null(fields: dict[str, Any]) -> dict[str, Any]:
        assert None not in fields.values()
        return fields

    json.loads(frame, object_hook=no_null)


@given(any_text)
def test_json_is_measured_as_it_is_written(text: str) -> None:
    """As Python's own JSON in UTF-8; no character needs more than `MAX_ESCAPED_BYTES`."""
    written = json.dumps(text, ensure_ascii=False, separators=(",", ":")).encode()

    assert len(written) == json_bytes(text) <= MAX_ESCAPED_BYTES * len(text) + 2


@pytest.mark.parametrize(
    ("character", "size"),
    [
        ("a", 1),
        ('"', 2),
        ("\n", 2),
        ("\x00", 6),
        ("\x1f", 6),
        ("\x7f", 1),
        ("\u2028", 3),
        ("🙂", 4),
    ],
)
def test_the_size_of_a_character_in_json(character: str, size: int) -> None:
    """Only quotation marks, backslashes and control characters below U+0020 are escaped."""
    assert size == json_bytes(character) - 2

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import ChatError
from families.types import ReasoningDelta, TextDelta, Usage
from settings import MAX_FRAME_BYTES
from wire.events import Done, Failed, HistoryPage, Latency, PastTurn, ResponseEvent, Start
from wire.formats import (
    FORMATS,
    Encoder,
    EventsEncoder,
    SeedEncoder,
    TextEncoder,
    encoder_for,
    fit_to_frames,
    json_bytes,
    split,
)

any_text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=200)
some_text = any_text.filter(bool)
HISTORY_TEXT = "you: a\nmodel: b\nyou: c\nmodel: d"
ERROR = Failed(ChatError("throttled", "Later."))


def frames(encoder: Encoder, items: Iterable[ResponseEvent]) -> list[str]:
    return [
        frame
        for seq, item in enumerate(fit_to_frames(items))
        for frame in encoder.encode(seq, item)
    ]


def events(items: Iterable[ResponseEvent], request_id: str = "r") -> list[dict[str, Any]]:
    return [json.loads(frame) for frame in frames(EventsEncoder(request_id), items)]


def past(number: int, user: str, assistant: str) -> PastTurn:
    return PastTurn(
        turn=number,
        request_id=f"r{number}",
        created_at=1,
        state="complete",
        user=user,
        assistant=assistant,
    )


def test_events_writes_each_item_as_a_json_object_with_its_seq() -> None:
    """In the order of the items."""
    usage = Usage(input_tokens=3, output_tokens=1)

    assert [
        {"type": "start", "request_id": "r", "seq": 0, "session_id": "s", "model": "m"},
        {"type": "reasoning", "request_id": "r", "seq": 1, "text": "hm"},
        {"type": "delta", "request_id": "r", "seq": 2, "text": "é"},
        {
            "type": "done",
            "request_id": "r",
            "seq": 3,
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 3, "output_tokens": 1},
            "latency_ms": {"first_token": 1, "total": 2},
            "model": "m",
        },
    ] == events(
        [
            Start("s", "m"),
            ReasoningDelta("hm"),
            TextDelta("é"),
            Done("end_turn", usage, Latency(first_token=1, total=2), "m"),
        ]
    )


def test_events_writes_no_cause_of_an_error() -> None:
    """Only its code, its message and whether it is retryable."""
    cause = ChatError("internal", "Sorry.", cause="ValueError at x.py:1")

    assert [
        {
            "type": "error",
            "request_id": "r",
            "seq": 0,
            "code": "internal",
            "message": "Sorry.",
            "retryable": True,
        }
    ] == events([Failed(cause)])


def test_events_writes_history_and_clear() -> None:
    """An empty history is an empty list."""
    turn = {"turn": 1, "request_id": "r1", "created_at": 1, "state": "complete"}

    assert [
        {
            "type": "history",
            "request_id": "r",
            "seq": 0,
            "turns": [{**turn, "user": "a", "assistant": "b"}],
        },
        {"type": "done", "request_id": "r", "seq": 1},
    ] == events([HistoryPage((past(1, "a", "b"),)), Done()])
    assert [] == events([HistoryPage(())])[0]["turns"]
    assert 2 == events([Done(cleared=2)])[0]["cleared"]


def test_an_unknown_format_is_the_default() -> None:
    """A connection that a later version stored may have one; at `$connect` it is refused."""
    assert isinstance(encoder_for("text", "r"), TextEncoder)
    assert isinstance(encoder_for("later", "r"), EventsEncoder)


@pytest.mark.parametrize("character", ["w", "é", "🙂", '"', "\x00", "\u2028"])
@pytest.mark.parametrize("name", list(FORMATS))
def test_no_frame_is_too_long(name: str, character: str) -> None:
    """Text of any kind is split to fit, and the formats that split it lose nothing."""
    text = character * 70_000
    made = frames(FORMATS[name]("r" * 128), [Start("s" * 128, "m"), TextDelta(text)])

    assert all(len(frame.encode()) <= MAX_FRAME_BYTES for frame in made)
    if name == "events":
        parts = [json.loads(frame) for frame in made]
        assert list(range(len(parts))) == [part["seq"] for part in parts]
        assert text == "".join(part.get("text", "") for part in parts)
    if name == "text":
        assert text == "".join(made)


def test_events_writes_when_a_refused_request_is_accepted_again() -> None:
    """Only if that is known."""
    assert (
        86_400 == events([Failed(ChatError("over_budget", "No.", retry_at=86_400))])[0]["retry_at"]
    )


def test_split_fills_its_pieces() -> None:
    """Pieces are as long as possible: each costs a post."""
    assert ["aaaa", "aaaa", "a"] == list(split("a" * 9, 4, len))
    assert [] == list(split("", 4, len))


@given(any_text, st.integers(min_value=8, max_value=40))
def test_split_loses_nothing(text: str, limit: int) -> None:
    """The pieces join to the text, and each fits the limit."""

    def cost(piece: str) -> int:
        return json_bytes(piece) - 2

    pieces = list(split(text, limit, cost))

    assert text == "".join(pieces)
    assert all(0 < cost(piece) <= limit for piece in pieces)


# In bytes of UTF-8: a frame, its half, and the parts of three turns of which two fill a frame.
FRAME, HALF, THIRD = 32 * 1024, 16 * 1024, 11 * 1024


@pytest.mark.parametrize(
    ("lengths", "entries"),
    [
        ([(10, 10), (10, 10)], [[1, 2]]),
        ([(THIRD, 10)] * 3, [[1, 2], [3]]),
        ([(HALF, HALF)], [[1], [1]]),
        ([(FRAME, 10)], [[1], [1, 1]]),
        ([(10, 2 * FRAME)], [[1], [1], [1], [1]]),
        ([(10, 10), (10, FRAME), (10, 10)], [[1, 2], [2], [2, 3]]),
    ],
)
def test_a_history_that_no_frame_holds_is_split(
    lengths: list[tuple[int, int]], entries: list[list[int]]
) -> None:
    """Between turns where they fit, else within a turn; what a turn's entries have in common stays.

    `entries` are the turns of each frame's entries.
    """
    turns = [past(n, user * "u", answer * "a") for n, (user, answer) in enumerate(lengths, 1)]

    made = frames(EventsEncoder("r" * 128), [HistoryPage(tuple(turns))])

    assert all(len(frame.encode()) <= MAX_FRAME_BYTES for frame in made)
    sent = [json.loads(frame)["turns"] for frame in made]
    assert entries == [[entry["turn"] for entry in page] for page in sent]
    for turn in turns:
        own = [entry for page in sent for entry in page if entry["turn"] == turn.turn]
        assert turn.user == "".join(entry["user"] for entry in own)
        assert turn.assistant == "".join(entry["assistant"] for entry in own)
        assert {turn.request_id} == {entry["request_id"] for entry in own}


@given(st.lists(st.tuples(any_text, any_text), max_size=4), st.sampled_from([1, 100, 1000]))
def test_long_history_is_split_and_joined(pairs: list[tuple[str, str]], stretch: int) -> None:
    """The joined entries of a turn are the turn, whatever its length; no frame is too long."""
    turns = tuple(past(n, user * stretch, answer) for n, (user, answer) in enumerate(pairs, 1))

    made = frames(EventsEncoder("r" * 128), [HistoryPage(turns)])

    assert all(len(frame.encode()) <= MAX_FRAME_BYTES for frame in made)
    joined: dict[int, list[str]] = {}
    for frame in made:
        for entry in json.loads(frame)["turns"]:
            texts = joined.setdefault(entry["turn"], ["", ""])
            texts[0] += entry["user"]
            texts[1] += entry["assistant"]
    assert {turn.turn: [turn.user, turn.assistant] for turn in turns} == joined


@given(
    st.lists(
        st.sampled_from([TextDelta, ReasoningDelta]).flatmap(some_text.map),
        max_size=20,
    )
)
def test_consecutive_deltas_are_joined_in_order(items: list[ResponseEvent]) -> None:
    """The text of each kind is the same, and no two consecutive deltas are of one kind."""
    joined = list(fit_to_frames(items))

    def characters(of: Iterable[Any]) -> list[tuple[type, str]]:
        return [(type(item), character) for item in of for character in item.text]

    assert characters(items) == characters(joined)
    assert all(type(a) is not type(b) for a, b in pairwise(joined))


def test_only_deltas_are_joined() -> None:
    """All other items keep their own frames."""
    items: list[ResponseEvent] = [Start("s", "m"), TextDelta("a"), TextDelta("b"), Done(), Done()]

    assert [Start("s", "m"), TextDelta("ab"), Done(), Done()] == list(fit_to_frames(items))


@pytest.mark.parametrize(
    ("items", "shown"),
    [
        ([Start("s", "m"), TextDelta("hi"), Done("end_turn")], ["hi"]),
        ([TextDelta("hi"), Done("max_tokens")], ["hi", "[max_tokens]"]),
        ([Done("end_turn")], ["[end_turn]"]),
        ([ReasoningDelta("hm"), TextDelta("x"), Done("stop_sequence")], ["x"]),
        ([TextDelta("hi"), ERROR], ["hi", "[error throttled: Later.]"]),
        ([HistoryPage((past(1, "a", "b"),)), Done()], ["you: a\nmodel: b"]),
        ([HistoryPage(()), Done()], ["[done]"]),
        ([Done(cleared=0)], ["[cleared 0]"]),
    ],
)
def test_text_writes_the_answer_and_brackets_the_rest(
    items: list[ResponseEvent], shown: list[str]
) -> None:
    """Errors, unusual stop reasons and the number of cleared turns are in brackets."""
    assert shown == frames(TextEncoder("r"), items)


@pytest.mark.parametrize(
    ("items", "shown"),
    [
        (
            [
                Start("s", "m"),
                TextDelta("a"),
                ReasoningDelta("hm"),
                TextDelta("b"),
                Done("end_turn"),
            ],
            [("a", "proceeding"), ("ab", "proceeding"), ("ab", "completed")],
        ),
        ([TextDelta("a"), ERROR], [("a", "proceeding"), ("Later.", "error")]),
        (
            [HistoryPage((past(1, "a", "b"), past(2, "c", "d"))), Done()],
            [(HISTORY_TEXT, "completed")],
        ),
        ([Done(cleared=3)], [("", "completed")]),
    ],
)
def test_seed_writes_all_the_text_so_far_and_a_status(
    items: list[ResponseEvent], shown: list[tuple[str, str]]
) -> None:
    """As the sample that this replaces did."""
    made = [json.loads(frame) for frame in frames(SeedEncoder("r"), items)]

    assert [{"request_id": "r", "msg": msg, "status": status} for msg, status in shown] == made


def test_seed_ends_an_answer_that_is_too_long_as_an_error() -> None:
    """One error frame, which says that the answer was saved."""
    made = frames(SeedEncoder("r"), [TextDelta("a" * 40_000), TextDelta("b"), Done("end_turn")])

    assert ["proceeding", "error"] == [json.loads(frame)["status"] for frame in made]
    assert "saved" in json.loads(made[-1])["msg"]

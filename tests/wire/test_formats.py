import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from errors import ChatError
from families.registry import ReasoningDelta, TextDelta, Usage
from settings import MAX_FRAME_BYTES
from wire.events import Done, Failed, HistoryPage, Item, Latency, PastTurn, Start
from wire.formats import (
    FORMATS,
    Encoder,
    EventsEncoder,
    SeedEncoder,
    TextEncoder,
    fit_to_frames,
    json_bytes,
    split,
)

any_text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=200)
some_text = any_text.filter(bool)
TOLD = "you: a\nmodel: b\nyou: c\nmodel: d"
ERROR = Failed(ChatError("throttled", "Later."))


def frames(encoder: Encoder, items: Iterable[Item]) -> list[str]:
    return [
        frame
        for seq, item in enumerate(fit_to_frames(items))
        for frame in encoder.encode(seq, item)
    ]


def events(items: Iterable[Item], request_id: str = "r") -> list[dict[str, Any]]:
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


def test_events() -> None:
    """Every item becomes a JSON object that counts on from the one before."""
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


def test_events_error() -> None:
    """An error says its code, its sentence and whether to try again, and nothing else."""
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


def test_events_history_and_clear() -> None:
    """History comes as entries, and says so where there are none."""
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


@pytest.mark.parametrize("character", ["w", "é", "🙂", '"', "\x00", "\u2028"])
@pytest.mark.parametrize("name", list(FORMATS))
def test_no_frame_is_too_long(name: str, character: str) -> None:
    """Text of any kind is split to fit, and nothing of it is lost in the formats that split."""
    text = character * 70_000
    made = frames(FORMATS[name]("r" * 128), [Start("s" * 128, "m"), TextDelta(text)])

    assert all(len(frame.encode()) <= MAX_FRAME_BYTES for frame in made)
    if name == "events":
        parts = [json.loads(frame) for frame in made]
        assert list(range(len(parts))) == [part["seq"] for part in parts]
        assert text == "".join(part.get("text", "") for part in parts)
    if name == "text":
        assert text == "".join(made)


def test_an_error_that_ends_with_the_day() -> None:
    """Where it is known when a request will not be refused again, it is told."""
    assert (
        86_400 == events([Failed(ChatError("over_budget", "No.", retry_at=86_400))])[0]["retry_at"]
    )


def test_split_fills_its_pieces() -> None:
    """Pieces are as long as they may be: each costs a post."""
    assert ["aaaa", "aaaa", "a"] == list(split("a" * 9, 4, len))
    assert [] == list(split("", 4, len))


@given(any_text, st.integers(min_value=8, max_value=40))
def test_split_loses_nothing(text: str, room: int) -> None:
    """The pieces join to the text, and each fits."""

    def cost(piece: str) -> int:
        return json_bytes(piece) - 2

    pieces = list(split(text, room, cost))

    assert text == "".join(pieces)
    assert all(0 < cost(piece) <= room for piece in pieces)


@given(st.lists(st.tuples(any_text, any_text), max_size=4), st.sampled_from([1, 100, 1000]))
def test_long_history_is_split_and_joined(turns: list[tuple[str, str]], stretch: int) -> None:
    """Entries of one turn, joined, are the turn, whatever its length; frames keep their limit."""
    told = tuple(past(n, user * stretch, said) for n, (user, said) in enumerate(turns, 1))

    made = frames(EventsEncoder("r" * 128), [HistoryPage(told)])

    assert all(len(frame.encode()) <= MAX_FRAME_BYTES for frame in made)
    joined: dict[int, list[str]] = {}
    for frame in made:
        for entry in json.loads(frame)["turns"]:
            texts = joined.setdefault(entry["turn"], ["", ""])
            texts[0] += entry["user"]
            texts[1] += entry["assistant"]
    assert {turn.turn: [turn.user, turn.assistant] for turn in told} == joined


@given(
    st.lists(
        st.sampled_from([TextDelta, ReasoningDelta]).flatmap(some_text.map),
        max_size=20,
    )
)
def test_neighbours_are_joined_and_keeps_order(items: list[Item]) -> None:
    """Joined deltas say the same in the same order, and no two neighbours are of one kind."""
    joined = list(fit_to_frames(items))

    def said(of: Iterable[Any]) -> list[tuple[type, str]]:
        return [(type(item), character) for item in of for character in item.text]

    assert said(items) == said(joined)
    assert all(type(a) is not type(b) for a, b in pairwise(joined))


def test_the_rest_is_left_alone() -> None:
    """Only deltas are joined."""
    items: list[Item] = [Start("s", "m"), TextDelta("a"), TextDelta("b"), Done(), Done()]

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
def test_text(items: list[Item], shown: list[str]) -> None:
    """A person reads the bare text, and in brackets what else is worth knowing."""
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
            [(TOLD, "completed")],
        ),
        ([Done(cleared=3)], [("", "completed")]),
    ],
)
def test_seed(items: list[Item], shown: list[tuple[str, str]]) -> None:
    """The seed's frames carry all the text so far and a status."""
    made = [json.loads(frame) for frame in frames(SeedEncoder("r"), items)]

    assert [{"request_id": "r", "msg": msg, "status": status} for msg, status in shown] == made


def test_seed_too_long() -> None:
    """An answer that outgrows the format ends as an error that says it was saved, and only once."""
    made = frames(SeedEncoder("r"), [TextDelta("a" * 40_000), TextDelta("b"), Done("end_turn")])

    assert ["proceeding", "error"] == [json.loads(frame)["status"] for frame in made]
    assert "saved" in json.loads(made[-1])["msg"]

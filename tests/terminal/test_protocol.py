"""Covers bedrock_chat/protocol.py: what is sent, and that what is told is whole and told once."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.e2e_clients import text, validator
from support.reference_server import Frame, Server

from bedrock_chat import protocol
from bedrock_chat.protocol import (
    FRAME_BYTES,
    MESSAGE_BYTES,
    Exchange,
    TooLongError,
    fragments,
    read,
    written,
)

DONE = {"type": "done", "stop_reason": "end_turn"}
FAILED = {"type": "error", "code": "model_error", "message": "It failed.", "retryable": True}
CLIENT = validator("client")


def frame(seq: int, kind: str = "delta", request_id: str = "r", **more: object) -> Frame:
    return {"type": kind, "request_id": request_id, "seq": seq, **more}


def exchange(action: str = "chat", **more: object) -> Exchange:
    return Exchange({"action": action, "session_id": "s", "request_id": "r", **more})


# -- what is sent ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        protocol.chat("hi", "s"),
        protocol.go_on("s"),
        protocol.history("s", 20),
        protocol.clear("s"),
        protocol.resume("s", "r"),
        protocol.PING,
    ],
)
def test_requests(request_: Frame) -> None:
    """All that is sent is what the protocol's schema says, also asked again and with a stop."""
    CLIENT.validate(request_)
    if "request_id" in request_:
        asked = Exchange(request_)
        for each in (*asked.ask(), *asked.stop(), *asked.ask()):
            CLIENT.validate(each)


def test_ids_are_new() -> None:
    """Two questions never have the same."""
    assert 2 == len({protocol.chat("hi", "s")["request_id"] for _ in range(2)})


def test_what_is_no_text() -> None:
    """Half a character, as shells and terminals can bring, is asked as a question mark."""
    assert "a?b" == protocol.chat("a\udce9b", "s")["body"]


@pytest.mark.parametrize("character", ["a", "é", "語", "🙂", '"', "\n"])
def test_a_question_that_just_fits(character: str) -> None:
    """128 KB are sent, in frames of 32 KB at most; a byte more is refused before it is sent."""
    rest = MESSAGE_BYTES - len(written(protocol.chat("x", "s")).encode()) + 1
    size = len(json.dumps(character, ensure_ascii=False).encode()) - 2
    body = character * (rest // size) + "a" * (rest % size)
    cut = fragments(written(protocol.chat(body, "s")))

    assert MESSAGE_BYTES == sum(len(each.encode()) for each in cut)
    assert FRAME_BYTES >= max(len(each.encode()) for each in cut)
    assert body == json.loads("".join(cut))["body"]
    with pytest.raises(TooLongError, match="131,073 bytes"):
        protocol.chat(body + "a", "s")


@pytest.mark.parametrize("said", ["", "nonsense", "[1]", "5", b"\xff", '{"a":'])
def test_what_is_no_frame(said: str | bytes) -> None:
    """Counts as nothing, and breaks nothing."""
    assert {} == read(said)
    assert ([], []) == exchange().hear(read(said))


# -- one thing after the other ---------------------------------------------------------------------

RESUME = {"action": "resume", "session_id": "s", "request_id": "r"}
CHAT = {"action": "chat", "session_id": "s", "request_id": "r"}
STOP = {"action": "stop", "session_id": "s", "request_id": "r"}
DUPLICATE = frame(0, "error", code="duplicate", retryable=False)
REFUSED = frame(0, "error", code="invalid_request", retryable=False)
OTHER_COPY = frame(0, "error", code="throttled", retryable=True)


@dataclass(frozen=True)
class Case:
    heard: Sequence[Frame]
    told: Sequence[int]
    asked: Sequence[Frame] = ()
    again: Sequence[Frame] = ()
    over: bool = False


START, ONE, TWO = frame(0, "start"), frame(1), frame(2)
CASES = {
    "nothing": Case([], [], again=[CHAT]),
    "begun": Case([START, ONE], [0, 1], again=[{**RESUME, "from_seq": 2}]),
    "ended": Case([START, frame(1, "done")], [0, 1], over=True),
    "twice": Case([START, START, ONE, ONE], [0, 1], again=[{**RESUME, "from_seq": 2}]),
    "out of order": Case([ONE, START], [0, 1], again=[{**RESUME, "from_seq": 2}]),
    "a gap": Case([START, TWO], [0], again=[{**RESUME, "from_seq": 1}]),
    "the end before the rest": Case(
        [START, frame(2, "done")], [0], again=[{**RESUME, "from_seq": 1}]
    ),
    "after the end": Case([frame(0, "done"), ONE], [0], over=True),
    "an error": Case([frame(0, "error", code="busy", retryable=True)], [0], over=True),
    "another's": Case([frame(0, request_id="q")], [], again=[CHAT]),
    "API Gateway's own": Case([{"message": "Forbidden"}], [], again=[CHAT]),
    "no number": Case([{"type": "delta", "request_id": "r"}], [], again=[CHAT]),
    "taken before": Case(
        [DUPLICATE],
        [],
        asked=[{**RESUME, "from_seq": 0}],
        again=[{**RESUME, "from_seq": 0}],
    ),
    "taken before, told twice": Case(
        [DUPLICATE, DUPLICATE],
        [],
        asked=[{**RESUME, "from_seq": 0}],
        again=[{**RESUME, "from_seq": 0}],
    ),
    "taken before, when it had begun": Case(
        [START, DUPLICATE, ONE], [0, 1], again=[{**RESUME, "from_seq": 2}]
    ),
    "nothing more to resume": Case([START, ONE, REFUSED], [0, 1, 0], over=True),
    "another copy fails": Case([START, OTHER_COPY], [0], again=[{**RESUME, "from_seq": 1}]),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_hearing(case: Case) -> None:
    """Which frames are told, what is asked at once, and what on the next connection."""
    one, told, asked = exchange(), [], []
    for each in case.heard:
        due, more = one.hear(each)
        told += [frame["seq"] for frame in due]
        asked += more

    assert (list(case.told), list(case.asked)) == (told, asked)
    assert case.over == one.over
    if not case.over:
        assert list(case.again) == one.ask()


def test_a_stop_is_asked_again() -> None:
    """On the next connection, behind what asks for the answer."""
    one = exchange()
    assert [STOP] == one.stop()
    assert [CHAT, STOP] == one.ask()
    one.hear(START)
    assert [{**RESUME, "from_seq": 1}, STOP] == one.ask()


def test_history_is_asked_again() -> None:
    """It is never taken, so there is nothing to resume."""
    one = exchange("history", limit=5)
    one.hear(frame(0, "history", turns=[]))
    assert ["history"] == [each["action"] for each in one.ask()]


def test_what_somebody_else_asked() -> None:
    """Is resumed from its beginning."""
    assert [{**RESUME, "from_seq": 0}] == exchange("resume").ask()


# -- whatever breaks -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Connection:
    """What becomes of one: how many of the client's frames arrive, and how many it hears.

    `twice` and `swapped` are places among these at which the network, or a repeated post, errs;
    `lost` one that never arrives.
    """

    arrive: int
    heard: int
    twice: int
    swapped: int
    lost: int


CONNECTIONS = st.builds(
    Connection,
    st.integers(0, 2),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 9),
)
GOOD = Connection(9, 99, 99, 99, 99)


def through(connection: Connection, frames: list[Frame]) -> list[Frame]:
    """What of the frames is heard, and in which order."""
    passed = [each for n, each in enumerate(frames) if n != connection.lost][: connection.heard]
    at = connection.swapped
    passed[at : at + 2] = reversed(passed[at : at + 2])
    at = connection.twice
    return [*passed[: at + 1], *passed[at : at + 1], *passed[at + 1 :]]


@given(
    st.lists(st.text(min_size=1, max_size=3), max_size=8),
    st.sampled_from([DONE, FAILED]),
    st.lists(CONNECTIONS, max_size=5),
    st.integers(0, 6),
)
def test_whole_and_once(
    words: list[str], end: Frame, connections: list[Connection], stop_at: int
) -> None:
    """Wherever connections break: each frame is told once, in order, and one question is taken."""
    server, one = Server(words, end), Exchange(protocol.chat("?", "s"))
    told: list[Frame] = []
    for n, connection in enumerate([*connections, GOOD]):
        asked = one.ask() + (one.stop() if n == stop_at else [])
        while asked:
            answered = [
                answer for each in asked[: connection.arrive] for answer in server.answer(each)
            ]
            asked = []
            for each in through(connection, answered):
                due, more = one.hear(each)
                told += due
                asked += more

    assert server.frames == told
    assert "".join(words) == text(told)
    assert (one.over, server.taken) == (True, 1)
    assert server.stopped or not one._stopping

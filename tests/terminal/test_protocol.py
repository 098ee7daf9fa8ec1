"""Covers bedrock_chat/protocol.py: what is sent, and that each frame is delivered once."""

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
    QuestionTooLongError,
    decode,
    encode,
    fragments,
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
        protocol.continue_answer("s"),
        protocol.history("s", 20),
        protocol.clear("s"),
        protocol.resume("s", "r"),
        protocol.PING,
    ],
)
def test_requests_match_the_schema(request_: Frame) -> None:
    """Also when they are sent again, or with a stop."""
    CLIENT.validate(request_)
    if "request_id" in request_:
        one = Exchange(request_)
        for each in (*one.frames_to_send(), *one.stop(), *one.frames_to_send()):
            CLIENT.validate(each)


def test_request_ids_are_unique() -> None:
    """Two questions never have the same one."""
    assert 2 == len({protocol.chat("hi", "s")["request_id"] for _ in range(2)})


def test_invalid_text_is_replaced() -> None:
    """Half a character, which shells and terminals can pass, becomes a question mark."""
    assert "a?b" == protocol.chat("a\udce9b", "s")["body"]


@pytest.mark.parametrize("character", ["a", "é", "語", "🙂", '"', "\n"])
def test_a_question_that_just_fits(character: str) -> None:
    """128 KB are sent, in frames of at most 32 KB; one byte more is rejected before sending."""
    rest = MESSAGE_BYTES - len(encode(protocol.chat("x", "s")).encode()) + 1
    size = len(json.dumps(character, ensure_ascii=False).encode()) - 2
    body = character * (rest // size) + "a" * (rest % size)
    cut = fragments(encode(protocol.chat(body, "s")))

    assert MESSAGE_BYTES == sum(len(each.encode()) for each in cut)
    assert FRAME_BYTES >= max(len(each.encode()) for each in cut)
    assert body == json.loads("".join(cut))["body"]
    with pytest.raises(QuestionTooLongError, match="131,073 bytes"):
        protocol.chat(body + "a", "s")


@pytest.mark.parametrize("received", ["", "nonsense", "[1]", "5", b"\xff", '{"a":'])
def test_an_invalid_frame_is_ignored(received: str | bytes) -> None:
    """It decodes to an empty frame, which has no effect."""
    assert {} == decode(received)
    assert ([], []) == exchange().receive(decode(received))


# -- sequences of frames ---------------------------------------------------------------------------

RESUME = {"action": "resume", "session_id": "s", "request_id": "r"}
CHAT = {"action": "chat", "session_id": "s", "request_id": "r"}
STOP = {"action": "stop", "session_id": "s", "request_id": "r"}
DUPLICATE = frame(0, "error", code="duplicate", retryable=False)
REFUSED = frame(0, "error", code="invalid_request", retryable=False)
OTHER_COPY = frame(0, "error", code="throttled", retryable=True)


@dataclass(frozen=True)
class Case:
    received: Sequence[Frame]
    delivered: Sequence[int]
    replies: Sequence[Frame] = ()
    next_sent: Sequence[Frame] = ()
    finished: bool = False


START, ONE, TWO = frame(0, "start"), frame(1), frame(2)
CASES = {
    "nothing": Case([], [], next_sent=[CHAT]),
    "started": Case([START, ONE], [0, 1], next_sent=[{**RESUME, "from_seq": 2}]),
    "ended": Case([START, frame(1, "done")], [0, 1], finished=True),
    "twice": Case([START, START, ONE, ONE], [0, 1], next_sent=[{**RESUME, "from_seq": 2}]),
    "out of order": Case([ONE, START], [0, 1], next_sent=[{**RESUME, "from_seq": 2}]),
    "a gap": Case([START, TWO], [0], next_sent=[{**RESUME, "from_seq": 1}]),
    "the end before the rest": Case(
        [START, frame(2, "done")], [0], next_sent=[{**RESUME, "from_seq": 1}]
    ),
    "after the end": Case([frame(0, "done"), ONE], [0], finished=True),
    "an error": Case([frame(0, "error", code="busy", retryable=True)], [0], finished=True),
    "another request's": Case([frame(0, request_id="q")], [], next_sent=[CHAT]),
    "API Gateway's own": Case([{"message": "Forbidden"}], [], next_sent=[CHAT]),
    "no number": Case([{"type": "delta", "request_id": "r"}], [], next_sent=[CHAT]),
    "accepted before": Case(
        [DUPLICATE],
        [],
        replies=[{**RESUME, "from_seq": 0}],
        next_sent=[{**RESUME, "from_seq": 0}],
    ),
    "accepted before, reported twice": Case(
        [DUPLICATE, DUPLICATE],
        [],
        replies=[{**RESUME, "from_seq": 0}],
        next_sent=[{**RESUME, "from_seq": 0}],
    ),
    "accepted before, and started": Case(
        [START, DUPLICATE, ONE], [0, 1], next_sent=[{**RESUME, "from_seq": 2}]
    ),
    "nothing more to resume": Case([START, ONE, REFUSED], [0, 1, 0], finished=True),
    "another copy fails": Case([START, OTHER_COPY], [0], next_sent=[{**RESUME, "from_seq": 1}]),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_received_frames_are_delivered_in_order(case: Case) -> None:
    """Which frames are delivered, the replies, and what is sent on the next connection."""
    one, delivered, replies = exchange(), [], []
    for each in case.received:
        due, more = one.receive(each)
        delivered += [frame["seq"] for frame in due]
        replies += more

    assert (list(case.delivered), list(case.replies)) == (delivered, replies)
    assert case.finished == one.finished
    if not case.finished:
        assert list(case.next_sent) == one.frames_to_send()


def test_a_stop_is_repeated() -> None:
    """On the next connection, after the request itself."""
    one = exchange()
    assert [STOP] == one.stop()
    assert [CHAT, STOP] == one.frames_to_send()
    one.receive(START)
    assert [{**RESUME, "from_seq": 1}, STOP] == one.frames_to_send()


def test_history_is_requested_again() -> None:
    """The server does not store its frames, so there is nothing to resume."""
    one = exchange("history", limit=5)
    one.receive(frame(0, "history", turns=[]))
    assert ["history"] == [each["action"] for each in one.frames_to_send()]


def test_another_clients_request_is_resumed() -> None:
    """From its first frame."""
    assert [{**RESUME, "from_seq": 0}] == exchange("resume").frames_to_send()


# -- faults ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Connection:
    """How many of the client's frames arrive, and how many of the server's.

    Of the server's frames, the one at `twice` arrives twice, the two at `swapped` arrive in reverse
    order, and the one at `lost` never arrives.
    """

    sent: int
    received: int
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
    """Return the frames that arrive, in their order."""
    passed = [each for n, each in enumerate(frames) if n != connection.lost][: connection.received]
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
def test_each_frame_is_delivered_once(
    words: list[str], end: Frame, connections: list[Connection], stop_at: int
) -> None:
    """Wherever connections break: in order, and one question is accepted."""
    server, one = Server(words, end), Exchange(protocol.chat("?", "s"))
    delivered: list[Frame] = []
    for n, connection in enumerate([*connections, GOOD]):
        sent = one.frames_to_send() + (one.stop() if n == stop_at else [])
        while sent:
            answered = [
                answer for each in sent[: connection.sent] for answer in server.answer(each)
            ]
            sent = []
            for each in through(connection, answered):
                due, replies = one.receive(each)
                delivered += due
                sent += replies

    assert server.frames == delivered
    assert "".join(words) == text(delivered)
    assert (one.finished, server.accepted) == (True, 1)
    assert server.stopped or not one._stopping

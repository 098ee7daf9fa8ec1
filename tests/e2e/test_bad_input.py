"""What people and programs get wrong: one clear error each, and nothing else happens."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.e2e_clients import Person, person, text
from support.fuzzing import fuzz
from websockets.exceptions import ConnectionClosed

BAD = [
    '{"action":"chat"}',
    '{"action":"chat","body":5}',
    '{"action":"chat","body":""}',
    '{"action":"chat","body":"  "}',
    '{"body":null}',
    '{"body":["a"]}',
    '{"body":"x","session_id":"../../etc"}',
    '{"body":"x","session_id":5}',
    '{"action":"nope","body":"x"}',
    '{"action":5}',
    '{"action":null}',
    '{"action":"chat","body":"\\ud800"}',
    '{"action":"chat","body":"x","request_id":{"a":1}}',
    '{"action":"chat","body":"y","request_id":"' + "r" * 5000 + '"}',
    '{"action":"history","limit":"many"}',
    '{"action":"history","limit":0}',
    '{"action":"history","limit":true}',
    '{"action":"chat","body":"x"',
    "{",
    "{" * 20_000,
    "[]",
    '["chat"]',
    "",
    "   ",
    "\n",
]
FUZZED, SITTINGS = 500, 4  # 9,500 more are parsed alone: tests/test_frames.py


@pytest.fixture(scope="module")
def anchored(stack: str) -> Iterator[Person]:
    with person(stack, session_id="anchored") as one:
        one.say("anchor-word")
        yield one
        assert "anchor-word" in text(one.script(echo=True))


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: repr(bad)[:40])
def test_bad_frames(anchored: Person, bad: str) -> None:
    """One error frame with a code and a sentence; the connection and the conversation go on."""
    (frame,) = anchored.say(bad)

    assert ("error", "invalid_request", False) == (frame["type"], frame["code"], frame["retryable"])
    assert "Traceback" not in frame["message"]


def test_a_binary_frame(stack: str) -> None:
    """API Gateway closes with 1003, and the session is unharmed."""
    with person(stack, session_id="binary") as one:
        one.say("anchor-word")
        one.socket.send(b"\x00\xff")
        with pytest.raises(ConnectionClosed) as closed:
            one.socket.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert 1003 == closed.value.rcvd.code
    with person(stack, session_id="binary") as again:
        assert "anchor-word" in text(again.script(echo=True))


@pytest.mark.parametrize("size", [32 * 1024 + 1, 128 * 1024 + 1])
def test_a_frame_too_large(stack: str, size: int) -> None:
    """API Gateway closes with 1009, and the session is unharmed."""
    with person(stack, session_id=f"large-{size}") as one:
        one.say("anchor-word")
        with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - which of the two sees it
            one.socket.send("x" * size)
            one.socket.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert 1009 == closed.value.rcvd.code
    with person(stack, session_id=f"large-{size}") as again:
        assert "anchor-word" in text(again.script(echo=True))


def test_fuzzed_frames(stack: str) -> None:
    """Each of hundreds gets one terminal frame or a pong; the connection outlives them all."""

    def pester(seed: int) -> int:
        """One sitting. Each has a session of its own: long ones slow moto down."""
        rng = random.Random(seed)
        with person(stack, session_id=f"fuzz-{seed}") as one:
            for _ in range(FUZZED // SITTINGS):
                one.send(fuzz(rng))
                while True:
                    frame = one.receive()
                    assert "connectionId" not in frame, frame  # API Gateway's own error
                    assert "internal" != frame.get("code"), frame
                    if frame["type"] in ("done", "error", "pong"):
                        break
            assert "You said: still here" == text(one.say("still here"))
        return FUZZED // SITTINGS

    with ThreadPoolExecutor(4) as pool:
        assert FUZZED == sum(pool.map(pester, range(SITTINGS)))

"""What people and programs get wrong: one clear error each, and nothing else happens."""

import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from people import Person, person, text
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
FUZZED, SITTINGS = 10_000, 40


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


def fuzz(rng: random.Random) -> str:
    """A frame that is almost one of ours: bitten, doubled, or made of the characters that hurt."""
    hurtful = "\"'\\{}[]:,\n\r\t\x00\x7f$#a0 \u2028\ufeff\ud7ff\ue000🙂é"
    kind = rng.randrange(4)
    if kind == 0:
        return "{" + "".join(rng.choice(hurtful) for _ in range(rng.randrange(1, 60)))
    good = json.dumps(
        {
            "action": rng.choice(["chat", "history", "clear", "ping", "", "$connect", "chat "]),
            rng.choice(["body", "limit", "request_id", "session_id"]): rng.choice(
                [None, 0, -1, 1e308, True, [], {}, "\ud800", "../x", "x" * 200, {"a": [None]}]
            ),
        }
    )
    if kind == 1:
        return good
    at = rng.randrange(len(good))
    if kind == 2:
        return good[:at] + rng.choice(hurtful) + good[at + 1 :]
    return good[:at]


@pytest.mark.timeout(600)  # some ten milliseconds a frame, twice that while coverage is measured
def test_fuzzed_frames(stack: str) -> None:
    """Each of thousands gets one terminal frame or a pong; the connection outlives them all."""

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

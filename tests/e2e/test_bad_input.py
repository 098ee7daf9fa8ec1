"""Invalid frames: one clear error each, and no other effect."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.e2e_clients import PATIENCE, Client, client, text
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
FUZZED, CONNECTIONS = 500, 4  # 9,500 more in tests/wire/test_requests.py, without the stack


@pytest.fixture(scope="module")
def anchored(stack: str) -> Iterator[Client]:
    with client(stack, session_id="anchored") as one:
        one.say("anchor-word")
        yield one
        assert "anchor-word" in text(one.script(echo=True))


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: repr(bad)[:40])
def test_an_invalid_frame_gets_one_error_and_the_conversation_continues(
    anchored: Client, bad: str
) -> None:
    """One error frame with a code and a message; connection and conversation are unharmed."""
    (frame,) = anchored.say(bad)

    assert ("error", "invalid_request", False) == (frame["type"], frame["code"], frame["retryable"])
    assert "Traceback" not in frame["message"]


def test_a_binary_frame_closes_the_connection_only(stack: str) -> None:
    """API Gateway closes with 1003, and the session is unharmed."""
    with client(stack, session_id="binary") as one:
        one.say("anchor-word")
        one.socket.send(b"\x00\xff")
        with pytest.raises(ConnectionClosed) as closed:
            one.socket.recv(PATIENCE)
        assert closed.value.rcvd is not None
        assert 1003 == closed.value.rcvd.code
    with client(stack, session_id="binary") as again:
        assert "anchor-word" in text(again.script(echo=True))


@pytest.mark.parametrize("size", [32 * 1024 + 1, 128 * 1024 + 1])
def test_a_frame_that_is_too_large_closes_the_connection_only(stack: str, size: int) -> None:
    """API Gateway closes with 1009, and the session is unharmed."""
    with client(stack, session_id=f"large-{size}") as one:
        one.say("anchor-word")
        with pytest.raises(ConnectionClosed) as closed:  # noqa: PT012 - which of the two sees it
            one.socket.send("x" * size)
            one.socket.recv(PATIENCE)
        assert closed.value.rcvd is not None
        assert 1009 == closed.value.rcvd.code
    with client(stack, session_id=f"large-{size}") as again:
        assert "anchor-word" in text(again.script(echo=True))


def test_each_fuzzed_frame_gets_one_response(stack: str) -> None:
    """One terminal frame or a pong for each of hundreds; the connections stay open."""

    def send_many(seed: int) -> int:
        """On one connection, in a session of its own: long sessions make moto slow."""
        rng = random.Random(seed)
        with client(stack, session_id=f"fuzz-{seed}") as one:
            for _ in range(FUZZED // CONNECTIONS):
                one.send(fuzz(rng))
                while True:
                    frame = one.receive()
                    assert "connectionId" not in frame, frame  # API Gateway's own error
                    assert "internal" != frame.get("code"), frame
                    if frame["type"] in ("done", "error", "pong"):
                        break
            assert "You said: still here" == text(one.say("still here"))
        return FUZZED // CONNECTIONS

    with ThreadPoolExecutor(4) as pool:
        assert FUZZED == sum(pool.map(send_many, range(CONNECTIONS)))

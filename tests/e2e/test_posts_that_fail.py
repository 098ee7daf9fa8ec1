"""What becomes of a turn when posting fails, and when the model falls silent: the whole stack."""

import secrets
import time
from collections.abc import Callable, Iterator

import pytest
from support import stacks
from support.e2e_clients import PATIENCE, Client, Frame, client, script, text

from local.gateway.connections import (
    FORBIDDEN,
    GONE,
    INTERNAL,
    LIMIT_EXCEEDED,
    PAYLOAD_TOO_LARGE,
    ApiError,
)
from local.stack import Backends, Stack

CHUNKS = 30
ORDER = script(chunks=CHUNKS, rate=60, text="ab ")  # half a second
WHOLE = "ab " * CHUNKS
STALL_SECONDS = 5  # instead of 60; longer than a busy machine lets a working model wait


@pytest.fixture(scope="module")
def hooked(services: Backends) -> Iterator[Stack]:
    """A stack in this process, whose gateway can refuse posts."""
    environment = {"STALL_SECONDS": str(STALL_SECONDS)}
    with stacks.serving(services=services, environment=environment) as (stack, _):
        yield stack


@pytest.fixture
def one(hooked: Stack) -> Iterator[Client]:
    with client(hooked.url) as connected:
        yield connected
        hooked.gateway.connections.post_faults = lambda _: None


def refuse(after: int, count: int, error: ApiError) -> Callable[[str], ApiError | None]:
    """Refuses `count` posts, after so many that went through."""
    seen = iter(range(10**9))

    def fault(_: str) -> ApiError | None:
        return error if after <= next(seen) < after + count else None

    return fault


def saved(one: Client) -> list[tuple[str, str]]:
    """The turns of the session, once its answer is saved."""
    deadline = time.monotonic() + PATIENCE
    while not (turns := one.say({"action": "history"})[0]["turns"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return [(turn["state"], turn["assistant"]) for turn in turns]


@pytest.mark.parametrize("after", [0, 1, 2])  # however slow, an answer takes three posts
@pytest.mark.parametrize(
    "error", [GONE, FORBIDDEN, PAYLOAD_TOO_LARGE], ids=lambda error: error.type
)
def test_after_a_final_refusal_nothing_more_is_posted(
    hooked: Stack, error: ApiError, after: int
) -> None:
    """No retry can change it. The answer is saved whole."""
    posts: list[str] = []
    once = refuse(after, 1, error)

    def fault(connection_id: str) -> ApiError | None:
        posts.append(connection_id)
        return once(connection_id)

    session_id = secrets.token_hex(8)
    hooked.gateway.connections.post_faults = fault
    with client(hooked.url, session_id=session_id) as one:
        one.send(ORDER)
        frames: list[Frame] = [one.receive() for _ in range(after)]
        while len(posts) <= after:  # until pytest's own timeout
            time.sleep(0.01)
        with client(hooked.url, session_id=session_id) as other:
            assert [("complete", WHOLE)] == saved(other)

        assert after + 1 == posts.count(posts[0])
        assert all(frame["type"] in ("start", "delta") for frame in frames)
        assert "You said: back" == text(one.say("back"))
    hooked.gateway.connections.post_faults = lambda _: None


@pytest.mark.parametrize("error", [LIMIT_EXCEEDED, INTERNAL], ids=lambda error: error.type)
def test_a_passing_refusal_costs_nothing_but_time(
    hooked: Stack, one: Client, error: ApiError
) -> None:
    """Back-pressure and passing failures: all of the answer arrives."""
    hooked.gateway.connections.post_faults = refuse(1, 3, error)
    frames = one.say(ORDER)

    assert WHOLE == text(frames)
    assert "done" == frames[-1]["type"]
    assert [("complete", WHOLE)] == saved(one)


def test_a_refusal_without_end_leaves_the_answer_saved(hooked: Stack, one: Client) -> None:
    """A client that takes nothing for seconds counts as gone; the answer waits in the session."""
    hooked.gateway.connections.post_faults = refuse(1, 10**9, LIMIT_EXCEEDED)
    one.send(ORDER)
    assert "start" == one.receive()["type"]
    deadline = time.monotonic() + PATIENCE
    while hooked.busy:  # the patience is 5 s, and 5 s more at the end
        assert time.monotonic() < deadline
        time.sleep(0.05)
    hooked.gateway.connections.post_faults = lambda _: None

    assert [("complete", WHOLE)] == saved(one)


def test_a_model_that_falls_silent_ends_the_answer(one: Client) -> None:
    """Silence longer than STALL_SECONDS is an error; what was said is kept; the next turn works."""
    frames = one.say(script(chunks=9, text="ab ", fault={"at": 4, "type": "stall"}))

    assert ("error", "model_error", True) == tuple(
        frames[-1][name] for name in ("type", "code", "retryable")
    )
    assert "ab " * 4 == text(frames)
    assert [("error", "ab " * 4)] == saved(one)
    assert "You said: still here" == text(one.say("still here"))

"""The examples of docs/protocol.schema.json: a conversation of them, with the whole stack."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.e2e_clients import SCHEMA, Frame, Person, person, running, script, validator

from local.gateway.server import FORBIDDEN, INTERNAL_ERROR, TIMED_OUT, error_frame

# What differs each time: ids, counts, times, and how a text was divided.
VARIES = (
    {"request_id", "session_id", "seq", "text", "created_at", "retry_at", "first_token", "total"}
    | set(SCHEMA["$defs"]["usage"]["properties"])
    | {"running"}
)
QUESTIONS = 5  # that are asked below, before one is too many


def examples(name: str) -> list[Frame]:
    found: list[Frame] = SCHEMA["$defs"][name]["examples"]
    return found


def shape(value: Any) -> Any:
    """The frame but for what varies, which is replaced by its type."""
    if isinstance(value, dict):
        return {
            name: type(each).__name__ if name in VARIES else shape(each)
            for name, each in value.items()
        }
    return [shape(each) for each in value] if isinstance(value, list) else value


def until(one: Person, **members: Any) -> Iterator[Frame]:
    """Frames, up to the one that has these members."""
    while True:
        frame = one.receive()
        yield frame
        if members.items() <= frame.items():
            return


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    """All frames of a conversation in which each of the clients' examples is sent."""
    asked, again = examples("client_chat")
    (continue_answer,), (stop,) = examples("client_continue"), examples("client_stop")
    (resume,), (history,) = examples("client_resume"), examples("client_history")
    (clear,), (ping,) = examples("client_clear"), examples("client_ping")
    all_heard: list[Frame] = []
    log = tmp_path_factory.mktemp("protocol") / "log"
    stack = running(log, SHOW_REASONING="true", REQUESTS_PER_DAY=str(QUESTIONS))
    with stack as (url, _):
        with person(url) as one:
            all_heard += one.say(again)
            all_heard += one.say(again)  # a duplicate
            one.send(resume)
            all_heard += until(one, type="done")
            all_heard += one.say(history)
            all_heard += one.say(clear)
            one.send(ping)
            all_heard.append(one.receive())
            first, second = examples("client_part")
            one.send(first)
            all_heard += one.say(second)
        with person(url, session_id="shared") as one, person(url, session_id="shared") as other:
            order = script(chunks=3000, rate=100, reasoning=2)
            one.send({"body": order, "request_id": again["request_id"]})
            all_heard += until(one, type="delta")
            all_heard += other.say(history)
            other.send(stop)
            all_heard += until(one, type="done")
            all_heard += one.say(continue_answer)
        with person(url, "seed") as one:
            one.send({"body": asked["body"], "request_id": again["request_id"]})
            all_heard += until(one, status="completed")
        with person(url) as one:
            all_heard += one.say(asked)  # one too many
    return all_heard


@pytest.mark.parametrize(
    ("name", "example"),
    [
        pytest.param(name, example, id=f"{name}-{at}")
        for name in ("start", "delta", "reasoning", "history", "done", "error", "pong", "seed")
        for at, example in enumerate(SCHEMA["$defs"][name]["examples"])
    ],
)
def test_a_frame_like_the_example_was_sent(heard: list[Frame], name: str, example: Frame) -> None:
    """By the stack, in answer to the examples of what clients send."""
    assert shape(example) in [shape(frame) for frame in heard], name


def test_the_gateways_own_errors_are_as_the_example() -> None:
    """Which no client can order: the gateway's writer makes them."""
    frames = [
        json.loads(error_frame(words, "L0SM9cOFvHcCIhw=", "KAy8rGm4joEFsg="))
        for words in (INTERNAL_ERROR, FORBIDDEN, TIMED_OUT)
    ]

    assert examples("gateway_error")[0] in frames
    for frame in frames:
        validator("gateway_error").validate(frame)

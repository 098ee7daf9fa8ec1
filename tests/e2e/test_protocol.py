"""A conversation of the examples in docs/protocol.schema.json, with the whole stack."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.e2e_clients import (
    MODEL_LIMIT,
    SCHEMA,
    Client,
    Frame,
    client,
    running,
    script,
    validator,
)

from local.gateway.server import FORBIDDEN, INTERNAL_ERROR, TIMED_OUT, error_frame

# Different in each run: ids, counts, times, and where a text was split.
VARIES = (
    {"request_id", "session_id", "seq", "text", "created_at", "retry_at", "first_token", "total"}
    | set(SCHEMA["$defs"]["usage"]["properties"])
    | {"running"}
)
# The client's frames that are sent below at a certain place; those of other actions are sent after.
ORDERED = {
    f"client_{name}"
    for name in ("chat", "part", "continue", "stop", "resume", "history", "clear", "ping")
}
QUESTIONS = 5  # that are sent below before one exceeds the allowance


def examples(name: str) -> list[Frame]:
    found: list[Frame] = SCHEMA["$defs"][name]["examples"]
    return found


def names(group: str, choice: str) -> list[str]:
    return [each["$ref"].rpartition("/")[2] for each in SCHEMA["$defs"][group][choice]]


def shape(value: Any) -> Any:
    """The frame with each value that varies replaced by its type."""
    if isinstance(value, dict):
        return {
            name: type(each).__name__ if name in VARIES else shape(each)
            for name, each in value.items()
        }
    return [shape(each) for each in value] if isinstance(value, list) else value


def until(one: Client, **members: Any) -> Iterator[Frame]:
    """Frames up to the one that has these fields."""
    while True:
        frame = one.receive()
        yield frame
        if members.items() <= frame.items():
            return


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    """All frames of a conversation in which each example of a client's frame is sent."""
    short, full = examples("client_chat")
    (continue_answer,), (stop,) = examples("client_continue"), examples("client_stop")
    (resume,), (history,) = examples("client_resume"), examples("client_history")
    (clear,), (ping,) = examples("client_clear"), examples("client_ping")
    received: list[Frame] = []
    log = tmp_path_factory.mktemp("protocol") / "log"
    stack = running(log, SHOW_REASONING="true", REQUESTS_PER_DAY=str(QUESTIONS))
    with stack as (url, _):
        with client(url) as one:
            received += one.say(full)
            received += one.say(full)  # a duplicate
            one.send(resume)
            received += until(one, type="done")
            received += one.say(history)
            received += one.say(clear)
            one.send(ping)
            received.append(one.receive())
            first, second = examples("client_part")
            one.send(first)
            received += one.say(second)
        with client(url, session_id="shared") as one, client(url, session_id="shared") as other:
            order = script(chunks=MODEL_LIMIT, rate=10, reasoning=2)  # until it is stopped
            one.send({"body": order, "request_id": full["request_id"]})
            received += until(one, type="delta")
            received += other.say(history)
            other.send(stop)
            received += until(one, type="done")
            received += one.say(continue_answer)
        with client(url, "seed") as one:
            one.send({"body": short["body"], "request_id": full["request_id"]})
            received += until(one, status="completed")
        with client(url) as one:
            received += one.say(short)  # exceeds the allowance
            for name in sorted(set(names("client", "anyOf")) - ORDERED):
                for example in examples(name):
                    received += one.say(example)
    return received


@pytest.mark.parametrize(
    ("name", "example"),
    [
        pytest.param(name, example, id=f"{name}-{at}")
        for name in [*names("server", "oneOf"), "seed"]
        if name != "gateway_error"  # below
        for at, example in enumerate(SCHEMA["$defs"][name]["examples"])
    ],
)
def test_a_frame_like_the_example_was_sent(frames: list[Frame], name: str, example: Frame) -> None:
    """The stack sent it in response to the examples of the client's frames."""
    assert shape(example) in [shape(frame) for frame in frames], name


def test_the_gateways_own_errors_match_the_schema() -> None:
    """No client can cause them on purpose, so the local gateway's writer makes them here."""
    errors = [
        json.loads(error_frame(message, "L0SM9cOFvHcCIhw=", "KAy8rGm4joEFsg="))
        for message in (INTERNAL_ERROR, FORBIDDEN, TIMED_OUT)
    ]

    assert examples("gateway_error")[0] in errors
    for frame in errors:
        validator("gateway_error").validate(frame)

"""API Gateway's limits and Lambda's on the whole stack, shortened: what they do to an answer."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from support import stacks
from support.e2e_clients import Frame, client, script, text
from websockets.exceptions import ConnectionClosed

from local.gateway.limits import Limits
from local.stack import Backends

# Instead of 29. It also bounds the handshake, which takes long on a busy machine.
INTEGRATION_SECONDS = 5.0
LONG = script(chunks=12, rate=2)  # 6 s


@contextmanager
def serving(services: Backends, **options: Any) -> Iterator[str]:
    """The URL of a stack with these options."""
    with stacks.serving(services=services, **options) as (stack, _):
        yield stack.url


def test_an_answer_outlives_the_integration_timeout(services: Backends) -> None:
    """Asynchronous invocation: longer than API Gateway waits, and the client sees nothing of it."""
    limits = Limits(integration=INTEGRATION_SECONDS)
    with serving(services, limits=limits) as url, client(url) as one:
        frames = one.say(LONG)

    assert "w " * 12 == text(frames)
    assert "done" == frames[-1]["type"]


def test_a_synchronous_answer_continues_after_the_timeout_is_reported(services: Backends) -> None:
    """By proxy integration API Gateway adds its own error frame; the answer itself is unharmed."""
    limits = Limits(integration=INTEGRATION_SECONDS)
    frames: list[Frame] = []
    with (
        serving(services, limits=limits, chat_integration="proxy") as url,
        client(url) as one,
    ):
        one.send(LONG)
        while not frames or frames[-1].get("type") not in ("done", "error"):
            frames.append(one.receive())
    own = [frame for frame in frames if "type" not in frame]
    ours = [frame for frame in frames if "type" in frame]

    assert ["Endpoint request timed out"] == [frame["message"] for frame in own]
    assert "w " * 12 == text(ours)
    assert list(range(len(ours))) == [frame["seq"] for frame in ours]


def test_an_answer_survives_an_idle_disconnect(services: Backends) -> None:
    """The connection is closed as idle; what was said is there for who joins the session again."""
    limits = Limits(idle=2.0, sweep=0.1)
    session_id = secrets.token_hex(8)
    with serving(services, limits=limits) as url:
        with client(url, session_id=session_id) as one:
            one.send("hello")
            with suppress(ConnectionClosed):
                while True:
                    one.receive()
        frames = read_again(url, session_id)

    assert ["You said: hello"] == [turn["assistant"] for turn in frames[0]["turns"]]


def read_again(url: str, session_id: str) -> list[Frame]:
    """The session's history, as often as that connection is closed as idle before it is there."""
    while True:  # until pytest's own timeout
        try:
            with client(url, session_id=session_id) as one:
                frames = one.say({"action": "history"})
        except ConnectionClosed:
            continue
        if frames[0]["turns"]:
            return frames


def test_the_function_ends_before_lambda_ends_it(services: Backends) -> None:
    """The deadline guard, under a real Lambda timeout: sent, saved, and the session is usable."""
    # Five seconds of the function's 300 are for streaming.
    environment = {"DEADLINE_SECONDS": "295"}
    with (
        serving(services, environment=environment, function_timeout=300.0) as url,
        client(url) as one,
    ):
        frames = one.script(chunks=1000, rate=10)
        again = one.say("still here")

    assert "deadline" == frames[-1]["stop_reason"]
    assert 0 < len(text(frames)) < 2 * 1000
    assert "You said: still here" == text(again)

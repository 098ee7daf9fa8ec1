"""Covers src/handler.py and src/turn.py: questions, and how each answer ends."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace
from support.clocks import ShiftedClock
from support.endpoints import ConnectionsEndpoint, at
from support.functions import (
    Function,
    assert_well_formed,
    connected_function,
    failing,
    text,
)
from support.lambda_environments import PATIENCE

import turn as turn_module
from errors import ChatError
from store.table import Table


@pytest.fixture
def function(table: Table, bedrock: str, connections: ConnectionsEndpoint) -> Function:
    return connected_function(table, bedrock, connections)


# -- one turn -------------------------------------------------------------------------------------


def test_a_turn_is_start_deltas_and_done_and_is_saved(function: Function) -> None:
    """With the usage that Bedrock reported."""
    frames = function.message({"body": "my name is Zanzibar", "request_id": "r-1"})

    assert_well_formed(frames)
    assert {
        "type": "start",
        "request_id": "r-1",
        "seq": 0,
        "session_id": "s",
        "model": "global.anthropic.claude-sonnet-4-6",
    } == frames[0]
    assert "You said: my name is Zanzibar" == text(frames)
    done = frames[-1]
    assert ("done", "end_turn") == (done["type"], done["stop_reason"])
    assert done["usage"]["output_tokens"] > 0
    assert done["latency_ms"]["total"] >= done["latency_ms"]["first_token"] >= 0
    (turn,) = function.turns()
    assert (1, "r-1", "complete") == (turn.number, turn.request_id, turn.state)
    assert ("my name is Zanzibar", "You said: my name is Zanzibar") == (turn.user, turn.assistant)
    assert turn.tokens == done["usage"]["input_tokens"] + done["usage"]["output_tokens"]


def test_the_event_id_is_the_default_request_id(function: Function) -> None:
    """API Gateway's id of the event is used if the client sends none."""
    frames = function.message("hello")

    assert f"event-{function.count}" == frames[0]["request_id"]


def test_the_prompt_has_the_history_in_order(function: Function) -> None:
    """The system prompt, the earlier turns and the question."""
    function.message("one")
    function.message("two")
    body = json.loads(text(function.script(echo=True)))

    assert "You are a helpful assistant." == body["system"]
    assert ["one", "You said: one", "two", "You said: two", '/script {"echo": true}'] == [
        message["content"] for message in body["messages"]
    ]
    assert 4096 == body["max_tokens"]


def test_the_model_settings_are_in_the_request_to_bedrock(function: Function) -> None:
    function.change(
        system_prompt="Rhyme.",
        max_output_tokens=77,
        temperature=0.5,
        top_p=0.9,
        stop_sequences=("END",),
    )
    body = json.loads(text(function.script(echo=True)))

    assert ("Rhyme.", 77, 0.5, 0.9, ["END"]) == tuple(
        body[name] for name in ("system", "max_tokens", "temperature", "top_p", "stop_sequences")
    )


def test_the_history_in_the_prompt_is_bounded(function: Function) -> None:
    """It has the newest turns, up to the turns and tokens of the settings."""
    for word in ("one", "two", "three"):
        function.message(word)
    function.change(history_turns=1)
    assert "three" in (echo := text(function.script(echo=True)))
    assert "two" not in echo
    function.change(history_turns=50, history_tokens=0)
    assert 1 == len(json.loads(text(function.script(echo=True)))["messages"])


def test_a_base64_body_is_decoded(function: Function) -> None:
    """The event of the asynchronous integration has the message in base64."""
    body = base64.b64encode("é 🙂".encode()).decode()
    function.send("MESSAGE", body=body, isBase64Encoded=True)

    assert "You said: é 🙂" == text([json.loads(frame) for frame in function.endpoint.frames])


def test_reasoning_is_sent_only_if_enabled_and_never_saved(function: Function) -> None:
    hidden = function.script(chunks=1, text="a", reasoning=2)
    function.change(show_reasoning=True)
    shown = function.script(chunks=1, text="a", reasoning=2)

    assert {"start", "delta", "done"} == {frame["type"] for frame in hidden}
    assert {"start", "reasoning", "delta", "done"} == {frame["type"] for frame in shown}
    assert ["a", "a"] == [turn.assistant for turn in function.turns()]


def test_deltas_that_arrive_during_a_post_are_one_frame(function: Function) -> None:
    """All that was read while `start` was posted."""
    reading = function.reading()
    function.endpoint.on_post = at(0, reading.wait_for_end)
    frames = function.script(chunks=200, text="ab ")

    assert_well_formed(frames)
    assert ["start", "delta", "done"] == [frame["type"] for frame in frames]
    assert "ab " * 200 == text(frames)


def test_two_connections_have_separate_conversations(function: Function) -> None:
    """Although one environment serves both."""
    function.connect("one=")
    function.connect("two=")
    secret = function.message("the code is Zanzibar", "one=")
    echo = function.message('/script {"echo": true}', "two=")

    assert "Zanzibar" not in text(echo)
    assert secret[0]["session_id"] != echo[0]["session_id"]
    assert "Zanzibar" in text(function.message('/script {"echo": true}', "one="))


def test_a_session_of_another_principal_is_unauthorized(function: Function) -> None:
    """For chat, history and clear, whether the connection or the request names the session."""
    function.connect("mine=", principal="me", session_id="private")
    function.connect("yours=", principal="you", session_id="private")
    function.connect("other=", principal="you")
    function.message("Zanzibar", "mine=")

    for connection_id in ("yours=", "other="):
        for action in ("chat", "history", "clear"):
            request = {"action": action, "body": '/script {"echo": true}', "session_id": "private"}
            (frame,) = function.message(request, connection_id)
            assert ("error", "unauthorized") == (frame["type"], frame["code"])
    assert 1 == len(function.app.sessions.history("private", "me", 5)[0])


@pytest.mark.parametrize(
    "fault",
    [
        {"before": "ThrottlingException"},
        {"before": "AccessDeniedException"},
        {"at": 0, "type": "cut"},
        {"at": 5, "type": "modelStreamErrorException"},
        {"at": 5, "type": "cut"},
        {"at": 5, "type": "truncate"},
        {"at": 5, "type": "bad_crc"},
    ],
    ids=str,
)
def test_a_failure_of_bedrock_ends_in_one_error(function: Function, fault: dict[str, Any]) -> None:
    """The partial answer is saved with its state, and the next turn succeeds."""
    frames = function.script(chunks=9, text="ab", fault=fault)

    assert_well_formed(frames)
    assert "error" == frames[-1]["type"]
    partial = "ab" * fault.get("at", 0)
    assert partial == text(frames)
    assert [(partial, "error")] == [(turn.assistant, turn.state) for turn in function.turns()]
    assert "You said: still here" == text(function.message("still here"))
    roles = [m["role"] for m in json.loads(text(function.script(echo=True)))["messages"]]
    assert roles == [("user", "assistant")[n % 2] for n in range(len(roles))]


def test_an_answer_ends_before_lambdas_timeout(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The partial answer is saved, and the client receives the stop reason."""
    clock = ShiftedClock(monkeypatch)
    function.change(deadline_seconds=20.0)  # of 60
    function.endpoint.on_post = at(2, lambda: clock.advance(41.0))
    frames = function.script(chunks=1000, rate=100, text="ab")

    assert_well_formed(frames)
    assert ("done", "deadline") == (frames[-1]["type"], frames[-1]["stop_reason"])
    (turn,) = function.turns()
    assert ("deadline", text(frames)) == (turn.state, turn.assistant)
    assert 0 < len(turn.assistant) < 2 * 1000


def test_slow_posts_do_not_prevent_the_save_or_the_terminal_frame(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the deadline the received answer is saved completely; deltas may remain unposted."""
    clock, reading = ShiftedClock(monkeypatch), function.reading()
    function.context.remaining_ms = 7_000
    function.change(deadline_seconds=3.0)

    def one_second(number: int) -> None:
        """Five such posts of at most 31 KB, and the last deltas are dropped."""
        if number == 0:
            reading.wait_for_end()
        clock.advance(1.0)

    function.endpoint.on_post = one_second
    frames = function.script(chunks=60, text="ab" * 2_000)

    assert_well_formed(frames)
    assert ("done", "deadline") == (frames[-1]["type"], frames[-1]["stop_reason"])
    (turn,) = function.turns()
    assert ("deadline", "ab" * 120_000) == (turn.state, turn.assistant)
    assert len(text(frames)) < 240_000


def test_the_tokens_of_an_interrupted_answer_are_estimated(function: Function) -> None:
    """Bedrock reports no usage then, but the budget must count it."""
    function.script(chunks=90, text="x" * 100, fault={"at": 80, "type": "cut"})

    (turn,) = function.turns()
    assert turn.tokens > 2000


def test_an_answer_that_ended_is_complete_although_the_client_is_gone(function: Function) -> None:
    """Its end had been read when the client was found to be gone."""
    function.change(on_disconnect="cancel")
    function.endpoint.on_post = at(0, function.reading().wait_for_end)
    function.endpoint.answers = [200, 410]
    function.script(chunks=3, text="ab")

    assert [("complete", "ababab")] == [(t.state, t.assistant) for t in function.turns()]


def test_a_deadline_before_the_first_delta_is_an_error(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not an empty answer."""
    clock = ShiftedClock(monkeypatch)
    function.change(deadline_seconds=58.0)
    function.endpoint.on_post = at(0, lambda: clock.advance(3.0))
    frames = function.script(chunks=9, fault={"at": 0, "type": "stall"})

    assert_well_formed(frames)
    assert ("error", "deadline") == (frames[-1]["type"], frames[-1]["code"])
    assert [("deadline", "")] == [(turn.state, turn.assistant) for turn in function.turns()]


def test_without_time_to_answer_bedrock_is_not_called(function: Function) -> None:
    """The session is available for the next request."""
    function.context.remaining_ms = 5_000
    (frame,) = function.message({"body": "hi", "request_id": "r"})
    function.context.remaining_ms = 60_000

    assert ("error", "deadline") == (frame["type"], frame["code"])
    assert () == function.turns()
    assert "You said: hi" == text(function.message({"body": "hi", "request_id": "r2"}))


class CachingClient:
    """A Bedrock client that records the request and streams an answer with cached tokens."""

    body: Any = None

    def invoke_model_with_response_stream(self, **request: Any) -> Any:
        self.body = json.loads(request["body"])
        return {"body": self}

    def __iter__(self) -> Iterator[Any]:
        usage = {"input_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 3}
        for chunk in (
            {"type": "message_start", "message": {"usage": usage}},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hi"}},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"output_tokens": 2},
            },
        ):
            yield {"chunk": {"bytes": json.dumps(chunk).encode()}}

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("prompt_cache", "points"), [(False, 0), (True, 2)])
def test_prompt_cache_adds_cache_points_and_reports_cached_tokens(
    function: Function, prompt_cache: bool, points: int
) -> None:
    """Cache points in Claude's prompt, cached tokens in `done`."""
    function.script(chunks=1, text="a history")
    bedrock: Any = CachingClient()
    function.app = replace(function.app, model=replace(function.app.model, client=bedrock))
    function.change(prompt_cache=prompt_cache)

    usage = function.message("hi")[-1]["usage"]

    assert points == json.dumps(bedrock.body).count("cache_control")
    assert {
        "input_tokens": 5,
        "output_tokens": 2,
        "cache_read_tokens": 7,
        "cache_write_tokens": 3,
    } == usage


def test_the_reading_thread_ends_with_the_turn(function: Function) -> None:
    """Otherwise it would continue when Lambda resumes the frozen environment."""
    before = set(threading.enumerate())
    function.message("hi")
    for thread in set(threading.enumerate()) - before:
        if thread.name == "bedrock":
            thread.join(PATIENCE)
            assert not thread.is_alive()


# -- a client that is gone ------------------------------------------------------------------------


def test_after_a_disconnect_the_answer_is_finished(function: Function) -> None:
    """Where ON_DISCONNECT is `finish`."""
    function.change(on_disconnect="finish")
    function.endpoint.answers = [200, 410]
    function.script(chunks=40, rate=400, text="ab")

    assert [("complete", "ab" * 40)] == [(t.state, t.assistant) for t in function.turns()]
    assert 1 == len(function.endpoint.frames)
    assert "You said: back" == text(function.message("back"))


def test_after_a_disconnect_the_answer_is_cancelled(function: Function) -> None:
    """Where ON_DISCONNECT is `cancel`; it is saved as far as it was received."""
    function.change(on_disconnect="cancel")
    function.endpoint.answers = [200, 410]
    function.script(chunks=10_000, rate=100, text="ab")

    (turn,) = function.turns()
    assert "disconnected" == turn.state
    assert 0 < len(turn.assistant) < 2 * 10_000
    assert 1 == len(function.endpoint.frames)
    assert "You said: back" == text(function.message("back"))


# -- failures of the store and of the code --------------------------------------------------------


@pytest.mark.parametrize("operation", ["get", "transact", "last"])
def test_a_store_failure_before_the_model_is_one_error(
    function: Function, table: Table, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """The session is available once the store is."""
    with failing(table, operation, monkeypatch):
        frames = function.message("hi")

    assert_well_formed(frames)
    assert ("error", "internal", True) == (
        frames[-1]["type"],
        frames[-1]["code"],
        frames[-1]["retryable"],
    )
    assert "You said: again" == text(function.message("again"))


def test_a_store_failure_at_a_resume_does_not_end_the_request(
    function: Function, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error frame has another request id, and the resume can be repeated."""
    answer = function.message({"body": "hi", "request_id": "r"})
    resume = {"action": "resume", "request_id": "r"}
    for operation in ("get", "put_new", "update"):
        with failing(table, operation, monkeypatch):
            (frame,) = function.message(resume)
        assert ("error", "internal", True) == (frame["type"], frame["code"], frame["retryable"])
        assert "r" != frame["request_id"]

    assert answer == function.message(resume)


def test_a_failed_save_is_retried_and_then_an_error(
    function: Function,
    table: Table,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A turn that cannot be saved is counted, with its usage and its failure."""
    original: Callable[..., Any] = table.transact
    calls: list[int] = []

    def first_only(*writes: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            return original(*writes)
        raise ChatError("throttled", "The conversation store is busy.", cause="test")

    with monkeypatch.context() as patch:
        ShiftedClock(patch)
        patch.setattr(table, "transact", first_only)
        capsys.readouterr()
        frames = function.message("hi")

    assert_well_formed(frames)
    assert ("error", "throttled") == (frames[-1]["type"], frames[-1]["code"])
    assert len(calls) > 3
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert ("turn", "unfinished", "throttled", 1, 1) == tuple(
        line[name] for name in ("event", "state", "Code", "Turns", "Failures")
    )
    assert line["OutputTokens"] > 0  # it was billed


def test_an_unexpected_exception_is_internal_and_logged_by_place(
    function: Function, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log has its type and line, but no content of the request."""
    monkeypatch.setattr(turn_module, "window", lambda *_: 1 / 0)
    frames = function.message("Zanzibar")
    logged = capsys.readouterr().out

    assert_well_formed(frames)
    assert "internal" == frames[-1]["code"]
    assert "ZeroDivisionError at test_handler_turns.py:" in logged
    assert "Zanzibar" not in logged

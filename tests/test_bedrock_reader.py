"""Covers the reading thread of src/bedrock_stream.py, with a client that a test scripts.

After a client has hung up, the model is not called again, and what is under way is not read on:
each call is billed.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import pytest
from botocore.exceptions import ClientError

import bedrock_stream
from bedrock_stream import Model, RetryNotice, StreamItem
from errors import ChatError
from families.registry import family_of
from families.types import Message, Prompt, Stopped, TextDelta

MODEL_ID = "global.anthropic.claude-sonnet-4-6"
PROMPT = Prompt(system="", messages=(Message("user", "q"),), max_tokens=10)
THROTTLED = ClientError(
    {"Error": {"Code": "ThrottlingException", "Message": "Too many."}, "ResponseMetadata": {}},  # type: ignore[typeddict-item]
    "InvokeModelWithResponseStream",
)


def chunk(text: str) -> dict[str, Any]:
    """A chunk with this text, with half a surrogate pair as it is in the model's JSON."""
    delta = {"type": "text_delta", "text": text}
    content = {"type": "content_block_delta", "index": 0, "delta": delta}
    return {"chunk": {"bytes": json.dumps(content).encode()}}


END = {
    "chunk": {
        "bytes": json.dumps(
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}
        ).encode()
    }
}


@dataclass
class Stream:
    """A response's body: its messages, each read when it is asked for."""

    messages: Iterator[Any]
    closed: bool = False
    read: int = 0

    def __iter__(self) -> Iterator[Any]:
        for message in self.messages:
            self.read += 1
            yield message

    def close(self) -> None:
        self.closed = True


@dataclass
class Reader:
    """The reader, called in this thread: `answers` are what the calls return or raise, in order."""

    answers: list[Sequence[Any] | Exception]
    on_call: Callable[[], None] = lambda: None
    cancellation: bedrock_stream._Cancellation = field(default_factory=bedrock_stream._Cancellation)
    calls: int = 0
    streams: list[Stream] = field(default_factory=list)

    def invoke_model_with_response_stream(self, **_: Any) -> dict[str, Any]:
        self.calls += 1
        self.on_call()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        self.streams.append(Stream(iter(answer)))
        return {"body": self.streams[-1]}

    def run(self, retry_seconds: float = 60) -> list[StreamItem | ChatError]:
        client: Any = self
        model = Model(client, MODEL_ID, family_of(MODEL_ID), retry_seconds=retry_seconds)
        queue: SimpleQueue[StreamItem | ChatError] = SimpleQueue()
        bedrock_stream._read(model, PROMPT, time.monotonic() + 60, queue, self.cancellation)
        return [queue.get() for _ in range(queue.qsize())]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda *_: 0.0)


def test_a_reader_that_is_cancelled_before_its_call_does_not_call() -> None:
    """The client hung up while the thread started."""
    reader = Reader([[chunk("a"), END]])
    reader.cancellation.set()

    reader.run()

    assert 0 == reader.calls


def test_what_is_answered_after_the_cancellation_is_closed_unread() -> None:
    """The client hung up while the call was in flight."""
    reader = Reader([[chunk("a"), END]])
    reader.on_call = reader.cancellation.set

    reader.run()

    assert (1, 0, True) == (reader.calls, reader.streams[0].read, reader.streams[0].closed)


def test_nothing_is_read_after_a_cancellation_in_mid_answer() -> None:
    """And what was read then is not passed on."""
    reader = Reader([])

    def messages() -> Iterator[Any]:
        yield chunk("a")
        reader.cancellation.set()
        yield chunk("b")
        yield chunk("c")

    reader.answers = [messages()]  # type: ignore[list-item]

    assert [TextDelta("a")] == reader.run()
    assert (2, True) == (reader.streams[0].read, reader.streams[0].closed)


def test_a_cancelled_call_that_fails_is_not_repeated() -> None:
    """Neither is a retry announced."""
    reader = Reader([THROTTLED, [chunk("a"), END]])
    reader.on_call = reader.cancellation.set

    assert [] == reader.run()
    assert 1 == reader.calls


def test_a_cancellation_in_the_pause_before_a_retry_ends_the_reader(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pause ends at once, and the model is not called again."""
    reader = Reader([THROTTLED, [chunk("a"), END]])

    def hang_up(seconds: float) -> bool:
        assert seconds == 0.0
        return True

    monkeypatch.setattr(reader.cancellation, "wait", hang_up)

    assert [RetryNotice()] == reader.run()
    assert 1 == reader.calls


def test_a_retry_that_would_begin_too_late_is_the_failure() -> None:
    """After `retry_seconds`; until then each call is announced."""
    reader = Reader([THROTTLED])

    (failure,) = reader.run(retry_seconds=-1)

    assert isinstance(failure, ChatError)
    assert "throttled" == failure.code
    assert 1 == reader.calls


def test_a_retry_in_time_is_announced_and_made() -> None:
    reader = Reader([THROTTLED, THROTTLED, [chunk("a"), END]])

    items = reader.run()

    assert [RetryNotice(), RetryNotice(), TextDelta("a"), Stopped("end_turn")] == items
    assert 3 == reader.calls


def test_half_an_emoji_costs_nothing_of_the_answer() -> None:
    """Its halves come in two chunks; a lone half is replaced."""
    halves = [chunk("a\ud83d"), chunk("\ude42b"), chunk("\ud83d"), chunk("c"), END]

    *deltas, stopped = Reader([halves]).run()

    text = "".join(each.text for each in deltas if isinstance(each, TextDelta))
    assert "a🙂b\ufffdc" == text
    assert Stopped("end_turn") == stopped


@pytest.mark.parametrize(
    "message",
    [{"chunk": {"bytes": b"[1]"}}, {"chunk": {"bytes": b"null"}}, {"newEvent": {"a": 1}}, {}],
)
def test_a_message_of_another_kind_is_ignored(message: dict[str, Any]) -> None:
    items = Reader([[chunk("a"), message, chunk("b"), END]]).run()

    assert [TextDelta("a"), TextDelta("b"), Stopped("end_turn")] == items


def test_a_failure_that_comes_as_an_event_is_a_failure() -> None:
    """As botocore returns an exception that was sent as an event message."""
    fault = {"modelStreamErrorException": {"message": "broken"}}

    *_, failure = Reader([[chunk("a"), fault, chunk("b"), END]]).run()

    assert isinstance(failure, ChatError)
    assert "model_error" == failure.code

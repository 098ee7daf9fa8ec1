import itertools
import json
import random
import threading
import time
from collections.abc import Iterable, Iterator
from queue import SimpleQueue
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from support.aws_clients import bedrock_at
from support.clocks import ShiftedClock
from support.closed_port import closed_port
from support.lambda_environments import PATIENCE
from support.reading import Reading

import bedrock_errors
import bedrock_stream
from bedrock_stream import Model, RetryNotice, StreamItem, client_config, open_stream
from errors import CODES, ChatError
from families.registry import family_of
from families.types import Message, ModelEvent, Prompt, ReasoningDelta, Stopped, TextDelta, Usage

MODELS = {
    "claude": "global.anthropic.claude-sonnet-4-6",
    "nova": "us.amazon.nova-lite-v1:0",
    "titan": "amazon.titan-text-express-v1",
    "llama2": "meta.llama2-13b-chat-v1",
    "llama3": "meta.llama3-8b-instruct-v1:0",
    "llama4": "us.meta.llama4-scout-17b-instruct-v1:0",
    "mistral-text": "mistral.mistral-7b-instruct-v0:2",
    "mistral-chat": "mistral.mistral-large-2407-v1:0",
    "command-r": "cohere.command-r-v1:0",
    "jamba": "ai21.jamba-1-5-mini-v1:0",
    "deepseek-r1": "us.deepseek.r1-v1:0",
    "openai-chat": "openai.gpt-oss-120b-1:0",
    "palmyra": "us.writer.palmyra-x5-v1:0",
}
REASONING_FAMILIES = {"claude", "nova", "deepseek-r1", "openai-chat"}


def model_at(url: str, family: str = "claude", stall_seconds: float = 5.0) -> Model:
    client = bedrock_at(url, stall_seconds)
    return Model(client, MODELS[family], family_of(MODELS[family]))


def paused_at(url: str) -> tuple[Model, Reading]:
    """A model whose answers are read as far as a test says."""
    model = model_at(url)
    reading = Reading(model.client)
    reading.pause()
    client: Any = reading
    return replace(model, client=client), reading


def user_prompt(text: str) -> Prompt:
    return Prompt(system="Be kind.", messages=(Message("user", text),), max_tokens=4096)


def script(**order: Any) -> Prompt:
    return user_prompt("/script " + json.dumps(order))


def read(model: Model, prompt: Prompt, seconds: float = 30) -> list[list[StreamItem]]:
    with open_stream(model, prompt, time.monotonic() + seconds, 1) as batches:
        return list(batches)


def read_all(model: Model, prompt: Prompt) -> list[StreamItem]:
    return [event for batch in read(model, prompt) for event in batch]


def readers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "bedrock"}


def text(events: Iterable[StreamItem]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize("family", MODELS)
def test_a_stream_gives_the_text_the_usage_and_one_stop_reason(bedrock: str, family: str) -> None:
    """From the real binary stream: the text in order, the stop reason last."""
    events = read_all(model_at(bedrock, family), script(chunks=30, text="é🙂 "))

    assert "é🙂 " * 30 == text(events)
    assert Stopped("end_turn") == events[-1]
    assert 1 == sum(isinstance(event, Stopped) for event in events)
    usage = Usage()
    for event in events:
        if isinstance(event, Usage):
            usage = usage.updated(event)
    assert 30 == usage.output_tokens
    assert (usage.input_tokens or 0) > 0


@pytest.mark.parametrize("family", MODELS)
def test_reasoning_is_separate_from_the_answer(bedrock: str, family: str) -> None:
    """Unknown events are ignored."""
    events = read_all(
        model_at(bedrock, family), script(chunks=3, text="a", reasoning=2, unknown=True)
    )

    assert "aaa" == text(events)
    reasoning = [event.text for event in events if isinstance(event, ReasoningDelta)]
    assert (family in REASONING_FAMILIES) == bool("".join(reasoning).strip())
    assert "<" not in "".join(reasoning)


@pytest.mark.parametrize("family", MODELS)
def test_an_end_without_the_terminal_chunk_is_an_error(bedrock: str, family: str) -> None:
    """A stream that ends cleanly but without its family's last chunk is no short answer."""
    order = script(chunks=9, text="ab", fault={"at": 5, "type": "truncate"})
    with pytest.raises(ChatError) as failed:
        read(model_at(bedrock, family), order)

    assert ("model_error", "no terminal chunk") == (failed.value.code, failed.value.cause)


def test_reading_does_not_wait_for_the_consumer(bedrock: str) -> None:
    """Everything that arrives between two iterations is in the next batch."""
    model, reading = paused_at(bedrock)
    with open_stream(model, script(chunks=200), time.monotonic() + PATIENCE, PATIENCE) as batches:
        reading.allow(1)
        first = next(batches)
        reading.resume()
        reading.wait_for_end()
        second = next(batches)

    assert "w " == text(first)
    assert "w " * 200 == text(first + second)
    assert isinstance(second[-1], Stopped)


def test_deltas_are_returned_while_the_stream_runs(bedrock: str) -> None:
    """Each before the next one arrives."""
    model, reading = paused_at(bedrock)
    with open_stream(model, script(chunks=4), time.monotonic() + PATIENCE, PATIENCE) as batches:
        for _ in range(3):
            reading.allow(1)
            assert "w " == text(next(batches))
        reading.resume()
        rest = [event for batch in batches for event in batch]

    assert ("w ", Stopped("end_turn")) == (text(rest), rest[-1])


@pytest.mark.parametrize(
    ("fault", "code", "retryable"),
    [
        ("AccessDeniedException", "model_unavailable", False),
        ("ResourceNotFoundException", "model_unavailable", False),
        ("ThrottlingException", "throttled", True),
        ("ServiceQuotaExceededException", "throttled", False),
        ("ModelTimeoutException", "model_error", True),
        ("InternalServerException", "model_error", True),
        ("ServiceUnavailableException", "model_unavailable", True),
        ("ModelStreamErrorException", "model_error", True),
        ("ModelErrorException", "model_error", True),
        ("ModelNotReadyException", "model_unavailable", True),
        ("ValidationException", "model_error", False),
        ("ExpiredTokenException", "model_unavailable", False),
        ("UnrecognizedClientException", "model_unavailable", False),
    ],
)
def test_each_exception_before_the_stream_is_one_documented_error(
    bedrock: str, fault: str, code: str, retryable: bool
) -> None:
    """After one call, and without Bedrock's message."""
    message = "arn:aws:bedrock:us-east-1:123456789012:secret is invalid"
    with pytest.raises(ChatError) as failed:
        read(model_at(bedrock), script(fault={"before": fault, "message": message}))

    assert (code, retryable) == (failed.value.code, failed.value.retryable)
    assert "arn:" not in failed.value.message + failed.value.cause
    assert f"bedrock {fault}" == failed.value.cause


@pytest.mark.parametrize(
    ("fault", "code", "retryable"),
    [
        ({"type": "throttlingException"}, "throttled", True),
        ({"type": "modelStreamErrorException"}, "model_error", True),
        ({"type": "internalServerException"}, "model_error", True),
        ({"type": "validationException"}, "model_error", False),
        ({"type": "modelTimeoutException"}, "model_error", True),
        ({"type": "serviceUnavailableException"}, "model_unavailable", True),
        ({"type": "throttlingException", "event": True}, "throttled", True),
        ({"type": "validationException", "event": True}, "model_error", False),
        ({"type": "error"}, "model_error", True),
        ({"type": "cut"}, "model_error", True),
        ({"type": "truncate"}, "model_error", True),
        ({"type": "bad_crc"}, "model_error", True),
        ({"type": "stall"}, "model_error", True),
    ],
    ids=str,
)
@pytest.mark.parametrize("at", [0, 5])
def test_a_failure_within_the_stream_is_one_error_after_the_text(
    bedrock: str, fault: dict[str, Any], code: str, retryable: bool, at: int
) -> None:
    """All events that arrived before it are returned."""
    received: list[StreamItem] = []
    order = script(chunks=9, text="ab", fault={"at": at, **fault})
    model = model_at(bedrock, stall_seconds=1.0 if fault["type"] == "stall" else 5.0)
    deadline = time.monotonic() + 30
    with open_stream(model, order, deadline, 1) as batches, pytest.raises(ChatError) as failed:
        received.extend(event for batch in batches for event in batch)

    assert (code, retryable) == (failed.value.code, failed.value.retryable)
    assert "ab" * at == text(received)
    assert not any(isinstance(event, Stopped) for event in received)


def test_an_unreachable_endpoint_is_model_unavailable() -> None:
    with closed_port() as port, pytest.raises(ChatError) as failed:
        read(model_at(f"http://127.0.0.1:{port}"), user_prompt("hi"))

    assert "model_unavailable" == failed.value.code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NoCredentialsError(), "model_unavailable"),
        (ClientError({}, "InvokeModelWithResponseStream"), "model_error"),
        (json.JSONDecodeError("bad", "{", 0), "model_error"),
        (MemoryError(), "internal"),
    ],
)
def test_any_exception_of_the_reader_is_one_error(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: str
) -> None:
    """Exceptions of the reading thread are raised in the consumer."""

    def fail(*_: object) -> Iterator[ModelEvent]:
        raise error

    monkeypatch.setattr(bedrock_stream, "_events", fail)
    with pytest.raises(ChatError) as failed:
        read(model_at("http://unused"), user_prompt("hi"))
    assert code == failed.value.code


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Input is too long for requested model.", "context_too_long"),
        ("prompt is too long: 210000 tokens > 200000 maximum", "context_too_long"),
        ("too many input tokens", "context_too_long"),
        (
            "Invocation of model ID x with on-demand throughput is unsupported.",
            "model_unavailable",
        ),
        ("The provided model identifier is invalid.", "model_unavailable"),
        ("Malformed input request", "model_error"),
        ("", "model_error"),
    ],
)
def test_a_validation_error_has_the_code_of_its_message(message: str, code: str) -> None:
    """ValidationException has several causes, which only its message distinguishes."""
    assert code == bedrock_errors._spec_of("ValidationException", message).code


def test_every_failure_has_a_code_of_the_protocol() -> None:
    rows = [
        *bedrock_errors._FAULTS.values(),
        *(row for _, row in bedrock_errors._VALIDATION),
        *(row for _, row in bedrock_errors._BREAKS),
    ]

    assert {row.code for row in rows} <= set(CODES)


def test_a_stream_ends_at_the_deadline_with_what_arrived(
    bedrock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing arrives then: the model is slower than that."""
    clock = ShiftedClock(monkeypatch)
    order = script(chunks=1000, rate=1)
    with open_stream(model_at(bedrock), order, time.monotonic() + 60, 60) as batches:
        first = next(batches)
        clock.advance(60)
        second = list(batches)

    assert [[Stopped("deadline")]] == second
    assert text(first) in ("", "w ")


def test_a_deadline_between_two_iterations_loses_no_text(
    bedrock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a long post passes the deadline, what had arrived by then is returned before the end."""
    clock = ShiftedClock(monkeypatch)
    model, reading = paused_at(bedrock)
    with open_stream(model, script(chunks=1000), time.monotonic() + 60, 60) as batches:
        reading.allow(1)
        first = next(batches)
        reading.allow(9)
        clock.advance(60)
        second = list(batches)
        reading.resume()

    assert "w " == text(first)
    assert [[*[TextDelta("w ")] * 9, Stopped("deadline")]] == second


def test_an_answer_that_ended_by_the_deadline_is_complete(
    bedrock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if it is read after the deadline."""
    clock = ShiftedClock(monkeypatch)
    model, reading = paused_at(bedrock)
    with open_stream(model, script(chunks=50), time.monotonic() + 60, 60) as batches:
        reading.allow(1)
        first = next(batches)
        reading.resume()
        reading.wait_for_end()
        clock.advance(60)
        second = list(batches)

    everything = first + [event for batch in second for event in batch]
    assert ("w " * 50, Stopped("end_turn")) == (text(everything), everything[-1])


def test_a_silent_model_ends_at_the_deadline(bedrock: str) -> None:
    """The deadline does not depend on events."""
    order = script(chunks=9, fault={"at": 0, "type": "stall"})

    batches = read(model_at(bedrock), order, 0.3)

    assert [Stopped("deadline")] == batches[-1]


def test_leaving_the_context_ends_the_reader(bedrock: str) -> None:
    """And with it Bedrock's stream."""
    before = readers()
    order = script(chunks=10_000, rate=200)
    with open_stream(model_at(bedrock), order, time.monotonic() + 60, 1) as batches:
        next(batches)
        (reader,) = readers() - before

    reader.join(PATIENCE)
    assert not reader.is_alive()


def test_an_answer_ends_at_the_size_that_can_be_saved(
    bedrock: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All text that is sent is also saved."""
    monkeypatch.setattr(bedrock_stream, "MAX_ANSWER_BYTES", 1000)

    events = read_all(model_at(bedrock), script(chunks=200, text="é" * 10))

    assert Stopped("max_tokens") == events[-1]
    assert 1000 == len(text(events).encode())


class BrokenClient:
    """A Bedrock client whose stream has these chunks and then fails."""

    def __init__(self, *chunks: object) -> None:
        self.chunks = chunks

    def invoke_model_with_response_stream(self, **_: object) -> Any:
        return {"body": self}

    def __iter__(self) -> Iterator[Any]:
        for chunk in self.chunks:
            yield {"chunk": {"bytes": json.dumps(chunk).encode()}}
        raise ConnectionError

    def close(self) -> None:
        pass


def delta(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}


def test_a_failure_after_the_stop_reason_is_only_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The answer is complete, although its usage is lost."""
    stop = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    client: Any = BrokenClient(delta("hi"), "[DONE]", stop)
    events = read_all(Model(client, "m", family_of("", "claude")), user_prompt("x"))

    assert ("hi", Stopped("end_turn")) == (text(events), events[-1])
    assert "stream.failed_after_stop" in capsys.readouterr().out


@given(st.text(alphabet="a\ud83d\ude42é🙂", max_size=12), st.data())
def test_surrogate_pairs_are_joined_across_chunks(answer: str, data: st.DataObject) -> None:
    """Lone surrogates are replaced; other text is unchanged."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(answer)), max_size=5)))
    pieces = [answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    expected = answer.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    events = bedrock_stream._join_surrogates(TextDelta(p) for p in pieces if p)

    assert expected == text(list(events)) + "\ufffd" * (answer[-1:] == "\ud83d")


def test_botocore_makes_one_attempt() -> None:
    """It retries no call, since the first may have been billed."""
    config: Any = boto3.client("bedrock-runtime", config=client_config(60.0)).meta.config

    assert 1 == config.retries["total_max_attempts"]
    assert (3.0, 60.0) == (config.connect_timeout, config.read_timeout)


# -- retries --------------------------------------------------------------------------------------


ORDER_NUMBERS = itertools.count(1)


def failing(**fault: Any) -> Prompt:
    """Returns a unique order: the model counts a fault's `times` for each order."""
    return script(chunks=3, fault={**fault, "message": f"order {next(ORDER_NUMBERS)}"})


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bedrock_stream, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "fault",
    [
        {"before": "ThrottlingException"},
        {"before": "ModelNotReadyException"},
        {"before": "ServiceUnavailableException"},
        {"before": "InternalServerException"},
        {"at": 0, "type": "throttlingException"},
        {"at": 0, "type": "throttlingException", "event": True},
        {"at": 0, "type": "serviceUnavailableException"},
        {"at": 0, "type": "internalServerException"},
        {"at": 0, "type": "cut"},
    ],
    ids=str,
)
def test_a_failure_before_the_first_delta_is_retried(bedrock: str, fault: dict[str, Any]) -> None:
    """Each retry is counted by a `RetryNotice`."""
    model = replace(model_at(bedrock), retry_seconds=20.0)
    events = read_all(model, failing(**fault, times=2))

    assert "w w w " == text(events)
    assert 2 == events.count(RetryNotice())


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"before": "ValidationException"}, "model_error"),
        ({"before": "AccessDeniedException"}, "model_unavailable"),
        ({"before": "ServiceQuotaExceededException"}, "throttled"),
        ({"before": "ModelTimeoutException"}, "model_error"),
        ({"at": 1, "type": "throttlingException"}, "throttled"),
        ({"at": 1, "type": "cut"}, "model_error"),
        ({"at": 0, "type": "bad_crc"}, "model_error"),
        ({"at": 0, "type": "truncate"}, "model_error"),
    ],
    ids=str,
)
def test_a_permanent_or_billed_failure_is_not_retried(
    bedrock: str, fault: dict[str, Any], code: str
) -> None:
    """Nor is any failure after the first delta."""
    model = replace(model_at(bedrock), retry_seconds=20.0)

    with pytest.raises(ChatError) as failed:
        read_all(model, failing(**fault, times=1))
    assert code == failed.value.code


@pytest.mark.usefixtures("quick")
def test_retries_end_after_retry_seconds_or_at_the_deadline(bedrock: str) -> None:
    for seconds in (0.3, 0.0):
        model = replace(model_at(bedrock), retry_seconds=seconds)
        with pytest.raises(ChatError) as failed:
            read(model, failing(before="ThrottlingException"))
        assert "throttled" == failed.value.code

    model = replace(model_at(bedrock), retry_seconds=30.0)
    try:  # either the last attempt fails before the deadline, or the deadline comes first
        ended = read(model, failing(before="ThrottlingException"), 0.3)
    except ChatError as error:
        assert "throttled" == error.code  # noqa: PT017
    else:
        assert Stopped("deadline") == ended[-1][-1]


def test_pauses_are_random_and_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full jitter: each pause is drawn between 0 and a bound that doubles."""
    bounds: list[tuple[float, float]] = []
    failure = ChatError("throttled", "Later.")
    this_thread = threading.get_ident()

    def draw(low: float, high: float) -> float:
        if threading.get_ident() == this_thread:  # not a reader of another test that still waits
            bounds.append((low, high))
        return 0.0

    failures = [failure] * 5 + [None]
    monkeypatch.setattr(random, "uniform", draw)
    monkeypatch.setattr(bedrock_stream, "_read_once", lambda *_: failures.pop(0))
    model = replace(model_at("http://unused"), retry_seconds=1.0)
    bedrock_stream._read(
        model, user_prompt("x"), time.monotonic() + 9, SimpleQueue(), bedrock_stream._Cancellation()
    )

    assert [(0, 0.5), (0, 1.0), (0, 2.0), (0, 4.0), (0, 4.0)] == bounds


@pytest.mark.parametrize(
    "prompt",
    [
        script(chunks=9, fault={"at": 3, "type": "stall"}),
        script(chunks=9, fault={"at": 0, "type": "stall"}),
        script(chunks=1000, rate=1),
    ],
    ids=["silent", "silent from the start", "slow"],
)
def test_leaving_the_context_wakes_a_waiting_reader(bedrock: str, prompt: Prompt) -> None:
    """It waits neither for the next chunk nor for the read timeout."""
    before = readers()
    model = model_at(bedrock, stall_seconds=1.5 * PATIENCE)
    with open_stream(model, prompt, time.monotonic() + 60, 0.5) as batches:
        next(batches)
        next(batches)
        (reader,) = readers() - before
    reader.join(PATIENCE)  # less than the read timeout

    assert not reader.is_alive()


def test_a_silent_model_gives_an_empty_batch_for_each_tick(bedrock: str) -> None:
    """The consumer can do other work while it waits."""
    prompt = script(chunks=9, fault={"at": 0, "type": "stall"})
    with open_stream(model_at(bedrock), prompt, time.monotonic() + 60, 0.05) as batches:
        silent = [batch for batch, _ in zip(batches, range(5), strict=False)]

    assert [] == text_of(silent)


def text_of(batches: list[list[StreamItem]]) -> list[str]:
    return [event.text for batch in batches for event in batch if isinstance(event, TextDelta)]


def test_options_reach_the_call(bedrock: str) -> None:
    """Guardrail, service tier and latency are arguments of the call, beside the prompt."""
    sent: list[Any] = []
    model = replace(model_at(bedrock), options={"serviceTier": "flex", "guardrailIdentifier": "g"})

    def record(params: Any, **_: Any) -> None:
        sent.append(params["headers"])

    event = "before-call.bedrock-runtime.InvokeModelWithResponseStream"
    model.client.meta.events.register(event, record)
    read_all(model, user_prompt("hi"))
    model.client.meta.events.unregister(event, record)

    (headers,) = sent
    assert "flex" == headers["X-Amzn-Bedrock-Service-Tier"]
    assert "g" == headers["X-Amzn-Bedrock-GuardrailIdentifier"]

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

import bedrock_errors
import bedrock_stream
from bedrock_stream import Model, RetryNotice, StreamItem, client_config, open_stream
from errors import CODES, ChatError
from families.registry import family_of
from families.types import Event, Message, Prompt, ReasoningDelta, Stopped, TextDelta, Usage

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
THINKING = {"claude", "nova", "deepseek-r1", "openai-chat"}


def model_at(url: str, family: str = "claude", stall_seconds: float = 5.0) -> Model:
    client = boto3.client("bedrock-runtime", endpoint_url=url, config=client_config(stall_seconds))
    return Model(client, MODELS[family], family_of(MODELS[family]))


def prompt(text: str) -> Prompt:
    return Prompt(system="Be kind.", messages=(Message("user", text),), max_tokens=4096)


def script(**order: Any) -> Prompt:
    return prompt("/script " + json.dumps(order))


def read(model: Model, asked: Prompt, seconds: float = 30) -> list[list[StreamItem]]:
    with open_stream(model, asked, time.monotonic() + seconds, 1) as batches:
        return list(batches)


def read_all(model: Model, asked: Prompt) -> list[StreamItem]:
    return [event for batch in read(model, asked) for event in batch]


def readers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "bedrock"}


def text(events: Iterable[StreamItem]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize("family", MODELS)
def test_an_answer(bedrock: str, family: str) -> None:
    """The text in order, the usage, and the stop reason last, from the real binary stream."""
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
def test_reasoning_is_kept_apart(bedrock: str, family: str) -> None:
    """Reasoning is no part of the answer, and unknown events break nothing."""
    events = read_all(
        model_at(bedrock, family), script(chunks=3, text="a", reasoning=2, unknown=True)
    )

    assert "aaa" == text(events)
    thought = [event.text for event in events if isinstance(event, ReasoningDelta)]
    assert (family in THINKING) == bool("".join(thought).strip())
    assert "<" not in "".join(thought)


@pytest.mark.parametrize("family", MODELS)
def test_a_clean_early_end_is_an_error(bedrock: str, family: str) -> None:
    """A stream that just ceases, without its family's last chunk, is no short answer."""
    order = script(chunks=9, text="ab", fault={"at": 5, "type": "truncate"})
    with pytest.raises(ChatError) as failed:
        read(model_at(bedrock, family), order)

    assert ("model_error", "no terminal chunk") == (failed.value.code, failed.value.cause)


def test_reading_never_waits_for_the_reader(bedrock: str) -> None:
    """What arrives while nobody looks is there, all at once, at the next look."""
    with open_stream(
        model_at(bedrock), script(chunks=200, rate=400), time.monotonic() + 30, 1
    ) as batches:
        first = next(batches)
        time.sleep(1.5)  # the post of the first delta, three times as long as the whole answer
        second = next(batches)

    assert len(text(first)) < len("w " * 200)
    assert "w " * 200 == text(first + second)
    assert isinstance(second[-1], Stopped)


def test_deltas_come_while_the_stream_runs(bedrock: str) -> None:
    """A paced stream is given out as it arrives, not at its end."""
    batches = read(model_at(bedrock), script(chunks=30, rate=60))

    assert len([batch for batch in batches if text(batch)]) > 3


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
def test_refusals(bedrock: str, fault: str, code: str, retryable: bool) -> None:
    """Each of Bedrock's refusals is one documented error, asked once, without Bedrock's words."""
    message = "arn:aws:bedrock:us-east-1:123456789012:secret is not so"
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
def test_breaks(bedrock: str, fault: dict[str, Any], code: str, retryable: bool, at: int) -> None:
    """What breaks inside the stream is one error, after everything that had arrived."""
    said: list[StreamItem] = []
    order = script(chunks=9, text="ab", fault={"at": at, **fault})
    model = model_at(bedrock, stall_seconds=0.5 if fault["type"] == "stall" else 5.0)
    until = time.monotonic() + 30
    with open_stream(model, order, until, 1) as batches, pytest.raises(ChatError) as failed:
        said.extend(event for batch in batches for event in batch)

    assert (code, retryable) == (failed.value.code, failed.value.retryable)
    assert "ab" * at == text(said)
    assert not any(isinstance(event, Stopped) for event in said)


def test_nobody_there() -> None:
    """A Bedrock that cannot be reached is an error of its own."""
    with pytest.raises(ChatError) as failed:
        read(model_at("http://127.0.0.1:9"), prompt("hi"))

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
def test_other_failures(monkeypatch: pytest.MonkeyPatch, error: Exception, code: str) -> None:
    """Whatever else is raised is told too, and the reading thread dies of nothing."""

    def fail(*_: object) -> Iterator[Event]:
        raise error

    monkeypatch.setattr(bedrock_stream, "_events", fail)
    with pytest.raises(ChatError) as failed:
        read(model_at("http://127.0.0.1:9"), prompt("hi"))
    assert code == failed.value.code


@pytest.mark.parametrize(
    ("words", "code"),
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
def test_validation_errors_by_their_words(words: str, code: str) -> None:
    """One exception, several causes: its words tell the client what can be done."""
    assert code == bedrock_errors._spec_of("ValidationException", words).code


def test_every_fault_has_a_documented_code() -> None:
    """The tables hold only codes that the protocol has."""
    rows = [
        *bedrock_errors._FAULTS.values(),
        *(row for _, row in bedrock_errors._VALIDATION),
        *(row for _, row in bedrock_errors._BREAKS),
    ]

    assert {row.code for row in rows} <= set(CODES)


def test_deadline(bedrock: str) -> None:
    """At its time a stream is ended, with what had arrived given out before."""
    batches = read(model_at(bedrock), script(chunks=1000, rate=100), 1.5)

    assert Stopped("deadline") == batches[-1][-1]
    assert 0 < len(text([event for batch in batches for event in batch])) < 2 * 1000


def test_deadline_while_nobody_looked(bedrock: str) -> None:
    """The time was over during a long post: what had arrived is given out, and then the end."""
    order = script(chunks=1000, rate=1000)
    with open_stream(model_at(bedrock), order, time.monotonic() + 0.5, 1) as batches:
        first = next(batches)
        time.sleep(0.7)
        second = next(batches)

        assert Stopped("deadline") == second[-1]
        assert len(text(second)) > len(text(first))
        assert [] == list(batches)


def test_an_answer_that_was_whole_by_the_deadline(bedrock: str) -> None:
    """An answer that ended in time is not cut because nobody looked."""
    with open_stream(model_at(bedrock), script(chunks=50), time.monotonic() + 1, 1) as batches:
        first = next(batches)
        time.sleep(1.2)
        second = list(batches)

    everything = first + [event for batch in second for event in batch]
    assert ("w " * 50, Stopped("end_turn")) == (text(everything), everything[-1])


def test_deadline_of_a_silent_model(bedrock: str) -> None:
    """The deadline does not depend on anything arriving."""
    order = script(chunks=9, fault={"at": 0, "type": "stall"})

    batches = read(model_at(bedrock), order, 0.3)

    assert [Stopped("deadline")] == batches[-1]


def test_hanging_up(bedrock: str) -> None:
    """Who leaves the context ends the reading, and with it Bedrock's stream."""
    before = readers()
    order = script(chunks=10_000, rate=200)
    with open_stream(model_at(bedrock), order, time.monotonic() + 60, 1) as batches:
        next(batches)
        (reader,) = readers() - before

    reader.join(10)
    assert not reader.is_alive()


def test_an_answer_too_long_to_keep(bedrock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer ends where it could no longer be saved whole: all that is told is kept."""
    monkeypatch.setattr(bedrock_stream, "MAX_ANSWER_BYTES", 1000)

    events = read_all(model_at(bedrock), script(chunks=200, text="é" * 10))

    assert Stopped("max_tokens") == events[-1]
    assert 1000 == len(text(events).encode())


class Broken:
    """A model whose chunks are given; it breaks off after them."""

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


def test_a_break_after_the_stop_reason(capsys: pytest.CaptureFixture[str]) -> None:
    """An answer that had its end is whole, though its usage was lost; the log has it."""
    stop = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    broken: Any = Broken(delta("hi"), "[DONE]", stop)
    events = read_all(Model(broken, "m", family_of("", "claude")), prompt("x"))

    assert ("hi", Stopped("end_turn")) == (text(events), events[-1])
    assert "stream.failed_after_stop" in capsys.readouterr().out


@given(st.text(alphabet="a\ud83d\ude42é🙂", max_size=12), st.data())
def test_join_surrogates(said: str, data: st.DataObject) -> None:
    """Halves of a pair are joined over chunks, and lone ones replaced: the rest is untouched."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=5)))
    pieces = [said[a:b] for a, b in zip([0, *cuts], [*cuts, len(said)], strict=True)]
    whole = said.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    events = bedrock_stream._join_surrogates(TextDelta(p) for p in pieces if p)

    assert whole == text(list(events)) + "\ufffd" * (said[-1:] == "\ud83d")


def test_one_attempt_by_botocore() -> None:
    """Botocore repeats no call: the first may have been billed."""
    config: Any = boto3.client("bedrock-runtime", config=client_config(60.0)).meta.config

    assert 1 == config.retries["total_max_attempts"]
    assert (3.0, 60.0) == (config.connect_timeout, config.read_timeout)


# trying again


ORDERS = itertools.count(1)


def failing(**fault: Any) -> Prompt:
    """An order that nobody gave before: a fault's `times` are counted by the very order."""
    return script(chunks=3, fault={**fault, "message": f"order {next(ORDERS)}"})


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
def test_turned_away_and_then_answered(bedrock: str, fault: dict[str, Any]) -> None:
    """What turned the call away, or cut it before the first delta, is tried again, and counted."""
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
def test_not_tried_again(bedrock: str, fault: dict[str, Any], code: str) -> None:
    """What will not pass, what may have been answered, and all that had a first delta."""
    model = replace(model_at(bedrock), retry_seconds=20.0)

    with pytest.raises(ChatError) as failed:
        read_all(model, failing(**fault, times=1))
    assert code == failed.value.code


@pytest.mark.usefixtures("quick")
def test_trying_again_has_its_time(bedrock: str) -> None:
    """A model that never comes back is told after `retry_seconds`, and within the deadline."""
    for seconds in (0.3, 0.0):
        model = replace(model_at(bedrock), retry_seconds=seconds)
        with pytest.raises(ChatError) as failed:
            read(model, failing(before="ThrottlingException"))
        assert "throttled" == failed.value.code

    patient = replace(model_at(bedrock), retry_seconds=30.0)
    try:  # whichever comes first: the last attempt that there is time for, or the end of the time
        ended = read(patient, failing(before="ThrottlingException"), 0.3)
    except ChatError as error:
        assert "throttled" == error.code  # noqa: PT017
    else:
        assert Stopped("deadline") == ended[-1][-1]


def test_pauses_are_random_and_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full jitter: each pause is drawn from nothing up to twice the last bound."""
    bounds: list[tuple[float, float]] = []
    failure = ChatError("throttled", "Later.")
    here = threading.get_ident()

    def draw(least: float, most: float) -> float:
        if threading.get_ident() == here:  # and not a reader of another test's, which still waits
            bounds.append((least, most))
        return 0.0

    failures = [failure] * 5 + [None]
    monkeypatch.setattr(random, "uniform", draw)
    monkeypatch.setattr(bedrock_stream, "_read_once", lambda *_: failures.pop(0))
    model = replace(model_at("http://127.0.0.1:9"), retry_seconds=1.0)
    bedrock_stream._read(
        model, prompt("x"), time.monotonic() + 9, SimpleQueue(), bedrock_stream._Cancellation()
    )

    assert [(0, 0.5), (0, 1.0), (0, 2.0), (0, 4.0), (0, 4.0)] == bounds


@pytest.mark.parametrize(
    "asked",
    [
        script(chunks=9, fault={"at": 3, "type": "stall"}),
        script(chunks=9, fault={"at": 0, "type": "stall"}),
        script(chunks=1000, rate=1),
    ],
    ids=["silent", "silent from the start", "slow"],
)
def test_hanging_up_wakes_the_reader(bedrock: str, asked: Prompt) -> None:
    """It waits neither for the next chunk nor for the stall time, 60 s here."""
    before = readers()
    model = model_at(bedrock, stall_seconds=60.0)
    with open_stream(model, asked, time.monotonic() + 60, 0.5) as batches:
        next(batches)
        next(batches)
        (reader,) = readers() - before
    reader.join(5)

    assert not reader.is_alive()


def test_an_empty_batch_is_a_tick(bedrock: str) -> None:
    """Who waits for a silent model can look about meanwhile."""
    asked = script(chunks=9, fault={"at": 0, "type": "stall"})
    with open_stream(model_at(bedrock), asked, time.monotonic() + 60, 0.05) as batches:
        silent = [batch for batch, _ in zip(batches, range(5), strict=False)]

    assert [] == text_of(silent)


def text_of(batches: list[list[StreamItem]]) -> list[str]:
    return [event.text for batch in batches for event in batch if isinstance(event, TextDelta)]


def test_options_reach_the_call(bedrock: str) -> None:
    """Guardrail, service tier and latency are arguments of the call, beside the prompt."""
    asked: list[Any] = []
    model = replace(model_at(bedrock), options={"serviceTier": "flex", "guardrailIdentifier": "g"})
    model.client.meta.events.register(
        "before-call.bedrock-runtime.*", lambda params, **_: asked.append(params["headers"])
    )
    read_all(model, prompt("hi"))

    (headers,) = asked
    assert "flex" == headers["X-Amzn-Bedrock-Service-Tier"]
    assert "g" == headers["X-Amzn-Bedrock-GuardrailIdentifier"]

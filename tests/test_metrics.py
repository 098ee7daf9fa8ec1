import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from jsonschema import ValidationError
from msgspec.structs import replace
from support.emf import Datum, data

import metrics
from errors import CODES, ChatError
from families.types import TextDelta, Usage
from memory import Turn
from metrics import METRICS
from relay import Answer
from wire.events import Done, Failed, Latency, Start
from ws_sender import EventLog

MODEL = "global.anthropic.claude-sonnet-4-6"
USAGE = Usage(input_tokens=5, output_tokens=7, cache_read_tokens=11, cache_write_tokens=13)
ANSWER = Answer(
    text="hi",
    reasoning="",
    state="complete",
    usage=USAGE,
    end=Done("end_turn", USAGE, None, MODEL),
    latency_ms=Latency(first_token=300, total=900),
    wait_ms=250,
    deltas=9,
    retries=2,
)
TURN = Turn(
    number=3,
    request_id="r-1",
    user="a question",
    assistant="hi",
    state="complete",
    tokens=0,
    created_at=0,
)


class SenderStub:
    """The attributes of a sender that `metrics` reads."""

    log = EventLog([Start("s", MODEL), TextDelta("h"), TextDelta("i"), Done()])
    delivery = SimpleNamespace(posts=4, outcome="ok")


@pytest.fixture(autouse=True)
def _named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "chat")


def turn_line(
    capsys: pytest.CaptureFixture[str], answer: Answer = ANSWER, **attributes: Any
) -> str:
    sender: Any = type("Sender", (SenderStub,), attributes)
    metrics.record_turn(MODEL, TURN, answer, sender)
    return capsys.readouterr().out


def values(found: list[Datum], *dimensions: str) -> dict[str, float]:
    return {each.name: each.value for each in found if set(dimensions) == each.dimensions.keys()}


def test_a_turn_has_every_metric(capsys: pytest.CaptureFixture[str]) -> None:
    """One line in the embedded metric format, with all metrics of a turn, by model."""
    before = time.time() * 1000
    line = turn_line(capsys)
    found = data(line)

    assert {
        "Turns": 1,
        "FirstTokenLatency": 300,
        "BedrockWait": 250,
        "TurnLatency": 900,
        "InputTokens": 29,
        "OutputTokens": 7,
        "CacheReadTokens": 11,
        "CacheWriteTokens": 13,
        "Posts": 4,
        "DeltasPerPost": 4.5,
        "Retries": 2,
    } == values(found, "Model")
    assert {"Turns": 1} == values(found, "Model", "StopReason")
    assert {"chat"} == {each.namespace for each in found}
    assert {(MODEL, "end_turn"), (MODEL, None)} == {
        (each.dimensions["Model"], each.dimensions.get("StopReason")) for each in found
    }
    assert before - 1 <= json.loads(line)["_aws"]["Timestamp"] <= time.time() * 1000
    assert "_aws" == list(json.loads(line))[-1]


def test_a_failed_turn_is_counted_by_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    """It counts as a turn and as a failure; values that it lacks are no metrics."""
    failure = Failed(ChatError("model_error", "It failed.", cause="cut"))
    answer = replace(
        ANSWER, end=failure, usage=Usage(), latency_ms=Latency(total=9), wait_ms=None, retries=0
    )
    line = turn_line(capsys, answer, log=EventLog([Start("s", MODEL), failure]))
    found = data(line)

    assert {"Turns": 1, "TurnLatency": 9, "Posts": 4} == values(found, "Model")
    assert {} == values(found, "Model", "StopReason")
    assert [{"Model": MODEL, "Code": "model_error"}] == [
        each.dimensions for each in found if each.name == "Failures"
    ]
    assert ("WARN", "cut", None) == tuple(
        json.loads(line)[name] for name in ("level", "cause", "StopReason")
    )


@pytest.mark.parametrize("code", CODES)
def test_a_failed_request_is_counted_by_its_code(
    capsys: pytest.CaptureFixture[str], code: str
) -> None:
    """Any other error frame is one line and one metric; only `internal` has the level ERROR."""
    metrics.record_failure("request.failed", MODEL, ChatError(code, "A sentence."))
    line = capsys.readouterr().out

    assert [Datum("chat", "Failures", {"Model": MODEL, "Code": code}, "Count", 1)] == data(line)
    assert ("ERROR" if code == "internal" else "INFO") == json.loads(line)["level"]
    assert "A sentence." not in line


def test_each_metric_has_the_unit_of_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Names are unique."""
    units = {each.name: each.unit for each in data(turn_line(capsys))}
    metrics.record_failure("request.failed", MODEL, ChatError("busy", ""))
    units |= {each.name: each.unit for each in data(capsys.readouterr().out)}

    assert {metric.name: metric.unit for metric in METRICS} == units
    assert len(METRICS) == len(units)


def test_the_namespace_outside_lambda_is_local(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_LAMBDA_FUNCTION_NAME")

    assert {"local"} == {each.namespace for each in data(turn_line(capsys))}


@pytest.mark.parametrize(
    "broken",
    [
        {"Metrics": [{"Name": "Turns", "Unit": "Turns"}]},
        {"Metrics": [{"Name": "turns" * 100}]},
        {"Dimensions": []},
        {"Namespace": ""},
    ],
    ids=str,
)
def test_a_line_that_violates_the_format_is_rejected(
    capsys: pytest.CaptureFixture[str], broken: dict[str, Any]
) -> None:
    """The parser of these tests is as strict as CloudWatch's schema."""
    document = json.loads(turn_line(capsys))
    document["_aws"]["CloudWatchMetrics"][0].update(broken)

    with pytest.raises(ValidationError):
        data(json.dumps(document))

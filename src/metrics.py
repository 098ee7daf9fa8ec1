"""Metrics: one log line for each turn and each failure, from which CloudWatch takes its metrics.

Rules
- The line is in CloudWatch's embedded metric format: `_aws` names the fields that are metrics.
  They and their dimensions are spelled as AWS spells metrics; the other fields are not.
- `METRICS` lists all of them. The dashboard and the alarms (monitoring.tf of terraform/) and
  docs/operations.md use the same names, and the tests compare.
- A dimension has few values: each combination is a metric of its own, and is billed.
- A field that is zero or unknown is in the line, but is no metric: CloudWatch bills a metric by the
  hours in which it has a value.

Source: Amazon CloudWatch User Guide, "Specification: Embedded metric format".
"""

import os
import time
from typing import Any

from msgspec import Struct

import log
from errors import ChatError
from families.types import ReasoningDelta, TextDelta
from memory import Turn
from relay import Answer
from wire.events import Failed
from ws_sender import Sender

Dimensions = tuple[str, ...]

BY_MODEL: Dimensions = ("Model",)
BY_END: Dimensions = ("Model", "StopReason")
BY_CODE: Dimensions = ("Model", "Code")


class Metric(Struct, frozen=True):
    """One metric: a field of the line, and the sets of dimensions that it is reported by."""

    name: str
    unit: str
    meaning: str
    by: tuple[Dimensions, ...] = (BY_MODEL,)


METRICS = (
    Metric("Turns", "Count", "questions that were sent to the model", (BY_MODEL, BY_END)),
    Metric(
        "Failures",
        "Count",
        "messages that ended in an error frame, and connections that failed",
        (BY_CODE,),
    ),
    Metric(
        "FirstTokenLatency",
        "Milliseconds",
        "from the event's arrival in the function to the first text from Bedrock",
    ),
    Metric(
        "BedrockWait",
        "Milliseconds",
        "the part of it that was spent waiting for Bedrock, retries included",
    ),
    Metric(
        "TurnLatency",
        "Milliseconds",
        "from the event's arrival to the answer's end, before it is saved",
    ),
    Metric("InputTokens", "Count", "the whole prompt, including tokens from the prompt cache"),
    Metric("OutputTokens", "Count", "the answer, including reasoning"),
    Metric("CacheReadTokens", "Count", "prompt tokens read from the prompt cache"),
    Metric("CacheWriteTokens", "Count", "prompt tokens written to the prompt cache"),
    Metric("Posts", "Count", "calls to `@connections`, including failed ones"),
    Metric("DeltasPerPost", "Count", "deltas from Bedrock that were sent in one frame, on average"),
    Metric("Retries", "Count", "repeated calls to Bedrock"),
)


def record_turn(model: str, turn: Turn, answer: Answer, sender: Sender) -> None:
    """Reports a turn, however it ended."""
    failure = answer.end.error if isinstance(answer.end, Failed) else None
    frames = sum(isinstance(item, TextDelta | ReasoningDelta) for item in sender.log.events)
    _write(
        "INFO" if failure is None else _level(failure, "WARN"),
        "turn",
        turn=turn.number,
        state=turn.state,
        cause=failure and failure.cause,
        delivery=sender.delivery.outcome,
        Model=model,
        StopReason=answer.stop_reason or None,
        Code=failure and failure.code,
        Turns=1,
        Failures=int(failure is not None),
        FirstTokenLatency=answer.latency_ms.first_token,
        BedrockWait=answer.wait_ms,
        TurnLatency=answer.latency_ms.total,
        InputTokens=answer.usage.prompt_tokens,
        OutputTokens=answer.usage.output_tokens,
        CacheReadTokens=answer.usage.cache_read_tokens,
        CacheWriteTokens=answer.usage.cache_write_tokens,
        Posts=sender.delivery.posts,
        DeltasPerPost=round(answer.deltas / frames, 2) if frames else None,
        Retries=answer.retries,
    )


def record_failure(event: str, model: str, error: ChatError) -> None:
    """Reports any other failure: `event` is the log line's name."""
    level = _level(error, "INFO")
    _write(level, event, cause=error.cause, Model=model, Code=error.code, Failures=1)


def _level(error: ChatError, otherwise: str) -> str:
    return "ERROR" if error.code == "internal" else otherwise


def _write(level: str, event: str, **fields: Any) -> None:
    definitions: dict[tuple[Dimensions, ...], list[dict[str, str]]] = {}
    for metric in METRICS:
        if fields.get(metric.name):
            by = tuple(each for each in metric.by if all(fields[name] for name in each))
            definition = {"Name": metric.name, "Unit": metric.unit}
            definitions.setdefault(by, []).append(definition)
    # The namespace is the function's name, as in monitoring.tf of terraform/.
    namespace = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "local")
    directives = [
        {"Namespace": namespace, "Dimensions": by, "Metrics": each}
        for by, each in definitions.items()
    ]
    embedded = {"Timestamp": time.time_ns() // 1_000_000, "CloudWatchMetrics": directives}
    log.write(level, event, **fields, _aws=embedded)

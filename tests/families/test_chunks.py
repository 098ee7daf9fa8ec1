from typing import Any

import pytest

from families.chunks import (
    bedrock_events,
    drop_unset,
    get_count,
    get_first,
    get_object,
    get_text,
    stop_events,
    usage_events,
)
from families.types import Stopped, Usage


@pytest.mark.parametrize("value", [None, 7, True, "x", [], {}, ["x"], [7], {"a": "b"}])
def test_fields_of_an_unexpected_type_are_read_as_empty(value: Any) -> None:
    """Each reader returns its own type, or that type's empty value."""
    parent = {"name": value}

    assert (value if isinstance(value, str) else "") == get_text(parent, "name")
    assert (value if isinstance(value, dict) else {}) == get_object(parent, "name")
    assert {} == get_first(parent, "name")
    assert (7 if value == 7 else None) == get_count(parent, "name")


def test_the_first_object_of_a_list_is_read() -> None:
    """Later elements are ignored."""
    assert {"a": 1} == get_first({"name": [{"a": 1}, {"b": 2}]}, "name")


def test_counts_are_not_negative() -> None:
    """Zero is a count; a negative number is ignored."""
    assert 0 == get_count({"name": 0}, "name")
    assert get_count({"name": -1}, "name") is None


def test_unset_fields_are_dropped() -> None:
    """None and empty values are dropped; zero and False are kept."""
    assert {"a": 0.0, "b": 0, "c": False} == drop_unset(
        a=0.0, b=0, c=False, d=None, e="", f=[], g=()
    )


@pytest.mark.parametrize(
    ("reason", "ends"),
    [
        ("stop", [Stopped("end_turn")]),
        ("STOP", [Stopped("end_turn")]),
        ("brand_new", [Stopped("other")]),
        (128009, [Stopped("other")]),
        (None, []),
        ("", []),
        (False, []),
        ({}, []),
    ],
)
def test_any_text_or_number_is_a_stop_reason(reason: object, ends: list[Stopped]) -> None:
    """Known or not; null, empty values and other types are not."""
    assert ends == list(stop_events(reason))


def test_usage_is_read_under_the_familys_names() -> None:
    """Without any count there is no usage."""
    counts = {"in": 3}

    assert [Usage(input_tokens=3)] == list(
        usage_events(counts, input_tokens="in", output_tokens="out")
    )
    assert [] == list(usage_events({"in": "3"}, input_tokens="in"))


def test_bedrocks_metrics_and_guardrail_action_are_read() -> None:
    """Cached tokens included; most chunks have neither."""
    metrics = {
        "inputTokenCount": 1,
        "outputTokenCount": 2,
        "cacheReadInputTokenCount": 3,
        "cacheWriteInputTokenCount": 4,
    }

    assert [] == list(bedrock_events({"generation": "hi"}))
    assert [
        Usage(input_tokens=1, output_tokens=2, cache_read_tokens=3, cache_write_tokens=4),
        Stopped("guardrail"),
    ] == list(
        bedrock_events(
            {
                "amazon-bedrock-invocationMetrics": metrics,
                "amazon-bedrock-guardrailAction": "INTERVENED",
            }
        )
    )


def test_a_guardrails_trace_may_be_deeply_nested() -> None:
    """Its depth is not limited by recursion."""
    trace: Any = {"action": "BLOCKED"}
    for _ in range(10_000):
        trace = {"list": [trace], "action": "NONE"}

    assert [Stopped("guardrail")] == list(bedrock_events({"amazon-bedrock-trace": trace}))

from typing import Any

import pytest

from families.chunks import added_by_bedrock, child, count, drop_unset, first, stopped, text, usage
from families.types import Stopped, Usage


@pytest.mark.parametrize("odd", [None, 7, True, "x", [], {}, ["x"], [7], {"a": "b"}])
def test_what_is_of_another_type_says_nothing(odd: Any) -> None:
    """A reader gives its own type, or its empty value."""
    holder = {"name": odd}

    assert (odd if isinstance(odd, str) else "") == text(holder, "name")
    assert (odd if isinstance(odd, dict) else {}) == child(holder, "name")
    assert {} == first(holder, "name")
    assert (7 if odd == 7 else None) == count(holder, "name")


def test_first() -> None:
    """Of a list, its first object counts."""
    assert {"a": 1} == first({"name": [{"a": 1}, {"b": 2}]}, "name")


def test_counts_begin_at_zero() -> None:
    """No tokens are a count; less than none are a mistake."""
    assert 0 == count({"name": 0}, "name")
    assert count({"name": -1}, "name") is None


def test_given() -> None:
    """What is not set is left out; a zero is set."""
    assert {"a": 0.0, "b": 0, "c": False} == drop_unset(
        a=0.0, b=0, c=False, d=None, e="", f=[], g=()
    )


@pytest.mark.parametrize(
    ("word", "ends"),
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
def test_stopped(word: object, ends: list[Stopped]) -> None:
    """Any word or number is an end, known or not; null and its like are none."""
    assert ends == list(stopped(word))


def test_usage() -> None:
    """Counts go by each family's names; where there are none, nothing was said."""
    assert [Usage(input_tokens=3)] == list(usage({"in": 3}, input_tokens="in", output_tokens="out"))
    assert [] == list(usage({"in": "3"}, input_tokens="in"))


def test_what_bedrock_adds() -> None:
    """Its own counts, cached tokens included, and a guardrail's action; often nothing."""
    metrics = {
        "inputTokenCount": 1,
        "outputTokenCount": 2,
        "cacheReadInputTokenCount": 3,
        "cacheWriteInputTokenCount": 4,
    }

    assert [] == list(added_by_bedrock({"generation": "hi"}))
    assert [
        Usage(input_tokens=1, output_tokens=2, cache_read_tokens=3, cache_write_tokens=4),
        Stopped("guardrail"),
    ] == list(
        added_by_bedrock(
            {
                "amazon-bedrock-invocationMetrics": metrics,
                "amazon-bedrock-guardrailAction": "INTERVENED",
            }
        )
    )


def test_a_deep_trace() -> None:
    """A guardrail's trace may be as deep as it likes."""
    trace: Any = {"action": "BLOCKED"}
    for _ in range(10_000):
        trace = {"list": [trace], "action": "NONE"}

    assert [Stopped("guardrail")] == list(added_by_bedrock({"amazon-bedrock-trace": trace}))

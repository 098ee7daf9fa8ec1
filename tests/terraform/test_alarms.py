"""The alarms: what they watch, what they cost, and when they ring.

They are read back from the control plane, which evaluates nothing: expressions of metric math are
evaluated here, for one period. Metric math's IF and FILL are those of the CloudWatch User
Guide, "Using math expressions"; a metric without a value is one for which nothing was written.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from support.deployments import Site

from deploy import terraform
from errors import CODES
from local.deployment.deployed import client
from metrics import METRICS

pytestmark = pytest.mark.timeout(300)  # the first test waits for the deployment

ROOT = terraform.ROOT
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
DEPLOY = (ROOT / "docs" / "deploy.md").read_text()
MONITORING = (terraform.MODULE / "monitoring.tf").read_text()

# Every metric of the function with each of its sets of dimensions.
OURS = {(metric.name, frozenset(by)) for metric in METRICS for by in metric.by}

# What anyone can cause who reaches the API: API Gateway Developer Guide, "Monitor WebSocket APIs".
# A connection that the function rejects is an IntegrationError.
CAUSED_BY_CLIENTS = {"ClientError", "IntegrationError", "ConnectCount", "MessageCount"}
# The codes of failures that are not the client's doing.
FAULTS = {"internal", "model_unavailable", "model_error", "throttled"}

DOLLARS_A_METRIC = 0.10  # docs/deploy.md, Costs


@dataclass(frozen=True)
class Watched:
    """One metric of an alarm."""

    name: str
    namespace: str
    dimensions: Mapping[str, str]


def watched(alarm: Mapping[str, Any]) -> Iterator[Watched]:
    found = [alarm] if alarm.get("MetricName") else []
    stats = [each["MetricStat"]["Metric"] for each in alarm["Metrics"] if "MetricStat" in each]
    for each in found or stats:
        by = {dimension["Name"]: dimension["Value"] for dimension in each["Dimensions"]}
        yield Watched(each["MetricName"], each["Namespace"], by)


@pytest.fixture(scope="module")
def alarms(site: Site) -> Mapping[str, Mapping[str, Any]]:
    """By name, without that of the deployment."""
    found = client(site.url, "cloudwatch").describe_alarms()["MetricAlarms"]
    prefix = f"{site.read().function.name}-"
    return {each["AlarmName"].removeprefix(prefix): each for each in found}


# -- when they ring --------------------------------------------------------------------------------

Values = Mapping[str, float | None]


def choose(condition: bool | None, value: Any, other: float) -> Any:
    # A comparison with a missing value is itself missing.
    return None if condition is None else value if condition else other


class Missing:
    """A metric without a value: so is whatever is made of it, except by FILL."""

    def __ge__(self, _: object) -> None:
        return None


def rings(alarm: Mapping[str, Any], values: Values) -> bool:
    """Whether the alarm is on after a period with those values, by the ids of its metrics."""
    names: dict[str, Any] = {
        "IF": choose,
        "FILL": lambda value, missing: missing if isinstance(value, Missing) else value,
    }
    for query in alarm["Metrics"]:
        if "MetricStat" in query:
            value = values.get(query["Id"])
            names[query["Id"]] = Missing() if value is None else value
    expressions = [each for each in alarm["Metrics"] if "Expression" in each]
    for query in sorted(expressions, key=lambda each: each.get("ReturnData", True)):
        names[query["Id"]] = eval(query["Expression"], {"__builtins__": {}}, names)
    result = names["alarm"]
    assert "GreaterThanThreshold" == alarm["ComparisonOperator"]
    assert "notBreaching" == alarm["TreatMissingData"]
    return result is not None and not isinstance(result, Missing) and result > alarm["Threshold"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, False),  # no traffic
        ({"turns": 3, "broken": 3}, True),  # a small team, whose every question fails
        ({"unavailable": 3}, True),  # all of them before the model was called
        ({"turns": 3, "broken": 1, "unavailable": 1, "throttled": 1}, True),
        ({"turns": 2, "broken": 2}, False),  # the floor
        ({"turns": 12, "throttled": 3}, False),  # a quarter
        ({"turns": 11, "throttled": 3}, True),
        ({"turns": 1000, "broken": 200}, False),
        ({"turns": 1000}, False),
    ],
)
def test_failures_ring_by_their_share(
    alarms: Mapping[str, Any], values: Values, expected: bool
) -> None:
    """More than a quarter of the questions, and at least three of them, within 15 minutes."""
    alarm = alarms["failure-rate"]
    periods = {each["MetricStat"]["Period"] for each in alarm["Metrics"] if "MetricStat" in each}

    assert (expected, {900}, 1) == (rings(alarm, values), periods, alarm["EvaluationPeriods"])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, False),
        ({"slow": 60_000, "answers": 3}, False),
        ({"slow": 10_001, "answers": 4}, True),
        ({"slow": 9_999, "answers": 400}, False),
    ],
)
def test_slow_answers_ring_where_there_are_some(
    alarms: Mapping[str, Any], values: Values, expected: bool
) -> None:
    """A single slow answer is no alarm."""
    assert expected == rings(alarms["first-token-slow"], values)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("table-throttled", {}, False),
        ("table-throttled", {"reads": 10}, False),
        ("table-throttled", {"reads": 6, "writes": 5}, True),
        ("metrics-rejected", {}, False),
        ("metrics-rejected", {"unreadable": 1}, True),
        ("metrics-rejected", {"invalid": 1}, True),
    ],
)
def test_either_of_two_metrics_rings(
    alarms: Mapping[str, Any], name: str, values: Values, expected: bool
) -> None:
    """Their sum counts, although mostly one of them has no value."""
    assert expected == rings(alarms[name], values)


def test_no_alarm_watches_what_a_client_can_cause(alarms: Mapping[str, Any]) -> None:
    """Rejected connections, invalid frames, denials and exceeded quotas ring nothing."""
    found = [each for alarm in alarms.values() for each in watched(alarm)]
    counted = {each.dimensions.get("Code") for each in found if each.name == "Failures"}

    assert FAULTS == counted
    assert CODES.keys() >= counted
    assert not CAUSED_BY_CLIENTS & {each.name for each in found}


# -- what they watch -------------------------------------------------------------------------------


def test_alarms_use_metrics_that_are_written(site: Site, alarms: Mapping[str, Any]) -> None:
    """Namespace, name and dimensions of each alarm on the function's metrics are the code's."""
    function = site.read().function
    found = [each for alarm in alarms.values() for each in watched(alarm)]
    ours = [each for each in found if not each.namespace.startswith("AWS/")]

    assert {function.name} == {each.namespace for each in ours}
    assert OURS >= {(each.name, frozenset(each.dimensions)) for each in ours}
    assert {function.environment["MODEL_ID"]} == {each.dimensions["Model"] for each in ours}


# -- the documents ---------------------------------------------------------------------------------


def test_every_alarm_is_documented() -> None:
    """In a section that starts with its description, in the order of monitoring.tf."""
    found = re.findall(
        r'^      ([a-z-]+) = \{\n        description = "(.+)"$', MONITORING, re.MULTILINE
    )
    sections = OPERATIONS.split("\n## Alarms\n")[1].split("\n## ")[0]

    assert found
    assert found == re.findall(r"^### `([a-z-]+)`\n\n(.+)$", sections, re.MULTILINE)


def test_the_documented_price_is_that_of_the_watched_metrics(alarms: Mapping[str, Any]) -> None:
    """CloudWatch bills an alarm for each metric of its expression."""
    count = sum(1 for alarm in alarms.values() for _ in watched(alarm))

    assert (
        f"{len(alarms)} alarms on {count} metrics, {count * DOLLARS_A_METRIC:.2f} a month" in DEPLOY
    ), json.dumps(sorted(alarms))

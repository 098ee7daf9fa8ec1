"""The function's log lines, and what uses them: dashboard, queries, docs/operations.md.

The lines are those of the deployed zip, printed by Lambda's runtime client; dashboard and queries
are read back from the control plane. The alarms have tests of their own: test_alarms.py.
"""

import ast
import json
import re
import secrets
import subprocess
import time
from typing import Any

import pytest
from support.deployments import FIRST, PATIENCE, Site, ann
from support.e2e_clients import script
from support.emf import data

import log
import metrics
from deploy import terraform
from errors import CODES
from families.chunks import STOP_REASONS
from local.deployment.deployed import client
from metrics import METRICS
from relay import EARLY_STOPS

pytestmark = pytest.mark.timeout(300)  # the first test waits for the deployment

PAGE = (terraform.ROOT / "docs" / "operations.md").read_text()
QUERIES = {each.stem: each.read_text().strip() for each in terraform.MODULE.glob("queries/*.txt")}

# Every metric of the function with each of its sets of dimensions.
OURS = {(metric.name, frozenset(by)) for metric in METRICS for by in metric.by}

SEARCH = re.compile(r"""SEARCH\('\{"(.+?)",([\w,]+)\} MetricName="(\w+)"', 'Sum', 300\)""")


@pytest.fixture(scope="module")
def written(site: Site) -> list[dict[str, Any]]:
    """The lines of a turn, of one with a retry, of one that failed, and of a refused request."""
    prefix = secrets.token_hex(8)
    once = {"before": "ThrottlingException", "times": 1, "message": prefix}
    with ann(site.serving(FIRST)) as person:
        person.say({"request_id": f"{prefix}-1", "body": "hello"})
        person.say({"request_id": f"{prefix}-2", "body": script(fault=once)})
        person.say(
            {
                "request_id": f"{prefix}-3",
                "body": script(fault={"before": "AccessDeniedException"}),
            }
        )
        person.say({"request_id": f"{prefix}-4", "action": "nope"})
    deadline = time.monotonic() + PATIENCE
    while len(found := [json.loads(line) for line in site.log if prefix in line]) < 5:
        assert time.monotonic() < deadline, f"only {found}"
        time.sleep(0.05)
    return found


# -- log lines -------------------------------------------------------------------------------------


def test_the_runtime_does_not_change_a_line(written: list[dict[str, Any]]) -> None:
    """With Lambda's JSON log format, CloudWatch receives the embedded metric format as written."""
    metric_lines = [line for line in written if "_aws" in line]
    found = [[each.name for each in data(json.dumps(line))] for line in metric_lines]

    assert ["turn", "stream.retry", "turn", "turn", "request.failed"] == [
        line["event"] for line in written
    ]
    assert ["Retries" in names for names in found] == [False, True, False, False]
    assert ["Failures" in names for names in found] == [False, False, True, True]
    assert ["timestamp", "level", "event"] == list(metric_lines[0])[:3]


def test_the_trace_id_is_sent_to_every_service(site: Site, written: list[dict[str, Any]]) -> None:
    """The id in an event's lines is in each of its calls."""
    traces = {line["xray_trace_id"] for line in written}
    carried: dict[str, set[str]] = {}
    for request in site.requests:
        root = request.headers.get("x-amzn-trace-id", "none").split(";")[0].removeprefix("Root=")
        carried.setdefault(request.scope[1], set()).add(root)

    assert {"bedrock", "dynamodb", "execute-api"} == carried.keys()
    assert 4 == len(traces)  # the retry belongs to its turn's event
    assert traces <= carried["execute-api"] & carried["dynamodb"]
    assert 3 == len(traces & carried["bedrock"])
    assert not any("none" in ids for ids in carried.values())


# -- dashboard, queries ----------------------------------------------------------------------------


def test_the_dashboard_shows_every_metric_that_is_written(
    site: Site, written: list[dict[str, Any]]
) -> None:
    """Each of the function's metrics, by each set of dimensions, and no others."""
    cloudwatch = client(site.url, "cloudwatch")
    [entry] = cloudwatch.list_dashboards()["DashboardEntries"]
    body = cloudwatch.get_dashboard(DashboardName=entry["DashboardName"])["DashboardBody"]
    rows = [row for each in json.loads(body)["widgets"] for row in each["properties"]["metrics"]]
    shown, models = set(), set()
    for row in rows:
        if isinstance(row[0], dict):
            match = SEARCH.fullmatch(row[0]["expression"])
            assert match, row
            namespace, by, name = match.groups()
            shown.add((namespace, name, frozenset(by.split(","))))
        elif not row[0].startswith("AWS/"):
            namespace, name, *pairs = row[:-1]
            dimensions = dict(zip(pairs[::2], pairs[1::2], strict=True))
            models.add(dimensions["Model"])
            shown.add((namespace, name, frozenset(dimensions)))

    assert {(site.read().function.name, *each) for each in OURS} == shown
    assert {line["Model"] for line in written if "Model" in line} == models


def test_each_query_file_is_a_saved_query(site: Site) -> None:
    """Under the deployment's name, for the function's log group."""
    name = site.read().function.name
    found = client(site.url, "logs").describe_query_definitions()["queryDefinitions"]

    assert {f"{name}/{query}": text for query, text in QUERIES.items()} == {
        each["name"]: each["queryString"] for each in found
    }
    assert {f"/aws/lambda/{name}"} == {group for each in found for group in each["logGroupNames"]}


COMMANDS = {"filter", "fields", "stats", "sort", "limit", "by", "as", "and", "desc", "asc"}


def read_by(query: str) -> set[str]:
    """The fields that a query reads."""
    bare = re.sub(r'"[^"]*"|\bas \w+|\bbin\(\w+\)|\w+\(|\b\d+\b', " ", query)
    made = set(re.findall(r"\bas (\w+)", query))
    return set(re.findall(r"@?[a-zA-Z_][\w.]*", bare)) - COMMANDS - made


@pytest.mark.parametrize("name", QUERIES)
def test_queries_use_fields_that_are_written(written: list[dict[str, Any]], name: str) -> None:
    """By the function, or in Lambda's own report."""
    there = {key for line in written for key in line}
    unknown = {each for each in read_by(QUERIES[name]) - there if not each.startswith("@")}

    assert unknown <= {
        "type",
        "record.metrics.initDurationMs",
        "record.metrics.restoreDurationMs",
        "record.metrics.maxMemoryUsedMB",
    }


# -- docs/operations.md ----------------------------------------------------------------------------


def test_the_documented_line_has_the_fields_of_a_turn(written: list[dict[str, Any]]) -> None:
    """In their order."""
    [example] = re.findall(r"^```json\n(.+?)^```$", PAGE, re.MULTILINE | re.DOTALL)

    assert list(written[0]) == list(json.loads(example))


def events() -> set[str]:
    """The events that src/ writes; `places` is the argument's position in each call."""
    places = {"write": 1, "_write": 1, "record_failure": 0}
    calls = [
        each
        for path in (terraform.ROOT / "src").rglob("*.py")
        for each in ast.walk(ast.parse(path.read_text()))
        if isinstance(each, ast.Call)
    ]
    arguments = [
        call.args[place]
        for call in calls
        for name, place in places.items()
        if name == getattr(call.func, "attr", getattr(call.func, "id", ""))
        and len(call.args) > place
    ]
    found = {str(each.value) for each in arguments if isinstance(each, ast.Constant)}
    return {event for event in found if not event.startswith("authorizer.")}


def test_every_event_is_documented() -> None:
    """And no others."""
    rows = re.findall(r"^\| `([a-z_.]+)` \| (?!\w+ \|)", PAGE, re.MULTILINE)

    assert sorted(events()) == sorted(rows)


def test_every_metric_is_documented() -> None:
    """With the code's name, unit, dimensions and meaning."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)

    assert [
        (
            metric.name,
            metric.unit,
            "; ".join(" and ".join(f"`{name}`" for name in by) for by in metric.by),
            metric.meaning,
        )
        for metric in METRICS
    ] == rows


def test_the_documented_number_of_billed_metrics_is_the_maximum() -> None:
    """Of one model, with every stop reason and code."""
    reasons = {*STOP_REASONS.values(), *EARLY_STOPS, "other"}
    most = {metrics.BY_MODEL: 1, metrics.BY_END: len(reasons), metrics.BY_CODE: len(CODES)}
    count = sum(most[by] for metric in METRICS for by in metric.by)

    assert f"at most {count} metrics" in PAGE


def test_every_query_is_documented() -> None:
    """With a link to its file."""
    row = re.compile(
        r"^\| \[`([\w-]+)`\]\(\.\./terraform/modules/chat/queries/([\w-]+)\.txt\)", re.MULTILINE
    )

    assert sorted((name, name) for name in QUERIES) == sorted(row.findall(PAGE))


def test_the_documented_command_gives_the_digest_of_the_log() -> None:
    """Of a session's id."""
    [command] = re.findall(r"^(printf .*sha256sum.*)$", PAGE, re.MULTILINE)
    done = subprocess.run(
        ["sh", "-c", command],
        env={"SESSION_ID": "a session's", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert log.digest("a session's") == done.stdout.strip()

"""Covers deploy/access_log.py: what the log's line says, and reading it."""

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from deploy import access_log
from deploy.access_log import Line, UnreadableError, find, verdict

GROUP = "/aws/apigateway/chat"
FIELDS = {
    "requestId": "r=",
    "status": "200",
    "integrationStatus": "202",
    "integrationLatency": "31",
    "integrationError": "-",
    "errorMessage": "-",
}


@pytest.mark.parametrize(
    ("status", "latency", "answer_ms", "expected"),
    [
        (202, 31, 1500, "asynchronous"),
        (200, 1540, 1500, "warning"),
        (200, 31, 1500, "asynchronous"),  # the latency decides
        (202, 1540, 1500, "warning"),
        (202, 31, 40, "asynchronous"),  # too short an answer: the status decides
        (200, 31, 40, "warning"),
        (None, 31, 40, "unknown"),
        (None, None, 1500, "unknown"),
        (200, None, 1500, "warning"),
    ],
)
def test_status_and_latency_show_whether_api_gateway_waited(
    status: int | None, latency: int | None, answer_ms: int, expected: str
) -> None:
    """An ignored header is a warning that names the variable."""
    text = verdict(Line(200, status, latency, ""), answer_ms, "async")

    assert expected == text.split()[0].rstrip(":")
    assert ("warning" in text) == ("chat_integration" in text)


def test_a_proxy_integration_may_wait_for_the_answer() -> None:
    """It is what was asked for."""
    text = verdict(Line(200, 200, 1540, ""), 1500, "proxy")

    assert text.startswith('synchronous, as chat_integration = "proxy" says')


def test_a_line_has_the_error_that_it_reports() -> None:
    """The integration's before the message to the client; "-" is none."""
    line = Line.of({**FIELDS, "integrationStatus": "-", "integrationError": "no permission"})

    assert Line(200, None, 31, "no permission") == line
    assert "error 'no permission'" in str(line)
    assert "error" not in str(Line.of(FIELDS))


def stubbed() -> tuple[Any, Stubber]:
    client = boto3.client("logs", region_name="eu-west-1")
    return client, Stubber(client)


def test_the_line_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is there some seconds after the message; results come in pages, also empty ones."""
    monkeypatch.setattr(access_log, "PAUSE_SECONDS", 0)
    client, answers = stubbed()
    pattern = access_log.of_request("r=")
    asked = {"logGroupName": GROUP, "startTime": 1500, "filterPattern": pattern}
    event = {"message": json.dumps(FIELDS)}
    answers.add_response("filter_log_events", {"events": []}, asked)
    answers.add_response("filter_log_events", {"events": [], "nextToken": "t"}, asked)
    answers.add_response("filter_log_events", {"events": [event]}, {**asked, "nextToken": "t"})
    with answers:
        assert Line(200, 202, 31, "") == find(client, GROUP, pattern, 1.5)


def test_a_line_that_does_not_come_is_unreadable() -> None:
    """After the time that was given."""
    client, answers = stubbed()
    answers.add_response("filter_log_events", {"events": []})
    with answers, pytest.raises(UnreadableError, match="no line of it within 0 s"):
        find(client, GROUP, "p", 0, wait=0)


def test_a_missing_permission_is_named() -> None:
    """With the log group."""
    client, answers = stubbed()
    answers.add_client_error("filter_log_events", "AccessDeniedException")
    with answers, pytest.raises(UnreadableError, match=f"logs:FilterLogEvents on {GROUP}"):
        find(client, GROUP, "p", 0)


def test_an_unreachable_log_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As any other error of the connection."""
    client, _ = stubbed()

    def unreachable(*_: Any, **__: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://logs")

    monkeypatch.setattr(client, "_make_api_call", unreachable)
    with pytest.raises(UnreadableError, match="https://logs"):
        find(client, GROUP, "p", 0)

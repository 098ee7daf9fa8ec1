"""What API Gateway's access log says about a message: whether its invocation was asynchronous.

Rules
- API Gateway answers an asynchronous invocation in milliseconds, with Lambda's status 202. Where it
  ignores the header, it waits for the answer and logs the function's 200.
- The latency decides where the answer took long enough to distinguish the two, else the status.
- What cannot be read, or is not there in time, is unknown.

The fields are those of `access_log` in terraform/. Unconfirmed: which status API Gateway logs for
an integration of type AWS (documented are both for Lambda proxy integrations), and how soon a line
can be read.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

# An answer that took less is too short to be distinguished from a slow hand-over.
DISTINCT_MS = 500
WAIT_SECONDS = 30.0  # for the line
PAUSE_SECONDS = 1.0  # between two looks
ACCEPTED, ANSWERED = 202, 200

PROXY = 'chat_integration = "proxy"'


class UnreadableError(Exception):
    """The log cannot be read, or has no line. The message says why."""


@dataclass(frozen=True, slots=True)
class Line:
    """What the access log says about one message; None where it has no value."""

    status: int | None
    integration_status: int | None
    latency: int | None
    error: str

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Line":
        """The line with these fields; API Gateway writes "-" for a value that there is not."""
        errors = (str(fields.get(name) or "-") for name in ("integrationError", "errorMessage"))
        return cls(
            _number(fields.get("status")),
            _number(fields.get("integrationStatus")),
            _number(fields.get("integrationLatency")),
            next((each for each in errors if each != "-"), ""),
        )

    def __str__(self) -> str:
        text = (
            f"status {self.status}, integrationStatus {self.integration_status}, "
            f"integrationLatency {self.latency} ms"
        )
        return f"{text}, error {self.error!r}" if self.error else text


def _number(value: Any) -> int | None:
    return int(value) if str(value).isdecimal() else None


def verdict(line: Line, answer_ms: int, integration: str) -> str:
    """Whether API Gateway handed the message over, or waited for the answer; as a sentence."""
    waited: bool | None = None
    if answer_ms >= DISTINCT_MS and line.latency is not None:
        waited = line.latency >= answer_ms / 2
    elif line.integration_status in (ACCEPTED, ANSWERED):
        waited = line.integration_status == ANSWERED
    seen = f"{line}; the answer took {answer_ms} ms"
    if waited is None:
        return f"unknown: the access log does not show it ({seen})"
    if waited and integration != "proxy":
        return (
            f"warning: API Gateway waits for the answer ({seen}): it ignored the header that asks "
            "for asynchronous invocation. In answers of more than 29 s clients receive "
            f'"Endpoint request timed out". Set {PROXY}, which is the same, declared.'
        )
    if waited:
        return f"synchronous, as {PROXY} says ({seen})"
    return f"asynchronous ({seen})"


def find(client: Any, group: str, pattern: str, since: float, wait: float = WAIT_SECONDS) -> Line:
    """The newest line that matches the pattern, waited for.

    Raises:
        UnreadableError: see there.
    """
    deadline = time.monotonic() + wait
    while True:
        try:
            pages = client.get_paginator("filter_log_events").paginate(
                logGroupName=group, startTime=int(since * 1000), filterPattern=pattern
            )
            events = [event for page in pages for event in page["events"]]
        except ClientError as error:
            raise UnreadableError(
                f"{error.response['Error']['Code']}: logs:FilterLogEvents on {group} is needed"
            ) from None
        except BotoCoreError as error:
            raise UnreadableError(str(error)) from None
        if events:
            return Line.of(json.loads(events[-1]["message"]))
        if time.monotonic() >= deadline:
            raise UnreadableError(f"{group} had no line of it within {wait:.0f} s")
        time.sleep(PAUSE_SECONDS)


def of_request(request_id: str) -> str:
    """The pattern for the message with API Gateway's request id."""
    return f'{{ $.requestId = "{request_id}" }}'


def of_route(route: str) -> str:
    """The pattern for messages of a route."""
    return f'{{ $.eventType = "MESSAGE" && $.routeKey = "{route}" }}'

"""The function as the fault matrix runs it: the real handler, whose calls can be identified.

Each call to DynamoDB, to connections and to Bedrock has headers that name the run and the process,
so that the proxy can break the call or end the process. A frame of the tests has members that the
protocol ignores: `run` (any text), `clock` (seconds by which this Lambda's clock is wrong while it
handles the frame), `lease` (seconds that its lease lasts) and `held` (true: Bedrock is called
through the proxy). Environment variables may shorten the seconds of a lease, and of a poll.
"""

import base64
import json
import os
import time
from typing import Any
from urllib.parse import urlsplit

from store import leases

for name in ("LEASE_SECONDS", "RENEW_SECONDS", "CLOCK_SKEW_SECONDS", "POLL_SECONDS"):
    setattr(leases, name, float(os.environ.get(name, getattr(leases, name))))

import handler  # noqa: E402 - it and what it imports take these seconds from `leases`

RUN, PROCESS = "x-fault-run", "x-fault-process"
PROXY = urlsplit(os.environ["AWS_ENDPOINT_URL_DYNAMODB"])

_true_time, _true_time_ns = time.time, time.time_ns
_frame: dict[str, Any] = {}

time.time = lambda: _true_time() + _frame.get("clock", 0.0)
time.time_ns = lambda: _true_time_ns() + round(_frame.get("clock", 0.0) * 1e9)


def lambda_handler(event: Any, context: Any) -> Any:
    """Returns what the handler returns."""
    _frame.clear()
    _frame.update(_read(event))
    leases.LEASE_SECONDS = float(_frame.get("lease", _LEASE_SECONDS))
    _poster()._headers.update(_marks())
    return handler.lambda_handler(event, context)


def _read(event: Any) -> dict[str, Any]:
    body = event.get("body") or ""
    try:
        frame = json.loads(base64.b64decode(body) if event.get("isBase64Encoded") else body)
    except ValueError:
        return {}
    return frame if isinstance(frame, dict) else {}


def _marks() -> dict[str, str]:
    return {RUN: str(_frame.get("run", "")), PROCESS: str(os.getpid())}


def _mark(request: Any, **_: Any) -> None:
    request.headers.update(_marks())


def _mark_bedrock(request: Any, **_: Any) -> None:
    if _frame.get("held"):
        _mark(request)
        request.url = urlsplit(request.url)._replace(netloc=PROXY.netloc).geturl()


def _poster() -> Any:
    services = handler.SERVICES
    return services.poster_for(services.settings.callback_url)


_LEASE_SECONDS = leases.LEASE_SECONDS
handler.SERVICES.conversations._table._client.meta.events.register("before-send", _mark)
handler.SERVICES.model.client.meta.events.register("before-send", _mark_bedrock)

"""The function as the fault matrix runs it: the real handler, whose calls can be identified.

Each call to DynamoDB, to connections and to Bedrock has headers that name the run and the process,
so that the proxy can break the call or end the process. A frame of the tests has members that the
protocol ignores: `run` (any text), `clock` (seconds by which this Lambda's clock is wrong while it
handles the frame), `lease` (seconds that its lease lasts), `retry` and `stall` (seconds for which
Bedrock may be called again, and be silent), and `held` (true: it is called through the proxy).
Environment variables may shorten the seconds of a lease, and of a poll.
"""

import base64
import functools
import json
import os
import time
from typing import Any
from urllib.parse import urlsplit

import msgspec

from store import leases

for name in ("LEASE_SECONDS", "RENEW_SECONDS", "CLOCK_SKEW_SECONDS", "POLL_SECONDS"):
    setattr(leases, name, float(os.environ.get(name, getattr(leases, name))))

# They take these seconds from `leases`.
import bedrock_stream  # noqa: E402
import clients  # noqa: E402
import handler  # noqa: E402

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
    handler.SERVICES = msgspec.structs.replace(_SERVICES, model=_model())
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


def _model() -> bedrock_stream.Model:
    model = _SERVICES.model
    return msgspec.structs.replace(
        model,
        client=_bedrock(_frame["stall"]) if "stall" in _frame else model.client,
        retry_seconds=_frame.get("retry", model.retry_seconds),
    )


@functools.cache
def _bedrock(stall_seconds: float) -> Any:
    config = bedrock_stream.client_config(stall_seconds)
    client = clients.session().client("bedrock-runtime", config=config)
    client.meta.events.register("before-send", _mark_bedrock)
    return client


def _poster() -> Any:
    services = handler.SERVICES
    return services.poster_for("", "")


_LEASE_SECONDS = leases.LEASE_SECONDS
_SERVICES = handler.SERVICES
handler.SERVICES.conversations._table._client.meta.events.register("before-send", _mark)
handler.SERVICES.model.client.meta.events.register("before-send", _mark_bedrock)

"""The function as the fault matrix runs it: the real handler, in a process that can be told apart.

Each of its calls to DynamoDB and to connections bears, as headers, whose run it belongs to and the
process that makes it, so that `between` may break it or end the process. A frame says so itself:
`run` (any text) and `clock` (seconds by which this Lambda's clock is wrong while it serves it) are
members that the protocol does not know and passes over. The seconds of a lease may be shortened by
variables of the environment, for tests have less time than people.
"""

import base64
import json
import os
import time
from typing import Any, cast

from store import leases

for name in ("LEASE_SECONDS", "RENEW_SECONDS", "CLOCK_SKEW_SECONDS", "POLL_SECONDS"):
    setattr(leases, name, float(os.environ.get(name, getattr(leases, name))))

import handler  # noqa: E402 - it and what it imports take these seconds from `leases`
from posting import SigningPoster  # noqa: E402

RUN, PROCESS = "x-fault-run", "x-fault-process"

_true_time, _true_time_ns = time.time, time.time_ns
_now: dict[str, Any] = {"run": "", "clock": 0.0}

time.time = lambda: _true_time() + _now["clock"]
time.time_ns = lambda: _true_time_ns() + round(_now["clock"] * 1e9)


def lambda_handler(event: Any, context: Any) -> Any:
    """The handler's own answer."""
    frame = _frame(event)
    _now.update(run=str(frame.get("run", "")), clock=float(frame.get("clock", 0)))
    _poster()._headers.update({RUN: _now["run"], PROCESS: str(os.getpid())})
    return handler.lambda_handler(event, context)


def _frame(event: Any) -> dict[str, Any]:
    body = event.get("body") or ""
    try:
        frame = json.loads(base64.b64decode(body) if event.get("isBase64Encoded") else body)
    except ValueError:
        return {}
    return frame if isinstance(frame, dict) else {}


def _mark(request: Any, **_: Any) -> None:
    request.headers[RUN], request.headers[PROCESS] = _now["run"], str(os.getpid())


def _watch() -> None:
    handler.SERVICES.conversations._table._client.meta.events.register("before-send", _mark)


def _poster() -> SigningPoster:
    services = handler.SERVICES
    return cast("SigningPoster", services.poster_for(services.settings.callback_url))


_watch()

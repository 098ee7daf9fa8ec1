"""One JSON line for each thing worth knowing.

Rules
- Ids, counts, codes and times; never a prompt, an answer, a key or a token. A session id is as good
  as a key where `auth = "none"`, so it is written as a short digest.
- Each line tells what it is about (`about`) and whose trace it belongs to. A thread that is to
  write about the same is started in a copy of the context (`contextvars.copy_context`).

Lambda leaves a line as it is where that is JSON already (Developer Guide, "Configuring JSON and
plain text log formats"), and takes its `timestamp` and `level` ("Log-level filtering").
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

_ABOUT: ContextVar[Mapping[str, str]] = ContextVar("about")


def about(**ids: str) -> None:
    """From here on each line bears these ids, and no others."""
    _ABOUT.set(ids)


def write(level: str, event: str, **fields: Any) -> None:
    """Prints one line: what it is, what it is about, and the fields in their order."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    first = {"timestamp": now, "level": level, "event": event}
    line = json.dumps({**first, **_ABOUT.get({}), **_trace(), **fields})
    print(line, flush=True)  # noqa: T201 - Lambda's log is its standard output


def _trace() -> dict[str, str]:
    """The id by which X-Ray knows this invocation, under the name that Powertools gives it.

    Lambda sets the variable for each event: "Root=1-...;Parent=...;Sampled=1".
    """
    header = os.environ.get("_X_AMZN_TRACE_ID", "")
    parts = dict(part.partition("=")[::2] for part in header.split(";"))
    return {"xray_trace_id": parts["Root"]} if parts.get("Root") else {}


def digest(secret: str) -> str:
    """Twelve hex digits that tell two ids apart and give neither away."""
    return hashlib.sha256(secret.encode()).hexdigest()[:12]

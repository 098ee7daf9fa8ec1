"""The log: one line of JSON for each event.

Rules
- Ids, counts, codes and times; never a prompt, an answer, a key or a token. Where AUTH is none a
  session id gives access like a key, so a short digest of it is written.
- Each line has the ids set by `about`, and the X-Ray trace id. A thread whose lines need the same
  ids is started in a copy of the context (`contextvars.copy_context`).

Lambda passes a line that is JSON on as it is (Developer Guide, "Configuring JSON and plain text log
formats"), and reads its `timestamp` and `level` ("Log-level filtering").
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
    """Sets the ids that each line has from now on, in place of earlier ones."""
    _ABOUT.set(ids)


def write(level: str, event: str, **fields: Any) -> None:
    """Prints one line: time, level and event, then the ids, then the fields in their order."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    first = {"timestamp": now, "level": level, "event": event}
    line = json.dumps({**first, **_ABOUT.get({}), **_trace(), **fields})
    print(line, flush=True)  # noqa: T201 - Lambda's log is its standard output


def _trace() -> dict[str, str]:
    """The invocation's X-Ray trace id, under the name that Powertools uses.

    Lambda sets the variable for each event: "Root=1-...;Parent=...;Sampled=1".
    """
    header = os.environ.get("_X_AMZN_TRACE_ID", "")
    parts = dict(part.partition("=")[::2] for part in header.split(";"))
    return {"xray_trace_id": parts["Root"]} if parts.get("Root") else {}


def digest(secret: str) -> str:
    """Twelve hex digits that identify `secret` in a log without revealing it."""
    return hashlib.sha256(secret.encode()).hexdigest()[:12]

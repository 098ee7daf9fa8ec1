"""One JSON line for each thing worth knowing.

Rule: ids, counts, codes and times; never a prompt, an answer, a key or a token. A session id is as
good as a key where `auth = "none"`, so it is written as a short digest.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any


def write(level: str, event: str, **fields: Any) -> None:
    """Prints one line. Lambda takes `timestamp` and `level` of a JSON line as its own."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"timestamp": now, "level": level, "event": event, **fields})
    print(line, flush=True)  # noqa: T201 - Lambda's log is its standard output


def digest(secret: str) -> str:
    """Twelve hex digits that tell two ids apart and give neither away."""
    return hashlib.sha256(secret.encode()).hexdigest()[:12]

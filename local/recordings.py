"""Events kept as files: `make run RECORD=folder` writes, `make invoke EVENT=file` handles them.

Rules
- What opens a door is not written: the values of `SECRETS` in headers and in the query, and the
  tokens among the subprotocols. What people say is, so nobody but the owner may read the folder,
  and git ignores it.
- A folder holds recordings and nothing else, at most `MOST_FILES` of them.
- A recording that fails is said once, and stops; what is served goes on.

It does not know what happens in an event, or who listens.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MOST_FILES = 1000  # ours: an event is about a kilobyte, and nobody looks through more
REDACTED = "redacted"
# Names of headers and of members of the query, in lower case: who signs or asks for a WebSocket
# brings keys in these (SigV4 in a header or presigned; a JWT in the query).
SECRETS = frozenset(
    {
        "authorization",
        "cookie",
        "proxy-authorization",
        "token",
        "x-amz-credential",
        "x-amz-security-token",
        "x-amz-signature",
    }
)

# The mark of a folder that is ours, and what keeps it out of git.
_MARK = ".gitignore"
_MARKED = "# What people said: not for a repository.\n*\n"
_BEARER = re.compile(r"bearer\.[^\s,]+", re.IGNORECASE)
_UNUSUAL = re.compile(r"[^A-Za-z0-9_-]")

Event = Mapping[str, Any]


class FolderError(Exception):
    """The folder cannot take recordings. The message is for the person who named it."""


class Recordings:
    """Writes each event that it is called with. `say` gets what the person should know."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        """Raises FolderError for a folder that holds something else, or cannot be written."""
        self._folder = folder
        self._say = say
        self._left = MOST_FILES - len(_prepared(folder))

    def __call__(self, event: Event) -> None:
        """Keeps the event, while there is room."""
        if self._left == 0:
            return
        try:
            path = self._folder / f"{name_of(event)}.json"
            path.touch(mode=0o600)
            path.write_text(json.dumps(redacted(event), indent=2) + "\n")
        except OSError as error:
            self._left = 0
            self._say(f"no longer recording: {error}")
            return
        self._left -= 1
        if self._left == 0:
            self._say(f"no longer recording: {self._folder} holds {MOST_FILES} events")


def unrecorded(_event: Event) -> None:
    """Keeps nothing."""


def name_of(event: Event) -> str:
    """When, by which route and under which request id; the names sort by time."""
    context = event["requestContext"]
    moment = datetime.fromtimestamp(context["requestTimeEpoch"] / 1000, UTC)
    when = f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03}"
    parts = (when, context["routeKey"], context["requestId"])
    return "-".join(_UNUSUAL.sub("", part) for part in parts)


def redacted(event: Event) -> dict[str, Any]:
    """The event without what opens a door."""
    kept = dict(event)
    for member in (
        "headers",
        "multiValueHeaders",
        "queryStringParameters",
        "multiValueQueryStringParameters",
    ):
        if member in kept:
            kept[member] = {name: _without(name, each) for name, each in kept[member].items()}
    return kept


def _without(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_without(name, each) for each in value]
    if name.lower() in SECRETS:
        return REDACTED
    return _BEARER.sub(f"bearer.{REDACTED}", value)


def connection_of(event: Path, connection_id: str) -> Path | None:
    """The recording of that connection's `$connect`, beside the event."""
    for path in sorted(event.parent.glob("*-connect-*.json")):
        context = json.loads(path.read_text())["requestContext"]
        if context["connectionId"] == connection_id:
            return path
    return None


def _prepared(folder: Path) -> list[Path]:
    """The recordings that are there; makes and marks the folder where it is new."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = list(folder.iterdir())
        mark = folder / _MARK
        if not there:
            mark.write_text(_MARKED)
        elif mark not in there or mark.read_text() != _MARKED:
            raise FolderError(
                f"{folder} holds something else: name a folder that is not there yet."
            )
    except OSError as error:
        raise FolderError(f"{folder} cannot be recorded into: {error.strerror}.") from None
    return list(folder.glob("*.json"))

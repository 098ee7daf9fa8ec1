"""Events as files: `make run RECORD=folder` writes them, `make invoke EVENT=file` handles them.

Rules
- Credentials are redacted: the values of `SECRETS` in headers and in the query, and the tokens
  among the subprotocols. Messages are not, so only the owner may read the folder, and git
  ignores it.
- A folder holds recordings and nothing else, at most `MAX_FILES` of them.
- If a recording fails, that is reported once and recording stops; the stack continues to serve.

It does not know what an event means.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MAX_FILES = 1000  # our own limit: about a megabyte
REDACTED = "redacted"
# Names of headers and query parameters, in lower case, that carry credentials (SigV4 in a header or
# presigned; a JWT in the query).
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

# Marks a folder of recordings, and keeps it out of git.
_MARKER = ".gitignore"
_MARKER_TEXT = "# Recorded messages: not for a repository.\n*\n"
_BEARER = re.compile(r"bearer\.[^\s,]+", re.IGNORECASE)
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")

Event = Mapping[str, Any]


class FolderError(Exception):
    """The folder cannot be used for recordings. The message is for the user."""


class Recordings:
    """Writes each event that it is called with. `say` is called with messages for the user."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        """Raises FolderError for a folder that contains other files, or cannot be written."""
        self._folder = folder
        self._say = say
        self._left = MAX_FILES - len(_prepare(folder))

    def __call__(self, event: Event) -> None:
        """Writes the event, unless the folder is full."""
        if self._left == 0:
            return
        try:
            path = self._folder / f"{file_name(event)}.json"
            path.touch(mode=0o600)
            path.write_text(json.dumps(redacted(event), indent=2) + "\n")
        except OSError as error:
            self._left = 0
            self._say(f"recording stopped: {error}")
            return
        self._left -= 1
        if self._left == 0:
            self._say(f"recording stopped: {self._folder} holds {MAX_FILES} events")


def discard(_event: Event) -> None:
    """Records nothing."""


def file_name(event: Event) -> str:
    """The name of an event's file: its time, route and request id. The names sort by time."""
    context = event["requestContext"]
    moment = datetime.fromtimestamp(int(context["requestTimeEpoch"]) / 1000, UTC)
    timestamp = f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03}"
    parts = (timestamp, context["routeKey"], context["requestId"])
    return "-".join(_UNSAFE.sub("", part) for part in parts)


def redacted(event: Event) -> dict[str, Any]:
    """Returns a copy of the event without credentials."""
    copy = dict(event)
    for member in (
        "headers",
        "multiValueHeaders",
        "queryStringParameters",
        "multiValueQueryStringParameters",
    ):
        if member in copy:
            copy[member] = {name: _redact(name, value) for name, value in copy[member].items()}
    return copy


def _redact(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_redact(name, each) for each in value]
    if name.lower() in SECRETS:
        return REDACTED
    return _BEARER.sub(f"bearer.{REDACTED}", value)


def find_connect_event(event: Path, connection_id: str) -> Path | None:
    """Finds the recording of a connection's `$connect` in the folder of `event`."""
    for path in sorted(event.parent.glob("*-connect-*.json")):
        context = json.loads(path.read_text())["requestContext"]
        if context["connectionId"] == connection_id:
            return path
    return None


def _prepare(folder: Path) -> list[Path]:
    """Creates and marks the folder if it is new, and returns the recordings in it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        content = list(folder.iterdir())
        marker = folder / _MARKER
        if not content:
            marker.write_text(_MARKER_TEXT)
        elif marker not in content or marker.read_text() != _MARKER_TEXT:
            raise FolderError(f"{folder} contains other files: name a folder that does not exist.")
    except OSError as error:
        raise FolderError(f"{folder} cannot be used for recordings: {error.strerror}.") from None
    return list(folder.glob("*.json"))

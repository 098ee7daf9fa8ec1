"""One event of a WebSocket API, and the invocation that brought it, as data. Pure.

Rules
- Only what is used is read, and it is read here: no other module looks into an event.
- A proxy event and the one that `terraform/event.json.vtl` builds are read alike.

Event shapes: API Gateway Developer Guide, "Set up integration request/response for WebSocket APIs".
"""

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

ANONYMOUS = "anonymous"  # everybody, where nobody is asked who they are (auth = "none")


class Context(Protocol):
    """What is used of Lambda's context object."""

    def get_remaining_time_in_millis(self) -> int:
        """How long this invocation may still run."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One event.

    `event_type` is CONNECT, MESSAGE or DISCONNECT. `event_id` is the same in every delivery of this
    event. `body` is the frame's text, "" where there is none, and None where it is no text.
    `began_at` and `ends_at`, of `time.monotonic`, are when this invocation began and when Lambda
    stops it.
    """

    event_type: str
    connection_id: str
    event_id: str
    endpoint: str
    principal: str
    query: Mapping[str, str]
    body: str | None
    began_at: float
    ends_at: float

    @classmethod
    def of(cls, event: Any, context: Context) -> "Incoming":
        """Raises KeyError, TypeError or AttributeError for what is no WebSocket event."""
        meta = event["requestContext"]
        now = time.monotonic()
        return cls(
            event_type=meta["eventType"],
            connection_id=meta["connectionId"],
            event_id=meta["requestId"],
            endpoint=f"https://{meta['domainName']}/{meta['stage']}",
            principal=_principal(meta),
            query=event.get("queryStringParameters") or {},
            body=_text(event.get("body"), is_base64=event.get("isBase64Encoded") is True),
            began_at=now,
            ends_at=now + context.get_remaining_time_in_millis() / 1000,
        )

    @property
    def ids(self) -> dict[str, str]:
        """What every log line about this event bears."""
        return {"connection_id": self.connection_id, "event_id": self.event_id}


def _text(body: Any, *, is_base64: bool) -> str | None:
    if body is None:
        return ""
    if not isinstance(body, str):
        return None
    try:
        return base64.b64decode(body, validate=True).decode() if is_base64 else body
    except ValueError:  # no base64, or no UTF-8
        return None


def _principal(meta: Mapping[str, Any]) -> str:
    """Who connected, as the authorizer or IAM says; only the word of `$connect` is ever stored."""
    authorizer, identity = meta.get("authorizer") or {}, meta.get("identity") or {}
    return authorizer.get("principalId") or identity.get("userArn") or ANONYMOUS

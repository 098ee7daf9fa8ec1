"""One event of a WebSocket API, and the invocation that brought it, as data. Pure.

Rules
- Only what is used is read, and it is read here: no other module looks into an event.
- A proxy event and the one that `terraform/event.json.vtl` builds are read alike.

Event shapes: API Gateway Developer Guide, "Set up integration request/response for WebSocket APIs".
"""

import base64
import time
from collections.abc import Mapping
from typing import Any, Literal, Protocol

from msgspec import Struct

# The subprotocol that a client may offer, beside one that carries a token; only this is echoed.
SUBPROTOCOL = "chat.v1"


EventType = Literal["CONNECT", "MESSAGE", "DISCONNECT"]
EVENT_TYPES: Mapping[str, EventType] = {
    "CONNECT": "CONNECT",
    "MESSAGE": "MESSAGE",
    "DISCONNECT": "DISCONNECT",
}


class Context(Protocol):
    """What is used of Lambda's context object."""

    def get_remaining_time_in_millis(self) -> int:
        """How long this invocation may still run."""
        ...


class WebSocketEvent(Struct, frozen=True, kw_only=True):
    """One event.

    `event_type` is CONNECT, MESSAGE or DISCONNECT. `event_id` is the same in every delivery of this
    event, `sent_at` (ms) is when API Gateway got it. `body` is the frame's text, "" where there is
    none, and None where it is no text.
    `user_arn` is whom IAM let in, `authorizer_principal` whom the authorizer did, `source_ip` where they are;
    each "" where there is none. `headers` have lower-case names. `began_at` and `ends_at`, of
    `time.monotonic`, are when this invocation began and when Lambda stops it.
    """

    event_type: EventType
    connection_id: str
    event_id: str
    sent_at: int
    endpoint: str
    user_arn: str
    authorizer_principal: str
    source_ip: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: str | None
    began_at: float
    ends_at: float

    @classmethod
    def of(cls, event: Any, context: Context) -> "WebSocketEvent":
        """Raises KeyError, TypeError or AttributeError for what is no WebSocket event."""
        meta = event["requestContext"]
        identity = meta.get("identity") or {}
        now = time.monotonic()
        return cls(
            event_type=EVENT_TYPES[meta["eventType"]],
            connection_id=meta["connectionId"],
            event_id=meta["requestId"],
            sent_at=int(meta.get("requestTimeEpoch") or time.time() * 1000),
            endpoint=f"https://{meta['domainName']}/{meta['stage']}",
            user_arn=identity.get("userArn") or "",
            authorizer_principal=(meta.get("authorizer") or {}).get("principalId") or "",
            source_ip=identity.get("sourceIp") or "",
            headers={name.lower(): text for name, text in (event.get("headers") or {}).items()},
            query=event.get("queryStringParameters") or {},
            body=_text(event.get("body"), is_base64=event.get("isBase64Encoded") is True),
            began_at=now,
            ends_at=now + context.get_remaining_time_in_millis() / 1000,
        )

    @property
    def subprotocols(self) -> list[str]:
        """What the client offered in `Sec-WebSocket-Protocol`."""
        return [each.strip() for each in self.headers.get("sec-websocket-protocol", "").split(",")]

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

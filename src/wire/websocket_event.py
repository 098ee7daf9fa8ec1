"""One event of a WebSocket API, and the invocation that delivered it, as one frozen value.

Rules
- No other module reads an event's JSON.
- A proxy event and the event that event.json.vtl in `terraform/` builds have the same shape.
- `WebSocketEvent.of` reads the clock once, when the invocation starts; nothing else here does.

Event shapes: API Gateway Developer Guide, "Set up integration request/response for WebSocket APIs".
"""

import base64
import time
from collections.abc import Mapping
from typing import Any, Literal, Protocol

from msgspec import Struct

# The subprotocol of this API. A client can offer another that carries a token; only this one is
# ever selected.
SUBPROTOCOL = "chat.v1"


EventType = Literal["CONNECT", "MESSAGE", "DISCONNECT"]
EVENT_TYPES: Mapping[str, EventType] = {
    "CONNECT": "CONNECT",
    "MESSAGE": "MESSAGE",
    "DISCONNECT": "DISCONNECT",
}


class Context(Protocol):
    """The part of Lambda's context object that is used."""

    def get_remaining_time_in_millis(self) -> int:
        """Returns the time until Lambda stops this invocation."""
        ...


class WebSocketEvent(Struct, frozen=True, kw_only=True):
    """One event.

    `event_id` is the same in every delivery of one event. `requested_at` is when API Gateway
    received it, in milliseconds of Unix time. `user_arn` is the IAM identity and
    `authorizer_principal` the Lambda authorizer's principal; each is "" if there is none, as is
    `source_ip`. `headers` have lower-case names. `body` is the frame's text, "" if there is none,
    and None if it is not UTF-8 text. `started_at` is when this invocation started, and `deadline`
    when Lambda stops it, both of `time.monotonic`.
    """

    event_type: EventType
    connection_id: str
    event_id: str
    requested_at: int
    api_id: str
    stage: str
    user_arn: str
    authorizer_principal: str
    source_ip: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: str | None
    started_at: float
    deadline: float

    @classmethod
    def of(cls, event: Any, context: Context) -> "WebSocketEvent":
        """Reads Lambda's event.

        Raises:
            KeyError, TypeError, AttributeError: it is not an event of a WebSocket API.
        """
        meta = event["requestContext"]
        identity = meta.get("identity") or {}
        now = time.monotonic()
        return cls(
            event_type=EVENT_TYPES[meta["eventType"]],
            connection_id=meta["connectionId"],
            event_id=meta["requestId"],
            requested_at=_milliseconds(meta.get("requestTimeEpoch") or time.time() * 1000),
            api_id=meta["apiId"],
            stage=meta["stage"],
            user_arn=identity.get("userArn") or "",
            authorizer_principal=(meta.get("authorizer") or {}).get("principalId") or "",
            source_ip=identity.get("sourceIp") or "",
            headers={name.lower(): text for name, text in (event.get("headers") or {}).items()},
            query=event.get("queryStringParameters") or {},
            body=_text(event.get("body"), is_base64=event.get("isBase64Encoded") is True),
            started_at=now,
            deadline=now + context.get_remaining_time_in_millis() / 1000,
        )

    @property
    def subprotocols(self) -> list[str]:
        """The subprotocols in `Sec-WebSocket-Protocol`, as the client offered them."""
        return [each.strip() for each in self.headers.get("sec-websocket-protocol", "").split(",")]

    @property
    def ids(self) -> dict[str, str]:
        """The fields of every log line about this event."""
        return {"connection_id": self.connection_id, "event_id": self.event_id}


def _milliseconds(value: Any) -> int:
    try:
        return int(value)
    except (ValueError, OverflowError):  # text, NaN or infinity
        raise TypeError("requestTimeEpoch is not a time") from None


def _text(body: Any, *, is_base64: bool) -> str | None:
    if body is None:
        return ""
    if not isinstance(body, str):
        return None
    try:
        return base64.b64decode(body, validate=True).decode() if is_base64 else body
    except ValueError:  # not base64, or not UTF-8
        return None

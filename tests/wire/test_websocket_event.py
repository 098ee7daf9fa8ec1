import base64
import time
from typing import Any

import pytest

from wire.websocket_event import WebSocketEvent

META = {
    "eventType": "MESSAGE",
    "connectionId": "c=",
    "requestId": "e=",
    "domainName": "id.execute-api.eu-west-1.amazonaws.com",
    "stage": "prod",
}


class Ticking:
    def get_remaining_time_in_millis(self) -> int:
        return 30_000


def incoming(meta: dict[str, Any] | None = None, **event: Any) -> WebSocketEvent:
    return WebSocketEvent.of({"requestContext": {**META, **(meta or {})}, **event}, Ticking())


def test_proxy_event() -> None:
    """What is used of an event is read once, by name."""
    seen = incoming(body="hi", isBase64Encoded=False, queryStringParameters={"format": "text"})

    assert ("MESSAGE", "c=", "e=", "hi") == (
        seen.event_type,
        seen.connection_id,
        seen.event_id,
        seen.body,
    )
    assert "https://id.execute-api.eu-west-1.amazonaws.com/prod" == seen.endpoint
    assert {"format": "text"} == seen.query
    assert {"connection_id": "c=", "event_id": "e="} == seen.ids
    assert pytest.approx(30) == seen.ends_at - seen.began_at
    assert seen.began_at <= time.monotonic()


@pytest.mark.parametrize(
    ("event", "body"),
    [
        ({"body": "plain"}, "plain"),
        ({"body": base64.b64encode("é".encode()).decode(), "isBase64Encoded": True}, "é"),
        ({"body": "", "isBase64Encoded": True}, ""),
        ({}, ""),
        ({"body": None}, ""),
        ({"body": base64.b64encode(b"\xff\xfe").decode(), "isBase64Encoded": True}, None),
        ({"body": "no base64!", "isBase64Encoded": True}, None),
        ({"body": "!aGk=", "isBase64Encoded": True}, None),
        ({"body": 5}, None),
        ({"body": "aGk=", "isBase64Encoded": "true"}, "aGk="),
    ],
)
def test_body(event: dict[str, Any], body: str | None) -> None:
    """A body is text, nothing, or no text; it is never an exception."""
    assert body == incoming(**event).body


@pytest.mark.parametrize(
    ("meta", "who"),
    [
        ({}, ("", "", "")),
        ({"authorizer": None, "identity": None}, ("", "", "")),
        ({"authorizer": {"principalId": "user-1"}}, ("", "user-1", "")),
        (
            {"identity": {"sourceIp": "1.2.3.4", "userArn": "arn:aws:iam::1:user/a"}},
            ("arn:aws:iam::1:user/a", "", "1.2.3.4"),
        ),
    ],
)
def test_who(meta: dict[str, Any], who: tuple[str, str, str]) -> None:
    """Whom IAM let in, whom the authorizer did, and where they are: never mixed up."""
    seen = incoming(meta)

    assert who == (seen.user_arn, seen.authorizer_principal, seen.source_ip)


def test_headers() -> None:
    """A header's name has no case, and a subprotocol is one of several."""
    seen = incoming(headers={"ORIGIN": "https://a", "Sec-Websocket-Protocol": "chat.v1, bearer.x"})

    assert "https://a" == seen.headers["origin"]
    assert ["chat.v1", "bearer.x"] == seen.subprotocols
    assert [""] == incoming(headers=None).subprotocols


@pytest.mark.parametrize(
    "event", [None, {}, [], "x", {"requestContext": None}, {"requestContext": {}}]
)
def test_no_event(event: Any) -> None:
    """What is no event of a WebSocket API is told by an exception of a known kind."""
    with pytest.raises((KeyError, TypeError, AttributeError)):
        WebSocketEvent.of(event, Ticking())

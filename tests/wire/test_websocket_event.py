import base64
import time
from typing import Any

import pytest

from wire.websocket_event import WebSocketEvent

META = {
    "eventType": "MESSAGE",
    "connectionId": "c=",
    "requestId": "e=",
    "domainName": "chat.example.com",
    "apiId": "id",
    "stage": "prod",
}


class LambdaContext:
    def get_remaining_time_in_millis(self) -> int:
        return 30_000


def event_of(meta: dict[str, Any] | None = None, **event: Any) -> WebSocketEvent:
    return WebSocketEvent.of({"requestContext": {**META, **(meta or {})}, **event}, LambdaContext())


def test_a_proxy_event_is_read() -> None:
    """Its type, ids, API, query and body, and when the invocation has to end."""
    event = event_of(body="hi", isBase64Encoded=False, queryStringParameters={"format": "text"})

    assert ("MESSAGE", "c=", "e=", "hi") == (
        event.event_type,
        event.connection_id,
        event.event_id,
        event.body,
    )
    assert ("id", "prod") == (event.api_id, event.stage)
    assert {"format": "text"} == event.query
    assert {"connection_id": "c=", "event_id": "e="} == event.ids
    assert pytest.approx(30) == event.deadline - event.started_at
    assert event.started_at <= time.monotonic()


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
def test_a_body_is_text_or_none(event: dict[str, Any], body: str | None) -> None:
    """A body that is not UTF-8 text is None, and a missing one is "": never an exception."""
    assert body == event_of(**event).body


@pytest.mark.parametrize(
    ("meta", "identities"),
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
def test_identities_of_iam_and_of_the_authorizer_are_separate(
    meta: dict[str, Any], identities: tuple[str, str, str]
) -> None:
    """An identity of one kind of authentication is never taken for one of another."""
    event = event_of(meta)

    assert identities == (event.user_arn, event.authorizer_principal, event.source_ip)


def test_header_names_have_no_case() -> None:
    """And `Sec-WebSocket-Protocol` is a list."""
    event = event_of(headers={"ORIGIN": "https://a", "Sec-Websocket-Protocol": "chat.v1, bearer.x"})

    assert "https://a" == event.headers["origin"]
    assert ["chat.v1", "bearer.x"] == event.subprotocols
    assert [""] == event_of(headers=None).subprotocols


@pytest.mark.parametrize(
    "event",
    [
        *(None, {}, [], "x", {"requestContext": None}, {"requestContext": {}}),
        *(
            {"requestContext": {**META, "requestTimeEpoch": time}}
            for time in ("now", [1], float("nan"), float("inf"))
        ),
    ],
)
def test_another_event_raises_an_exception_that_the_handler_catches(event: Any) -> None:
    """KeyError, TypeError or AttributeError."""
    with pytest.raises((KeyError, TypeError, AttributeError)):
        WebSocketEvent.of(event, LambdaContext())

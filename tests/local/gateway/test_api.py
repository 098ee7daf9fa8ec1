"""Covers local/gateway/api.py."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.terraform import MODULE
from local.gateway.api import (
    Api,
    ConnectionInfo,
    Integration,
    Route,
    Stage,
    connect_event,
    disconnect_event,
    iso_time,
    message_event,
    new_id,
    selection_path,
)
from local.gateway.vtl import Template

API = Api.load()
STAGE = Stage("127.0.0.1:3001")
INFO = ConnectionInfo("L0SM9cOFvHcCIhw=", 1769860700000, "127.0.0.1", "wscat")
NOW = 1769860800123

COMMON = {
    "requestTime": "31/Jan/2026:12:00:00 +0000",
    "requestTimeEpoch": NOW,
    "connectedAt": INFO.connected_at,
    "messageDirection": "IN",
    "stage": "local",
    "domainName": "127.0.0.1:3001",
    "connectionId": INFO.connection_id,
    "apiId": "local",
    "identity": {"sourceIp": "127.0.0.1", "userAgent": "wscat"},
}


def own(context: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that differ between events."""
    assert context["requestId"] == context["extendedRequestId"]
    return {k: v for k, v in context.items() if k not in COMMON and not k.endswith("equestId")}


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ('{"action": "chat", "body": "hi"}', "chat"),
        ('{"action": "ping"}', "ping"),
        ('{"action": "dance"}', "$default"),
        ('{"body": "hi"}', "$default"),
        ("hello", "$default"),
        ("", "$default"),
        ('{"action": 5}', "$default"),
        ('{"action": null}', "$default"),
        ('{"action": ["chat"]}', "$default"),
        ('{"action": {"chat": 1}}', "$default"),
        ('["action"]', "$default"),
        ('"action"', "$default"),
        ("7", "$default"),
        ("null", "$default"),
        ('{"action": "chat"', "$default"),
        ("[" * 100_000, "$default"),
        ('{"action": "$default"}', "$default"),
        ('{"action": "$connect"}', "$default"),
        ('{"action": "$disconnect"}', "$default"),
    ],
)
def test_a_known_action_selects_its_route(body: str, key: str) -> None:
    """JSON with a known action selects its route; everything else selects `$default`."""
    route = API.select(body)

    assert route is not None
    assert route.key == key


@given(st.text() | st.builds(json.dumps, st.dictionaries(st.just("action"), st.text())))
def test_every_frame_selects_a_message_route(body: str) -> None:
    """Any text selects a route, and never `$connect` or `$disconnect`."""
    route = API.select(body)

    assert route is not None
    assert route.key not in {"$connect", "$disconnect"}


def test_without_a_default_an_unknown_action_matches_nothing() -> None:
    """An API without `$default` has no route for other frames."""
    api = Api({"chat": Route("chat", Integration.PROXY)})

    assert api.select("hello") is None
    assert api.select('{"action": "chat"}') == api.routes["chat"]


def test_a_selection_expression_may_be_a_path() -> None:
    """The selected key may be nested in the body, and braces are allowed."""
    api = Api({"x": Route("x", Integration.PROXY)}, selection_path("${request.body.meta.kind}"))

    assert api.select('{"meta": {"kind": "x"}}') == api.routes["x"]
    assert api.select('{"meta": "kind"}') is None


@pytest.mark.parametrize("expression", ["action", "$request.header.x", "${request.body.a", "$x"])
def test_unsupported_selection_expressions_are_refused(expression: str) -> None:
    """When the API is loaded, not at the first message."""
    with pytest.raises(ValueError, match="route selection expression"):
        selection_path(expression)


def test_chat_is_asynchronous_and_ping_needs_no_function() -> None:
    """The table in `terraform/`: chat is asynchronous, `$connect` is a proxy, ping is a mock."""
    kinds = {key: route.integration for key, route in API.routes.items()}

    assert kinds["$connect"] is kinds["$disconnect"] is Integration.PROXY
    assert kinds["$default"] is kinds["chat"] is Integration.ASYNC
    assert kinds["ping"] is Integration.MOCK
    assert API.routes["ping"].replies
    assert not API.routes["chat"].replies


def test_chat_can_be_served_synchronously() -> None:
    """The switch turns asynchronous routes into proxy routes, and no others."""
    routes = Api.load(chat_integration="proxy").routes

    assert {r.integration for r in routes.values()} == {Integration.PROXY, Integration.MOCK}
    assert routes["ping"].integration is Integration.MOCK


@pytest.mark.parametrize(
    ("row", "error"), [({"integration": "http"}, ValueError), ({"integration": "mock"}, KeyError)]
)
def test_an_invalid_route_table_is_refused(
    row: dict[str, str], error: type[Exception], tmp_path: Path
) -> None:
    """An unknown integration, or a mock without a response, fails when the table is loaded."""
    table = {"routeSelectionExpression": "$request.body.action", "routes": {"x": row}}
    (tmp_path / "routes.json").write_text(json.dumps(table))
    (tmp_path / "event.json.vtl").write_text("{}")

    with pytest.raises(error):
        Api.load(tmp_path)


def test_a_connect_event_has_headers_and_query_and_no_body() -> None:
    """Headers and query parameters have both single and multiple values."""
    headers = [
        ("Host", "evil.example"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("X-Forwarded-For", "8.8.8.8"),
        ("Cookie", "a=1"),
        ("Cookie", "b=2"),
    ]
    content = connect_event(STAGE, INFO, "/?s=1&s=2&e=&u=%C3%A9+x", headers, NOW).content

    assert own(content["requestContext"]) == {"routeKey": "$connect", "eventType": "CONNECT"}
    assert COMMON.items() <= content["requestContext"].items()
    assert content["headers"] == {
        "Host": "evil.example",
        "Cookie": "b=2",
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Port": "3001",
        "X-Forwarded-Proto": "http",
    }
    assert content["multiValueHeaders"]["Cookie"] == ["a=1", "b=2"]
    assert content["queryStringParameters"] == {"s": "2", "e": "", "u": "é x"}
    assert content["multiValueQueryStringParameters"] == {"s": ["1", "2"], "e": [""], "u": ["é x"]}
    assert content["isBase64Encoded"] is False
    assert "body" not in content


def test_a_connect_event_without_a_query_has_no_query_fields() -> None:
    """They are missing, not empty."""
    content = connect_event(STAGE, INFO, "/", [], NOW).content

    assert "queryStringParameters" not in content
    assert "multiValueQueryStringParameters" not in content


def test_a_message_event_has_the_body_and_no_headers() -> None:
    """The body is text, and the message has an id of its own."""
    route = Route("chat", Integration.PROXY)
    content = message_event(STAGE, INFO, route, "héllo", NOW).content

    context = own(content["requestContext"])
    assert context.pop("messageId") not in {"", INFO.connection_id}
    assert context == {"routeKey": "chat", "eventType": "MESSAGE"}
    assert COMMON.items() <= content["requestContext"].items()
    assert content.keys() == {"requestContext", "body", "isBase64Encoded"}
    assert content["body"] == "héllo"
    assert content["isBase64Encoded"] is False


def test_a_message_event_of_an_asynchronous_route_has_the_same_shape() -> None:
    """As of a proxy route, except for base64, the user agent, and times that are text.

    API Gateway leaves out a variable that it does not know: without quotes, that is no JSON.
    """
    asynchronous = message_event(STAGE, INFO, API.routes["chat"], "héllo", NOW)
    proxy = message_event(STAGE, INFO, Route("chat", Integration.PROXY), "héllo", NOW)

    content = dict(asynchronous.content)
    context = dict(content["requestContext"])
    assert content["isBase64Encoded"] is True
    assert base64.b64decode(content["body"]).decode() == "héllo"
    assert asynchronous.request_id == context["requestId"]
    expected = dict(proxy.content["requestContext"])
    expected["identity"] = {"sourceIp": "127.0.0.1"}
    for key in ("requestTimeEpoch", "connectedAt"):
        expected[key] = str(expected[key])
    for key in ("requestId", "extendedRequestId", "messageId"):
        assert context.pop(key) != expected.pop(key)
    assert context == expected


def test_a_template_that_produces_no_json_is_an_error() -> None:
    """An event that Lambda would refuse is never sent to it."""
    route = Route("chat", Integration.ASYNC, Template("{"))

    with pytest.raises(ValueError, match="Expecting"):
        message_event(STAGE, INFO, route, "", NOW)


def test_a_disconnect_event_has_the_close_code_and_reason() -> None:
    """And the headers that API Gateway generates."""
    content = disconnect_event(STAGE, INFO, 1001, "Going away", NOW).content

    assert own(content["requestContext"]) == {
        "routeKey": "$disconnect",
        "eventType": "DISCONNECT",
        "disconnectStatusCode": 1001,
        "disconnectReason": "Going away",
    }
    assert content["headers"]["Host"] == "127.0.0.1:3001"
    assert content["multiValueHeaders"]["x-restapi"] == [""]
    assert "body" not in content


def test_without_a_user_agent_the_field_is_missing() -> None:
    """It is not an empty string."""
    info = replace(INFO, user_agent=None)

    context = connect_event(STAGE, info, "/", [], NOW).content["requestContext"]
    assert context["identity"] == {"sourceIp": "127.0.0.1"}


def test_ids_and_times_have_api_gateways_format() -> None:
    """Ids end in `=` and are unique; times have milliseconds."""
    ids = {new_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert {(len(i), i[-1]) for i in ids} == {(16, "=")}
    assert iso_time(NOW) == "2026-01-31T12:00:00.123Z"
    assert iso_time(1769860800000) == "2026-01-31T12:00:00.000Z"


def test_an_event_is_encoded_as_json() -> None:
    """The encoded event decodes to its content."""
    event = message_event(STAGE, INFO, Route("x", Integration.PROXY), "\u2028 é", NOW)

    assert json.loads(event.encode()) == event.content


def test_the_route_table_is_terraforms() -> None:
    """The files are where Terraform reads them."""
    assert (MODULE / "routes.json").is_file()
    assert 'file("${path.module}/routes.json")' in (MODULE / "api.tf").read_text()

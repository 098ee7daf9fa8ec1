import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.gateway.api import (
    TERRAFORM,
    Api,
    Caller,
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
CALLER = Caller("L0SM9cOFvHcCIhw=", 1769860700000, "127.0.0.1", "wscat")
NOW = 1769860800123

COMMON = {
    "requestTime": "31/Jan/2026:12:00:00 +0000",
    "requestTimeEpoch": NOW,
    "connectedAt": CALLER.connected_at,
    "messageDirection": "IN",
    "stage": "local",
    "domainName": "127.0.0.1:3001",
    "connectionId": CALLER.connection_id,
    "apiId": "local",
    "identity": {"sourceIp": "127.0.0.1", "userAgent": "wscat"},
}


def own(context: dict[str, Any]) -> dict[str, Any]:
    """Return what differs from one event to the next."""
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
def test_a_frame_finds_its_route(body: str, key: str) -> None:
    """JSON with a known action takes its route; all else takes `$default`."""
    route = API.select(body)

    assert route is not None
    assert route.key == key


@given(st.text() | st.builds(json.dumps, st.dictionaries(st.just("action"), st.text())))
def test_every_frame_finds_a_route(body: str) -> None:
    """No frame is too strange to be routed, and none reaches a lifecycle route."""
    route = API.select(body)

    assert route is not None
    assert route.key not in {"$connect", "$disconnect"}


def test_without_a_default_nothing_matches() -> None:
    """An API without `$default` has no route for what it does not know."""
    api = Api({"chat": Route("chat", Integration.PROXY)})

    assert api.select("hello") is None
    assert api.select('{"action": "chat"}') == api.routes["chat"]


def test_a_selection_expression_may_be_a_path() -> None:
    """The selected key may lie deeper in the body, and braces are allowed."""
    api = Api({"x": Route("x", Integration.PROXY)}, selection_path("${request.body.meta.kind}"))

    assert api.select('{"meta": {"kind": "x"}}') == api.routes["x"]
    assert api.select('{"meta": "kind"}') is None


@pytest.mark.parametrize("expression", ["action", "$request.header.x", "${request.body.a", "$x"])
def test_other_selection_expressions_are_refused(expression: str) -> None:
    """What this gateway cannot select by, it refuses at the start."""
    with pytest.raises(ValueError, match="route selection expression"):
        selection_path(expression)


def test_chat_is_asynchronous_and_ping_needs_no_function() -> None:
    """The table in `terraform/`: long answers asynchronously, lifecycle waited for, ping a mock."""
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
def test_a_wrong_table_is_refused(
    row: dict[str, str], error: type[Exception], tmp_path: Path
) -> None:
    """An unknown integration, or a mock without an answer, fails when the table is read."""
    table = {"routeSelectionExpression": "$request.body.action", "routes": {"x": row}}
    (tmp_path / "routes.json").write_text(json.dumps(table))
    (tmp_path / "event.json.vtl").write_text("{}")

    with pytest.raises(error):
        Api.load(tmp_path)


def test_a_connect_event() -> None:
    """CONNECT has the handshake's headers and query, single and multiple, and no body."""
    headers = [
        ("Host", "evil.example"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("X-Forwarded-For", "8.8.8.8"),
        ("Cookie", "a=1"),
        ("Cookie", "b=2"),
    ]
    content = connect_event(STAGE, CALLER, "/?s=1&s=2&e=&u=%C3%A9+x", headers, NOW).content

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


def test_a_connect_event_without_a_query() -> None:
    """Without a query string the two fields are missing, not empty."""
    content = connect_event(STAGE, CALLER, "/", [], NOW).content

    assert "queryStringParameters" not in content
    assert "multiValueQueryStringParameters" not in content


def test_a_message_event_of_a_proxy_route() -> None:
    """MESSAGE has the body as text, an id of its own, and no headers."""
    route = Route("chat", Integration.PROXY)
    content = message_event(STAGE, CALLER, route, "héllo", NOW).content

    context = own(content["requestContext"])
    assert context.pop("messageId") not in {"", CALLER.connection_id}
    assert context == {"routeKey": "chat", "eventType": "MESSAGE"}
    assert COMMON.items() <= content["requestContext"].items()
    assert content.keys() == {"requestContext", "body", "isBase64Encoded"}
    assert content["body"] == "héllo"
    assert content["isBase64Encoded"] is False


def test_a_message_event_of_an_asynchronous_route_has_the_same_shape() -> None:
    """The template makes what a proxy route would get, but for base64 and the user agent."""
    asynchronous = message_event(STAGE, CALLER, API.routes["chat"], "héllo", NOW)
    proxy = message_event(STAGE, CALLER, Route("chat", Integration.PROXY), "héllo", NOW)

    content = dict(asynchronous.content)
    context = dict(content["requestContext"])
    assert content["isBase64Encoded"] is True
    assert base64.b64decode(content["body"]).decode() == "héllo"
    assert asynchronous.request_id == context["requestId"]
    expected = dict(proxy.content["requestContext"])
    expected["identity"] = {"sourceIp": "127.0.0.1"}
    for key in ("requestId", "extendedRequestId", "messageId"):
        assert context.pop(key) != expected.pop(key)
    assert context == expected


def test_a_template_that_gives_no_json_is_an_error() -> None:
    """An event that Lambda would refuse never reaches it."""
    route = Route("chat", Integration.ASYNC, Template("{"))

    with pytest.raises(ValueError, match="Expecting"):
        message_event(STAGE, CALLER, route, "", NOW)


def test_a_disconnect_event() -> None:
    """DISCONNECT tells the code and the reason, with the headers that API Gateway makes up."""
    content = disconnect_event(STAGE, CALLER, 1001, "Going away", NOW).content

    assert own(content["requestContext"]) == {
        "routeKey": "$disconnect",
        "eventType": "DISCONNECT",
        "disconnectStatusCode": 1001,
        "disconnectReason": "Going away",
    }
    assert content["headers"]["Host"] == "127.0.0.1:3001"
    assert content["multiValueHeaders"]["x-restapi"] == [""]
    assert "body" not in content


def test_a_client_without_a_user_agent() -> None:
    """Without a user agent the field is missing."""
    caller = replace(CALLER, user_agent=None)

    context = connect_event(STAGE, caller, "/", [], NOW).content["requestContext"]
    assert context["identity"] == {"sourceIp": "127.0.0.1"}


def test_ids_and_times() -> None:
    """Ids look like API Gateway's, `=` included, and do not repeat; times have milliseconds."""
    ids = {new_id() for _ in range(1000)}

    assert len(ids) == 1000
    assert {(len(i), i[-1]) for i in ids} == {(16, "=")}
    assert iso_time(NOW) == "2026-01-31T12:00:00.123Z"
    assert iso_time(1769860800000) == "2026-01-31T12:00:00.000Z"


def test_an_event_is_sent_as_json() -> None:
    """What is encoded is what was built."""
    event = message_event(STAGE, CALLER, Route("x", Integration.PROXY), "\u2028 é", NOW)

    assert json.loads(event.encode()) == event.content


def test_the_route_table_is_the_one_of_terraform() -> None:
    """The files lie where Terraform reads them."""
    assert TERRAFORM.name == "terraform"
    assert (TERRAFORM / "routes.json").is_file()

"""Covers local/gateway/vtl.py, and the template `terraform/modules/chat/event.json.vtl`."""

import base64
import json
import string
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy.terraform import MODULE
from local.gateway.vtl import Template, base64_decode, base64_encode, escape_javascript

EVENT = Template((MODULE / "event.json.vtl").read_text("utf-8"))
CONTEXT = {
    "routeKey": "$default",
    "messageId": "bQ=",
    "connectionId": "L0SM9cOFvHcCIhw=",
    "requestId": "cg=",
    "extendedRequestId": "cg=",
    "requestTime": "31/Jan/2026:12:00:00 +0000",
    "requestTimeEpoch": 1769860800000,
    "connectedAt": 1769860700000,
    "stage": "local",
    "domainName": "127.0.0.1:3001",
    "apiId": "local",
    "identity": {"sourceIp": "127.0.0.1", "userAgent": 'a "quoted" agent'},
}


@given(st.text())
@example("")
@example("it's \"quoted\" \\ and 'again'")
@example("line\nline\r\n\ttab\x00\x1f")
@example("$context.stage ${input.body} $!util.base64Encode('x')")
@example("#foreach($x in [1..9])$x#end #set($a = 1) #evaluate('$a') ## #* *#")
@example("__FORMAL_REFERENCE__REPLACE_TEXT__")
@example("\u2028\u2029 é 漢字 \U0001f600")
@example("é'" * 10_000)
def test_the_event_is_json_and_preserves_any_body(body: str) -> None:
    """For any text the event is JSON, and its body decodes to that text."""
    event = json.loads(EVENT.render(CONTEXT, body))

    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"], validate=True).decode() == body


@given(st.text())
def test_the_body_affects_only_the_body(body: str) -> None:
    """Nothing of a message appears anywhere else in the event."""
    event = json.loads(EVENT.render(CONTEXT, body))
    plain = json.loads(EVENT.render(CONTEXT, ""))

    assert plain | {"body": event["body"]} == event


def test_the_clients_user_agent_is_not_in_the_event() -> None:
    """A quote in it could end a JSON string, so the template omits it."""
    assert "quoted" not in EVENT.render(CONTEXT, "")


def test_the_event_has_times_as_text() -> None:
    """A proxy integration has numbers; `src/wire/websocket_event.py` reads both."""
    context = json.loads(EVENT.render(CONTEXT, ""))["requestContext"]

    assert "1769860800000" == context["requestTimeEpoch"]
    assert "1769860700000" == context["connectedAt"]
    assert "$default" == context["routeKey"]


@pytest.mark.parametrize("missing", CONTEXT)
def test_the_event_is_json_without_any_value_of_the_context(missing: str) -> None:
    """API Gateway writes nothing for a variable that it does not know."""
    context = {**CONTEXT, missing: {"sourceIp": ""} if missing == "identity" else ""}

    assert "bGk=" == json.loads(EVENT.render(context, "li"))["body"]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        (string.ascii_letters + string.digits + " $#{}()", None),
        ("'", r"\'"),
        ('"', r"\""),
        ("a\\b/c", r"a\\b\/c"),
        ("\b\f\n\r\t", r"\b\f\n\r\t"),
        ("\x00\x1f", r"\u0000\u001F"),
        ("é\u2028", r"\u00E9\u2028"),
        ("\U0001f600", r"\uD83D\uDE00"),
    ],
)
def test_escape_javascript_escapes_as_java_does(text: str, escaped: str | None) -> None:
    """The single quote included."""
    assert escape_javascript(text) == (text if escaped is None else escaped)


def test_escape_javascript_does_not_produce_json() -> None:
    """As AWS documents, an escaped single quote is invalid JSON."""
    text = Template('"$util.escapeJavaScript($input.body)"').render({}, "it's")

    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


@given(st.text())
def test_base64_decode_reverses_base64_encode(text: str) -> None:
    """The encoded text is ASCII."""
    encoded = base64_encode(text)

    assert encoded.isascii()
    assert base64_decode(encoded) == text


@pytest.mark.parametrize(
    ("source", "context", "expected"),
    [
        ("a $context.undefined b", {}, "a  b"),
        ("$context.n", {"n": 7}, "7"),
        ("$context.a.b", {"a": {"b": "x"}}, "x"),
        ("#if($context.n == 1)yes#{else}no#end", {"n": 1}, "yes"),
        ("$util.base64Decode('aGk=')", {}, "hi"),
    ],
)
def test_templates_are_evaluated_as_api_gateway_does(
    source: str, context: dict[str, Any], expected: str
) -> None:
    """For one, an undefined reference is empty."""
    assert Template(source).render(context, "") == expected


@pytest.mark.parametrize("source", ["#if($x)", "#foreach($a in $b)", "#set($a"])
def test_an_invalid_template_is_refused_when_it_is_loaded(source: str) -> None:
    """It fails at the start, not at the first message."""
    with pytest.raises(ValueError, match="mapping template"):
        Template(source)


def test_a_template_that_fails_raises_value_error() -> None:
    """All errors of the library become one kind of error."""
    template = Template("$util.base64Decode($input.body)")

    with pytest.raises(ValueError, match="mapping template"):
        template.render({}, "a")

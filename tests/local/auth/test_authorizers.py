"""Covers local/auth/authorizers.py: what API Gateway makes of signatures, policies and failures."""

import asyncio
import json
from typing import Any

import pytest

from deploy.url import presigned
from local.auth.authorizers import Guard, RefusedError, allows, anybody, custom, iam
from local.auth.sigv4 import User
from local.gateway.api import CONNECT, Caller, Event, Principal, Stage, connect_event
from local.gateway.http_front import HttpRequest
from local.gateway.limits import Limits
from local.invocation import Result

ARN = "arn:aws:execute-api:us-east-1:123456789012:local/local/$connect"
ALICE = User("arn:aws:iam::123456789012:user/alice", "AKALICE", "secret")
STAGE = Stage("127.0.0.1:3001")
CALLER = Caller("c=", 1, "127.0.0.1", "tests")


def handshake(target: str = "/?token=t&a=1&a=2") -> tuple[HttpRequest, Event]:
    headers = (("Host", "127.0.0.1:3001"), ("Sec-WebSocket-Protocol", "chat.v1"))
    request = HttpRequest("GET", target, "1.1", headers, b"", "127.0.0.1")
    return request, connect_event(STAGE, CALLER, target, headers, 2)


def policy(effect: Any = "Allow", resource: Any = ARN, action: Any = "execute-api:Invoke") -> Any:
    return {"Statement": [{"Effect": effect, "Action": action, "Resource": resource}]}


def says(**answer: Any) -> Result:
    return Result(json.dumps({"principalId": "p", "policyDocument": policy(), **answer}).encode())


def asked(result: Result | Exception, timeout: float = 5) -> tuple[Principal | int, list[Any]]:
    """What comes of an authorizer that answers so, and what it was asked."""
    events: list[Any] = []

    async def invoke(event: bytes) -> Result:
        events.append(json.loads(event))
        if isinstance(result, TimeoutError):
            await asyncio.Event().wait()
        if isinstance(result, Exception):
            raise result
        return result

    async def scenario() -> Principal | int:
        try:
            return await custom(invoke, limits=Limits(integration=timeout))(*handshake())
        except RefusedError as error:
            return error.status

    return asyncio.run(scenario()), events


async def known(guard: Guard, target: str = "/") -> Principal:
    return await guard(*handshake(target))


def test_nobody_is_asked() -> None:
    """`NONE` names nobody."""
    assert Principal() == asyncio.run(known(anybody))


def test_the_event_of_an_authorizer() -> None:
    """Has the shape that AWS documents for WebSocket APIs: the handshake, and what is asked for."""
    _, [event] = asked(says())

    assert {
        "type",
        "methodArn",
        "headers",
        "multiValueHeaders",
        "queryStringParameters",
        "multiValueQueryStringParameters",
        "stageVariables",
        "requestContext",
    } == set(event)
    assert ("REQUEST", ARN) == (event["type"], event["methodArn"])
    assert {"token": "t", "a": "2"} == event["queryStringParameters"]
    assert ["1", "2"] == event["multiValueQueryStringParameters"]["a"]
    assert "chat.v1" == event["headers"]["Sec-WebSocket-Protocol"]
    assert (CONNECT, "CONNECT", "c=") == tuple(
        event["requestContext"][name] for name in ("routeKey", "eventType", "connectionId")
    )


def test_whom_an_authorizer_names() -> None:
    """The principal, and what else it says, are what later events get."""
    principal, _ = asked(says(principalId="issuer#alice", context={"tier": "gold", "n": 1}))

    expected = {"principalId": "issuer#alice", "tier": "gold", "n": 1}
    assert Principal(authorizer=expected) == principal


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (Result(b'{"errorMessage": "Unauthorized", "errorType": "Exception"}', "Unhandled"), 401),
        (Result(b'{"errorMessage": "unauthorized"}', "Unhandled"), 500),
        (Result(b'{"errorMessage": "Unavailable"}', "Unhandled"), 500),
        (Result(b"<html>", "Unhandled"), 500),
        (Result(b"", "Sandbox.Timedout"), 500),
        (Result(b'{"Type": "User"}', "TooManyRequests"), 500),
        (Result(b"null"), 500),
        (Result(b"[]"), 500),
        (Result(b"{"), 500),
        (Result(b"{}"), 500),
        (says(policyDocument=policy("Deny")), 403),
        (says(policyDocument={"Statement": []}), 403),
        (says(policyDocument=policy(resource=f"{ARN}x")), 403),
        (says(policyDocument=None), 500),
        (says(policyDocument="allow"), 500),
        (says(policyDocument={}), 500),
        (says(principalId=None), 500),
        (says(principalId=""), 500),
        (says(principalId=7), 500),
        (says(context={"nested": {}}), 500),
        (says(context={"long": "x" * 8000}), 500),
        (says(context=["list"]), 500),
        (RuntimeError("no room"), 500),
    ],
)
def test_who_is_refused(result: Result | Exception, status: int) -> None:
    """401 by its word, 403 by its policy, and 500 where it is broken: never let in by mistake."""
    assert status == asked(result)[0]


def test_an_authorizer_that_does_not_answer() -> None:
    """Is waited for as long as an integration, and then it is 500."""
    assert 500 == asked(TimeoutError(), timeout=0.01)[0]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (policy(), True),
        ({"Statement": policy()["Statement"][0]}, True),
        (policy(action=["s3:*", "EXECUTE-API:invoke"]), True),
        (policy(action="execute-api:*"), True),
        (policy(action="*"), True),
        (policy(action="execute-api:ManageConnections"), False),
        (policy(action=[]), False),
        (policy(resource="*"), True),
        (policy(resource=["x", "arn:aws:execute-api:*:*:local/*"]), True),
        (policy(resource=ARN.replace("local/local", "l?cal/local")), True),
        (policy(resource=ARN.replace("$connect", "$CONNECT")), False),
        (policy(resource=ARN.replace("123456789012", ".*")), False),
        (policy(resource="arn:aws:execute-api:*/$default"), False),
        (policy(resource=ARN[:-1]), False),
        (policy(effect="allow"), False),
        ({"Statement": [*policy("Deny", "*")["Statement"], *policy()["Statement"]]}, False),
        ({"Statement": [*policy("Deny", "x")["Statement"], *policy()["Statement"]]}, True),
    ],
)
def test_policies(document: Any, expected: bool) -> None:
    """Wildcards, lists, and a denial that outweighs all else."""
    assert expected == allows(document, ARN)


@pytest.mark.parametrize(
    "row",
    [
        {"Condition": {"Bool": {"x": "true"}}},
        {"NotResource": "x"},
        {"Action": [7]},
        {"Resource": 7},
        {"Effect": ["Allow"]},
    ],
)
def test_policies_that_are_not_understood(row: dict[str, Any]) -> None:
    """A condition is not passed over: it is 500."""
    with pytest.raises(RefusedError) as caught:
        allows({"Statement": policy()["Statement"][0] | row}, ARN)
    assert 500 == caught.value.status


def test_whom_iam_names() -> None:
    """The user's ARN, account and key."""
    url = presigned("ws://127.0.0.1:3001", ALICE.credentials, "us-east-1")
    target = "/" + url.partition("3001")[2].removeprefix("/")
    principal = asyncio.run(known(iam({"AKALICE": ALICE}), target))

    assert {} == principal.authorizer
    assert ALICE.arn == principal.identity["userArn"]
    assert "123456789012" == principal.identity["accountId"]
    assert {"AKALICE"} == {principal.identity[name] for name in ("accessKey", "caller", "user")}
    assert "secret" not in str(principal)


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_whom_iam_refuses(region: str) -> None:
    """Each reason is 403 to the client."""
    guard = iam({"AKALICE": ALICE}, region)
    with pytest.raises(RefusedError) as caught:
        asyncio.run(known(guard))
    assert 403 == caught.value.status

"""Covers local/auth/authorizers.py: signatures, policies and failures of authorizers."""

import asyncio
import json
from typing import Any

import pytest

from deploy.url import presigned
from local.auth.authorizers import allows, iam_authorizer, lambda_authorizer
from local.auth.sigv4 import User
from local.gateway.api import CONNECT, ConnectionInfo, Event, Principal, Stage, connect_event
from local.gateway.authorization import Authorizer, RefusedError, allow_all
from local.gateway.http_connection import HttpRequest
from local.gateway.limits import Limits
from local.invocation import Result

ARN = "arn:aws:execute-api:us-east-1:123456789012:local/local/$connect"
ALICE = User("arn:aws:iam::123456789012:user/alice", "AKALICE", "secret")
STAGE = Stage("127.0.0.1:3001")
INFO = ConnectionInfo("c=", 1, "127.0.0.1", "tests")


def handshake(target: str = "/?token=t&a=1&a=2") -> tuple[HttpRequest, Event]:
    headers = (("Host", "127.0.0.1:3001"), ("Sec-WebSocket-Protocol", "chat.v1"))
    request = HttpRequest("GET", target, "1.1", headers, b"", "127.0.0.1")
    return request, connect_event(STAGE, INFO, target, headers, 2)


def policy(effect: Any = "Allow", resource: Any = ARN, action: Any = "execute-api:Invoke") -> Any:
    return {"Statement": [{"Effect": effect, "Action": action, "Resource": resource}]}


def response(**fields: Any) -> Result:
    return Result(json.dumps({"principalId": "p", "policyDocument": policy(), **fields}).encode())


def authorized(result: Result | Exception, timeout: float = 5) -> tuple[Principal | int, list[Any]]:
    """The principal or status for an authorizer's result, and the events that it received."""
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
            return await lambda_authorizer(invoke, limits=Limits(integration=timeout))(*handshake())
        except RefusedError as error:
            return error.status

    return asyncio.run(scenario()), events


async def principal_of(authorizer: Authorizer, target: str = "/") -> Principal:
    return await authorizer(*handshake(target))


def test_without_authentication_there_is_no_principal() -> None:
    """Authorization type `NONE` accepts every client, as no principal."""
    assert Principal() == asyncio.run(principal_of(allow_all))


def test_a_lambda_authorizer_receives_the_handshake_as_aws_documents_it() -> None:
    """The event has the documented shape for WebSocket APIs: the handshake, and the method ARN."""
    _, [event] = authorized(response())

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


def test_a_lambda_authorizer_sets_the_principal_and_its_context() -> None:
    """The principal id and the context are added to the connection's events."""
    principal, _ = authorized(
        response(principalId="issuer#alice", context={"tier": "gold", "n": 1})
    )

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
        (response(policyDocument=policy("Deny")), 403),
        (response(policyDocument={"Statement": []}), 403),
        (response(policyDocument=policy(resource=f"{ARN}x")), 403),
        (response(policyDocument=None), 500),
        (response(policyDocument="allow"), 500),
        (response(policyDocument={}), 500),
        (response(principalId=None), 500),
        (response(principalId=""), 500),
        (response(principalId=7), 500),
        (response(context={"nested": {}}), 500),
        (response(context={"long": "x" * 8000}), 500),
        (response(context=["list"]), 500),
        (RuntimeError("no environment"), 500),
    ],
)
def test_a_lambda_authorizer_that_fails_or_denies_refuses_the_client(
    result: Result | Exception, status: int
) -> None:
    """401 for the error `Unauthorized`, 403 by its policy, 500 for a failure."""
    assert status == authorized(result)[0]


def test_a_lambda_authorizer_that_does_not_respond_gives_500() -> None:
    """The integration timeout applies to an authorizer, too."""
    assert 500 == authorized(TimeoutError(), timeout=0.01)[0]


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
def test_a_policy_allows_what_it_names_unless_it_denies_it(document: Any, expected: bool) -> None:
    """Wildcards, lists, and an explicit denial that prevails."""
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
def test_a_policy_with_an_unsupported_element_gives_500(row: dict[str, Any]) -> None:
    """A condition is never ignored, since it could deny the request."""
    with pytest.raises(RefusedError) as caught:
        allows({"Statement": policy()["Statement"][0] | row}, ARN)
    assert 500 == caught.value.status


def test_iam_sets_the_users_arn_account_and_access_key() -> None:
    """They are identity fields of the event; the secret key is in none of them."""
    url = presigned("ws://127.0.0.1:3001", ALICE.credentials, "us-east-1")
    target = "/" + url.partition("3001")[2].removeprefix("/")
    principal = asyncio.run(principal_of(iam_authorizer({"AKALICE": ALICE}), target))

    assert {} == principal.authorizer
    assert ALICE.arn == principal.identity["userArn"]
    assert "123456789012" == principal.identity["accountId"]
    assert {"AKALICE"} == {principal.identity[name] for name in ("accessKey", "caller", "user")}
    assert "secret" not in str(principal)


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_iam_refuses_an_unsigned_request_with_403(region: str) -> None:
    """The same status for every reason."""
    authorizer = iam_authorizer({"AKALICE": ALICE}, region)
    with pytest.raises(RefusedError) as caught:
        asyncio.run(principal_of(authorizer))
    assert 403 == caught.value.status

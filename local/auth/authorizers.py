"""The authorizers of API Gateway, which are called for `$connect` and no other route.

An authorizer runs before the function. It returns the principal that all events of the connection
name, or raises `RefusedError` with the HTTP status for the client.

Rules
- Statuses are API Gateway's: Developer Guide, "Use API Gateway Lambda authorizers" and "Gateway
  response types". Every refusal by IAM is 403.
- An authorizer that fails refuses every client: 500.

Unconfirmed: that message events name the principal too (they do here; nothing may rely on it), and
which fields of `identity` a WebSocket API fills in. What it does not know: the policies of IAM
users; every user with a key may connect.
"""

import asyncio
import json
import logging
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from local.auth.sigv4 import SignatureError, User, verify
from local.aws.account import ACCOUNT, REGION
from local.gateway.api import CONNECT, Event, Principal
from local.gateway.authorization import Authorizer, RefusedError
from local.gateway.http_connection import HttpRequest
from local.gateway.limits import AWS_QUOTAS, Limits
from local.invocation import Invoke

Auth = Literal["none", "iam", "jwt"]
"""The function's setting AUTH. API Gateway's authorization types: `NONE`, `AWS_IAM`, `CUSTOM`."""

ACTION = "execute-api:invoke"

logger = logging.getLogger(__name__)


def iam_authorizer(users: Mapping[str, User], region: str = REGION) -> Authorizer:
    """`AWS_IAM`: the handshake is signed by one of `users`, which are by access key."""

    async def authorize(request: HttpRequest, _event: Event) -> Principal:
        try:
            user = verify(request.target, request.headers, users, region, datetime.now(UTC))
        except SignatureError as error:
            logger.info("a handshake was refused: %s", error)
            raise RefusedError(403) from None
        return Principal(
            identity={
                "accountId": user.arn.split(":")[4],
                "accessKey": user.access_key,
                "caller": user.access_key,
                "user": user.access_key,
                "userArn": user.arn,
            }
        )

    return authorize


def lambda_authorizer(
    invoke: Invoke,
    *,
    region: str = REGION,
    account: str = ACCOUNT,
    limits: Limits = AWS_QUOTAS,
) -> Authorizer:
    """`CUSTOM`: a Lambda authorizer of type REQUEST returns a policy, or fails."""

    async def authorize(_request: HttpRequest, event: Event) -> Principal:
        context = event.content["requestContext"]
        route = f"{context['apiId']}/{context['stage']}/{CONNECT}"
        arn = f"arn:aws:execute-api:{region}:{account}:{route}"
        try:
            result = await asyncio.wait_for(
                invoke(_request_event(event.content, arn)), limits.integration
            )
        except Exception:
            logger.exception("the authorizer cannot be invoked")
            raise RefusedError(500) from None
        response = _parse(result.payload)
        if result.error is not None:
            unauthorized = response.get("errorMessage") == "Unauthorized"
            raise RefusedError(401 if unauthorized else 500)
        if len(result.payload) > limits.authorizer:
            logger.error("the authorizer's response is too long: %d bytes", len(result.payload))
            raise RefusedError(500)
        principal = _principal(response)
        if not allows(response.get("policyDocument"), arn):
            raise RefusedError(403)
        return principal

    return authorize


def _request_event(connect: Mapping[str, Any], arn: str) -> bytes:
    """The authorizer's event, built from the `$connect` event.

    Developer Guide, "Control access to WebSocket APIs with AWS Lambda REQUEST authorizers".
    """
    query: dict[str, Any] = {"queryStringParameters": {}, "multiValueQueryStringParameters": {}}
    event = {"type": "REQUEST", "methodArn": arn, "stageVariables": {}, **query, **connect}
    del event["isBase64Encoded"]
    return json.dumps(event, separators=(",", ":")).encode()


def _parse(payload: bytes) -> dict[str, Any]:
    try:
        response = json.loads(payload)
    except ValueError:
        return {}
    return response if isinstance(response, dict) else {}


def _principal(response: Mapping[str, Any]) -> Principal:
    """The principal in an authorizer's response, with its context, whose values are not nested."""
    name, context = response.get("principalId"), response.get("context") or {}
    flat = isinstance(context, dict) and all(
        isinstance(value, str | int | float | bool) for value in context.values()
    )
    if not isinstance(name, str) or not name or not flat:
        logger.error("the authorizer's response is invalid: no principalId, or a nested context")
        raise RefusedError(500)
    return Principal(authorizer={**context, "principalId": name})


def allows(policy: Any, arn: str) -> bool:
    """Whether an IAM policy document allows invoking `arn`. An explicit denial prevails.

    Raises RefusedError if it is not a policy, or has an element that is not supported here: to
    ignore a condition could allow what it denies.
    """
    try:
        statements = policy["Statement"]
        rows = statements if isinstance(statements, list) else [statements]
        effects = {row["Effect"] for row in rows if _applies(row, arn)}
    except (KeyError, TypeError, AttributeError):
        logger.exception("the authorizer's policy is invalid or not supported here")
        raise RefusedError(500) from None
    return effects == {"Allow"}


def _applies(row: Mapping[str, Any], arn: str) -> bool:
    if not row.keys() <= {"Sid", "Effect", "Action", "Resource"}:
        raise KeyError(*row)
    actions = (each.lower() for each in _as_list(row["Action"]))
    return _matches(actions, ACTION) and _matches(_as_list(row["Resource"]), arn)


def _as_list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _matches(patterns: Iterable[str], text: str) -> bool:
    """Matches with IAM's wildcards: `*` for any characters, `?` for one."""
    expressions = (re.escape(each).replace(r"\*", ".*").replace(r"\?", ".") for each in patterns)
    return any(re.fullmatch(each, text, re.DOTALL) for each in expressions)

"""Who may connect: the three ways in which API Gateway can ask, on `$connect` and nowhere else.

A guard is asked before the function is. It tells whom the connection's events name from then on,
or raises `RefusedError` with the status that the client gets.

Rules
- What API Gateway answers by: Developer Guide, "Use API Gateway Lambda authorizers" and "Gateway
  response types". Each refusal of IAM's is 403.
- An authorizer that is broken lets nobody in: 500.

Unconfirmed: that message events name the principal, too (they do here; nothing may rely on it), and
which of `identity`'s fields a WebSocket API fills. What it does not know: policies of IAM users;
whoever has a key here may connect.
"""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from local.auth.sigv4 import SignatureError, User, signer
from local.aws.moto_server import REGION
from local.gateway.api import CONNECT, Event, Principal
from local.gateway.http_front import HttpRequest
from local.gateway.limits import AWS_QUOTAS, Limits
from local.invocation import Invocation

ACCOUNT = "123456789012"
ACTION = "execute-api:invoke"

logger = logging.getLogger(__name__)


class RefusedError(Exception):
    """The client gets this HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


Guard = Callable[[HttpRequest, Event], Awaitable[Principal]]
"""Looks at a handshake and at the event made of it. Raises RefusedError."""


async def anybody(_request: HttpRequest, _event: Event) -> Principal:
    """`NONE`: nobody is asked."""
    return Principal()


def iam(users: Mapping[str, User], region: str = REGION) -> Guard:
    """`AWS_IAM`: the handshake is signed by one of the users, who are known by access key."""

    async def guard(request: HttpRequest, _event: Event) -> Principal:
        try:
            user = signer(request.target, request.headers, users, region, datetime.now(UTC))
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

    return guard


def custom(
    invoke: Invocation,
    *,
    region: str = REGION,
    account: str = ACCOUNT,
    limits: Limits = AWS_QUOTAS,
) -> Guard:
    """`CUSTOM`: a Lambda authorizer of type REQUEST returns a policy, or fails."""

    async def guard(_request: HttpRequest, event: Event) -> Principal:
        meta = event.content["requestContext"]
        place = f"{meta['apiId']}/{meta['stage']}/{CONNECT}"
        arn = f"arn:aws:execute-api:{region}:{account}:{place}"
        asking = asyncio.ensure_future(invoke(_request_event(event.content, arn)))
        try:
            result = await asyncio.wait_for(asking, limits.integration)
        except Exception:
            logger.exception("the authorizer cannot be asked")
            raise RefusedError(500) from None
        answer = _read(result.payload)
        if result.error is not None:
            unauthorized = answer.get("errorMessage") == "Unauthorized"
            raise RefusedError(401 if unauthorized else 500)
        if len(result.payload) > limits.authorizer:
            logger.error("the authorizer's answer is too long: %d bytes", len(result.payload))
            raise RefusedError(500)
        principal = _principal(answer)
        if not allows(answer.get("policyDocument"), arn):
            raise RefusedError(403)
        return principal

    return guard


def _request_event(connect: Mapping[str, Any], arn: str) -> bytes:
    """Developer Guide, "Control access to WebSocket APIs with AWS Lambda REQUEST authorizers"."""
    query: dict[str, Any] = {"queryStringParameters": {}, "multiValueQueryStringParameters": {}}
    event = {"type": "REQUEST", "methodArn": arn, "stageVariables": {}, **query, **connect}
    del event["isBase64Encoded"]
    return json.dumps(event, separators=(",", ":")).encode()


def _read(payload: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(payload)
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {}


def _principal(answer: Mapping[str, Any]) -> Principal:
    """Whom the authorizer names, with what it says of them. Its values may not be nested."""
    name, context = answer.get("principalId"), answer.get("context") or {}
    flat = isinstance(context, dict) and all(
        isinstance(value, str | int | float | bool) for value in context.values()
    )
    if not isinstance(name, str) or not name or not flat:
        logger.error("the authorizer's answer is none: no principalId, or a nested context")
        raise RefusedError(500)
    return Principal(authorizer={**context, "principalId": name})


def allows(policy: Any, arn: str) -> bool:
    """Whether an IAM policy document lets its bearer invoke this. A denial outweighs all else.

    Raises RefusedError for what is no policy, and for elements that are not understood here: to
    pass over a condition could let somebody in.
    """
    try:
        statements = policy["Statement"]
        rows = statements if isinstance(statements, list) else [statements]
        effects = {row["Effect"] for row in rows if _concerns(row, arn)}
    except (KeyError, TypeError, AttributeError):
        logger.exception("the authorizer's policy is none that is understood here")
        raise RefusedError(500) from None
    return effects == {"Allow"}


def _concerns(row: Mapping[str, Any], arn: str) -> bool:
    if not row.keys() <= {"Sid", "Effect", "Action", "Resource"}:
        raise KeyError(*row)
    actions = (each.lower() for each in _several(row["Action"]))
    return _matches(actions, ACTION) and _matches(_several(row["Resource"]), arn)


def _several(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def _matches(patterns: Any, text: str) -> bool:
    """IAM's wildcards: `*` for any characters, `?` for one."""
    expressions = (re.escape(each).replace(r"\*", ".*").replace(r"\?", ".") for each in patterns)
    return any(re.fullmatch(each, text, re.DOTALL) for each in expressions)

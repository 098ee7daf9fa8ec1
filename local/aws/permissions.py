"""Which IAM permissions an AWS call needs: a table from requests to actions and resources. Pure.

Rules
- A request is told by what every SDK sends: the service in its signature's scope, its path and
  headers, and the JSON of its body.
- What the table does not know becomes an action that nobody has (`unknown:...`), so that an
  evaluation fails loudly where a call is new.
- Where one call is authorised more than once (a transaction's parts, a profile and the models
  behind it), each is a permission of its own.

Sources: Service Authorization Reference; DynamoDB Developer Guide, "Using IAM with DynamoDB
transactions"; Bedrock User Guide, "Prerequisites for inference profiles" and "Global cross-Region
inference"; API Gateway Developer Guide, "Use IAM authorization" (WebSocket `@connections`).
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

# Authorization: AWS4-HMAC-SHA256 Credential=<key>/<date>/<region>/<service>/aws4_request, ...
_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
_INVOKE = re.compile(r"/model/(?P<model>.+)/invoke-with-response-stream")
_CONNECTION = re.compile(r"/(?P<stage>[^/]+)/@connections/(?P<id>[^/]+)")

# The actions that a transaction's parts need.
_PARTS = {
    "ConditionCheck": "ConditionCheckItem",
    "Delete": "DeleteItem",
    "Put": "PutItem",
    "Update": "UpdateItem",
}
_ON_ONE_TABLE = ("DeleteItem", "GetItem", "PutItem", "Query", "Scan", "UpdateItem")
_ON_SOME_TABLES = ("BatchGetItem", "BatchWriteItem")
# An inference profile of AWS's own: `global.`, or a geography such as `us.` or `apac.`.
_PROFILE = re.compile(r"(?P<geography>global|us-gov|[a-z]{2}|apac)\.(?P<model>[a-z0-9-]+\..+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One question to IAM. `operation` is the call that it was asked for."""

    operation: str
    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Whose account, and which API: what requests to a local endpoint do not tell.

    `regions_of` has, by the name of an inference profile's geography, the Regions to which it may
    send a call made here ("" where there is none in an ARN).
    """

    account: str
    api_id: str
    regions_of: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request to AWS. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def scope(self) -> tuple[str, str]:
        """The Region and the service that it was signed for; ("", "") without a signature."""
        match = _SCOPE.search(self.headers.get("authorization", ""))
        return (match["region"], match["service"]) if match else ("", "")


def needed(request: Request, place: Place) -> tuple[Permission, ...]:
    """The permissions that AWS would look for."""
    region, service = request.scope
    read = _SERVICES.get(service, _unknown)
    return tuple(read(request, region, place))


def _dynamodb(request: Request, region: str, place: Place) -> Iterator[Permission]:
    operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
    asked = json.loads(request.body)

    def permission(action: str, table: str, **context: str) -> Permission:
        return Permission(
            operation=operation,
            action=f"dynamodb:{action}",
            resource=f"arn:aws:dynamodb:{region}:{place.account}:table/{table}",
            context=context,
        )

    if operation == "TransactWriteItems":
        enclosing = {"dynamodb:EnclosingOperation": operation}
        for item in asked["TransactItems"]:
            [(part, write)] = item.items()
            yield permission(_PARTS[part], write["TableName"], **enclosing)
    elif operation in _ON_SOME_TABLES:
        yield from (permission(operation, table) for table in asked["RequestItems"])
    elif operation in _ON_ONE_TABLE and "IndexName" not in asked:
        yield permission(operation, asked["TableName"])
    else:
        yield from _unknown(request, region, place)


def _bedrock(request: Request, region: str, place: Place) -> Iterator[Permission]:
    match = _INVOKE.fullmatch(request.path)
    if match is None:
        yield from _unknown(request, region, place)
        return

    def permission(resource: str, **context: str) -> Permission:
        return Permission(
            operation="InvokeModelWithResponseStream",
            action="bedrock:InvokeModelWithResponseStream",
            resource=resource,
            context=context,
        )

    model = unquote(match["model"])
    profile = _PROFILE.fullmatch(model)
    if profile is None:
        arn = f"arn:aws:bedrock:{region}::foundation-model/{model}"
        yield permission(model if model.startswith("arn:") else arn)
    else:
        arn = f"arn:aws:bedrock:{region}:{place.account}:inference-profile/{model}"
        yield permission(arn)
        for each in place.regions_of[profile["geography"]]:
            yield permission(
                f"arn:aws:bedrock:{each}::foundation-model/{profile['model']}",
                **{"bedrock:InferenceProfileArn": arn},
            )
    if guardrail := request.headers.get("x-amzn-bedrock-guardrailidentifier"):
        arn = f"arn:aws:bedrock:{region}:{place.account}:guardrail/{guardrail}"
        yield Permission(
            operation="InvokeModelWithResponseStream",
            action="bedrock:ApplyGuardrail",
            resource=guardrail if guardrail.startswith("arn:") else arn,
        )


def _execute_api(request: Request, region: str, place: Place) -> Iterator[Permission]:
    match = _CONNECTION.fullmatch(unquote(request.path))
    if match is None:
        yield from _unknown(request, region, place)
        return
    verb = {"POST": "PostToConnection", "GET": "GetConnection", "DELETE": "DeleteConnection"}
    api = f"arn:aws:execute-api:{region}:{place.account}:{place.api_id}"
    yield Permission(
        operation=verb[request.method],
        action="execute-api:ManageConnections",
        resource=f"{api}/{match['stage']}/{request.method}/@connections/{match['id']}",
    )


def _unknown(request: Request, _region: str, _place: Place) -> Iterator[Permission]:
    service = request.scope[1] or "unsigned"
    what = request.headers.get("x-amz-target") or f"{request.method} {request.path}"
    yield Permission(operation=f"{service} {what}", action="unknown:Action", resource="*")


_SERVICES: Mapping[str, Any] = {
    "bedrock": _bedrock,
    "dynamodb": _dynamodb,
    "execute-api": _execute_api,
}

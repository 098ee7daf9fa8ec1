"""Which IAM permissions an AWS call needs: a table from requests to actions and resources. Pure.

Rules
- A call is identified by what every SDK sends: the service in its signature's scope, its path and
  headers, and the JSON of its body.
- An unknown call needs an action that does not exist (`unknown:...`), so that an evaluation fails
  for a call that is new.
- Where one call needs several authorizations (a transaction's parts, a profile and its models),
  each is a permission of its own.

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
    """One authorization by IAM. `operation` is the call that needs it."""

    operation: str
    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountContext:
    """The account and the API, which cannot be read from requests to a local endpoint.

    `profile_regions` has, by the geography of an inference profile, the Regions to which it may
    route a call ("" where the ARN has no Region).
    """

    account_id: str
    api_id: str
    profile_regions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request to AWS. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def scope(self) -> tuple[str, str]:
        """The Region and the service of the signature; ("", "") without a signature."""
        match = _SCOPE.search(self.headers.get("authorization", ""))
        return (match["region"], match["service"]) if match else ("", "")


def required_permissions(request: Request, account: AccountContext) -> tuple[Permission, ...]:
    """Returns the permissions that AWS would check for a request."""
    region, service = request.scope
    permissions = _SERVICES.get(service, _unknown)
    return tuple(permissions(request, region, account))


def _dynamodb(request: Request, region: str, account: AccountContext) -> Iterator[Permission]:
    operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
    parameters = json.loads(request.body)

    def permission(action: str, table: str, **context: str) -> Permission:
        return Permission(
            operation=operation,
            action=f"dynamodb:{action}",
            resource=f"arn:aws:dynamodb:{region}:{account.account_id}:table/{table}",
            context=context,
        )

    if operation == "TransactWriteItems":
        enclosing = {"dynamodb:EnclosingOperation": operation}
        for item in parameters["TransactItems"]:
            [(part, write)] = item.items()
            yield permission(_PARTS[part], write["TableName"], **enclosing)
    elif operation in _ON_SOME_TABLES:
        yield from (permission(operation, table) for table in parameters["RequestItems"])
    elif operation in _ON_ONE_TABLE and "IndexName" not in parameters:
        yield permission(operation, parameters["TableName"])
    else:
        yield from _unknown(request, region, account)


def _bedrock(request: Request, region: str, account: AccountContext) -> Iterator[Permission]:
    match = _INVOKE.fullmatch(request.path)
    if match is None:
        yield from _unknown(request, region, account)
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
        arn = f"arn:aws:bedrock:{region}:{account.account_id}:inference-profile/{model}"
        yield permission(arn)
        for each in account.profile_regions[profile["geography"]]:
            yield permission(
                f"arn:aws:bedrock:{each}::foundation-model/{profile['model']}",
                **{"bedrock:InferenceProfileArn": arn},
            )
    if guardrail := request.headers.get("x-amzn-bedrock-guardrailidentifier"):
        arn = f"arn:aws:bedrock:{region}:{account.account_id}:guardrail/{guardrail}"
        yield Permission(
            operation="InvokeModelWithResponseStream",
            action="bedrock:ApplyGuardrail",
            resource=guardrail if guardrail.startswith("arn:") else arn,
        )


def _execute_api(request: Request, region: str, account: AccountContext) -> Iterator[Permission]:
    match = _CONNECTION.fullmatch(unquote(request.path))
    if match is None:
        yield from _unknown(request, region, account)
        return
    verb = {"POST": "PostToConnection", "GET": "GetConnection", "DELETE": "DeleteConnection"}
    api = f"arn:aws:execute-api:{region}:{account.account_id}:{account.api_id}"
    yield Permission(
        operation=verb[request.method],
        action="execute-api:ManageConnections",
        resource=f"{api}/{match['stage']}/{request.method}/@connections/{match['id']}",
    )


def _unknown(request: Request, _region: str, _account: AccountContext) -> Iterator[Permission]:
    service = request.scope[1] or "unsigned"
    operation = request.headers.get("x-amz-target") or f"{request.method} {request.path}"
    yield Permission(operation=f"{service} {operation}", action="unknown:Action", resource="*")


_SERVICES: Mapping[str, Any] = {
    "bedrock": _bedrock,
    "dynamodb": _dynamodb,
    "execute-api": _execute_api,
}

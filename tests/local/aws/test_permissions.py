"""Covers local/aws/permissions.py: which actions and resources a request needs."""

import json
from typing import Any

import pytest

from local.aws.permissions import Permission, Place, Request, needed

PLACE = Place(account="123456789012", api_id="abc", regions_of={"us": ("us-east-1", "us-west-2")})
TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table"
MODELS = "arn:aws:bedrock:us-east-1::foundation-model"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.meta.llama3-3-70b-v1:0"


def signed_for(service: str, **headers: str) -> dict[str, str]:
    scope = f"Credential=KEY/20260131/us-east-1/{service}/aws4_request"
    return {"authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host", **headers}


def dynamodb(operation: str, **asked: Any) -> Request:
    headers = signed_for("dynamodb", **{"x-amz-target": f"DynamoDB_20120810.{operation}"})
    return Request(method="POST", path="/", headers=headers, body=json.dumps(asked).encode())


def bedrock(model: str, **headers: str) -> Request:
    path = f"/model/{model}/invoke-with-response-stream"
    return Request(method="POST", path=path, headers=signed_for("bedrock", **headers), body=b"")


def connection(method: str, path: str = "/live/%40connections/abc%3D") -> Request:
    return Request(method=method, path=path, headers=signed_for("execute-api"), body=b"")


def asked(request: Request) -> list[tuple[str, str]]:
    return [(each.action, each.resource) for each in needed(request, PLACE)]


@pytest.mark.parametrize("operation", ["GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"])
def test_an_operation_on_one_table(operation: str) -> None:
    """Needs the action of its name, on the table."""
    expected = [(f"dynamodb:{operation}", f"{TABLE}/chat")]

    assert expected == asked(dynamodb(operation, TableName="chat"))


def test_a_transaction_needs_what_its_parts_need() -> None:
    """Never an action of its own; each part knows what it is part of."""
    parts = ("ConditionCheck", "Put", "Update", "Delete")
    request = dynamodb("TransactWriteItems", TransactItems=[{p: {"TableName": p}} for p in parts])

    assert [
        ("dynamodb:ConditionCheckItem", f"{TABLE}/ConditionCheck"),
        ("dynamodb:PutItem", f"{TABLE}/Put"),
        ("dynamodb:UpdateItem", f"{TABLE}/Update"),
        ("dynamodb:DeleteItem", f"{TABLE}/Delete"),
    ] == asked(request)
    assert {"dynamodb:EnclosingOperation": "TransactWriteItems"} == needed(request, PLACE)[
        0
    ].context


def test_a_batch_needs_its_action_on_each_table() -> None:
    """However many requests there are for one."""
    request = dynamodb("BatchWriteItem", RequestItems={"one": [{}, {}], "two": [{}]})

    assert [("dynamodb:BatchWriteItem", f"{TABLE}/{name}") for name in ("one", "two")] == asked(
        request
    )


def test_a_profile_needs_the_models_behind_it() -> None:
    """The profile itself, and through it alone the model in each Region that it may choose."""
    permissions = needed(bedrock("us.meta.llama3-3-70b-v1%3A0"), PLACE)
    action = "bedrock:InvokeModelWithResponseStream"

    assert [
        (action, PROFILE, {}),
        *(
            (
                action,
                f"arn:aws:bedrock:{region}::foundation-model/meta.llama3-3-70b-v1:0",
                {"bedrock:InferenceProfileArn": PROFILE},
            )
            for region in ("us-east-1", "us-west-2")
        ),
    ] == [(each.action, each.resource, each.context) for each in permissions]


@pytest.mark.parametrize(
    ("model", "arn"),
    [
        ("anthropic.claude-3-haiku-v1%3A0", f"{MODELS}/anthropic.claude-3-haiku-v1:0"),
        ("ai21.jamba-1-5-mini-v1%3A0", f"{MODELS}/ai21.jamba-1-5-mini-v1:0"),
        ("arn%3Aaws%3Abedrock%3A%3A%3Aimported%2Fx", "arn:aws:bedrock:::imported/x"),
    ],
)
def test_a_model_needs_itself(model: str, arn: str) -> None:
    """By its id in the Region of the call, or by its ARN."""
    assert [("bedrock:InvokeModelWithResponseStream", arn)] == asked(bedrock(model))


@pytest.mark.parametrize("given", ["gr1", "arn:aws:bedrock:us-east-1:123456789012:guardrail/gr1"])
def test_a_guardrail_needs_to_be_applied(given: str) -> None:
    """By its id or its ARN."""
    headers = {"x-amzn-bedrock-guardrailidentifier": given}
    arn = "arn:aws:bedrock:us-east-1:123456789012:guardrail/gr1"

    assert ("bedrock:ApplyGuardrail", arn) == asked(bedrock("amazon.titan", **headers))[-1]


@pytest.mark.parametrize(
    ("method", "operation"),
    [("POST", "PostToConnection"), ("GET", "GetConnection"), ("DELETE", "DeleteConnection")],
)
def test_a_connection_is_managed_by_verb(method: str, operation: str) -> None:
    """The verb is in the ARN, so that one may be granted without the others."""
    arn = f"arn:aws:execute-api:us-east-1:123456789012:abc/live/{method}/@connections/abc="

    assert (
        Permission(operation=operation, action="execute-api:ManageConnections", resource=arn),
    ) == needed(connection(method), PLACE)


@pytest.mark.parametrize(
    ("request_", "operation"),
    [
        (dynamodb("CreateTable"), "dynamodb DynamoDB_20120810.CreateTable"),
        (
            dynamodb("Query", TableName="chat", IndexName="by-time"),
            "dynamodb DynamoDB_20120810.Query",
        ),
        (
            Request(method="POST", path="/model/x/invoke", headers=signed_for("bedrock"), body=b""),
            "bedrock POST /model/x/invoke",
        ),
        (connection("POST", "/elsewhere"), "execute-api POST /elsewhere"),
        (Request(method="GET", path="/b/k", headers=signed_for("s3"), body=b""), "s3 GET /b/k"),
        (Request(method="GET", path="/", headers={}, body=b""), "unsigned GET /"),
    ],
)
def test_what_is_not_known_is_granted_to_nobody(request_: Request, operation: str) -> None:
    """A new call is not passed over: it asks for an action that AWS does not have."""
    unknown = Permission(operation=operation, action="unknown:Action", resource="*")

    assert (unknown,) == needed(request_, PLACE)

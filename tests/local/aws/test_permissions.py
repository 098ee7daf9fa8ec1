"""Covers local/aws/permissions.py: which actions and resources a request needs."""

import json
from typing import Any

import pytest

from local.aws.permissions import AccountContext, Permission, Request, required_permissions

ACCOUNT = AccountContext(
    account_id="123456789012",
    api_id="abc",
    profile_regions={"us": ("us-east-1", "us-west-2")},
)
TABLE = "arn:aws:dynamodb:us-east-1:123456789012:table"
MODELS = "arn:aws:bedrock:us-east-1::foundation-model"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.meta.llama3-3-70b-v1:0"


def signed_for(service: str, **headers: str) -> dict[str, str]:
    scope = f"Credential=KEY/20260131/us-east-1/{service}/aws4_request"
    return {"authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host", **headers}


def dynamodb(operation: str, **parameters: Any) -> Request:
    headers = signed_for("dynamodb", **{"x-amz-target": f"DynamoDB_20120810.{operation}"})
    return Request(method="POST", path="/", headers=headers, body=json.dumps(parameters).encode())


def bedrock(model: str, **headers: str) -> Request:
    path = f"/model/{model}/invoke-with-response-stream"
    return Request(method="POST", path=path, headers=signed_for("bedrock", **headers), body=b"")


def connection(method: str, path: str = "/live/%40connections/abc%3D") -> Request:
    return Request(method=method, path=path, headers=signed_for("execute-api"), body=b"")


def required(request: Request) -> list[tuple[str, str]]:
    return [(each.action, each.resource) for each in required_permissions(request, ACCOUNT)]


@pytest.mark.parametrize("operation", ["GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"])
def test_an_operation_needs_the_action_of_its_name_on_its_table(operation: str) -> None:
    """For the operations that name one table."""
    expected = [(f"dynamodb:{operation}", f"{TABLE}/chat")]

    assert expected == required(dynamodb(operation, TableName="chat"))


def test_a_transaction_needs_the_actions_of_its_parts() -> None:
    """There is no action for the transaction itself; it is the context of each part."""
    parts = ("ConditionCheck", "Put", "Update", "Delete")
    request = dynamodb("TransactWriteItems", TransactItems=[{p: {"TableName": p}} for p in parts])

    assert [
        ("dynamodb:ConditionCheckItem", f"{TABLE}/ConditionCheck"),
        ("dynamodb:PutItem", f"{TABLE}/Put"),
        ("dynamodb:UpdateItem", f"{TABLE}/Update"),
        ("dynamodb:DeleteItem", f"{TABLE}/Delete"),
    ] == required(request)
    assert {"dynamodb:EnclosingOperation": "TransactWriteItems"} == required_permissions(
        request, ACCOUNT
    )[0].context


def test_a_batch_needs_its_action_on_each_table() -> None:
    """Once per table, for any number of requests."""
    request = dynamodb("BatchWriteItem", RequestItems={"one": [{}, {}], "two": [{}]})

    assert [("dynamodb:BatchWriteItem", f"{TABLE}/{name}") for name in ("one", "two")] == required(
        request
    )


def test_an_inference_profile_needs_itself_and_its_models() -> None:
    """The model in each Region to which the profile may route, and only through the profile."""
    permissions = required_permissions(bedrock("us.meta.llama3-3-70b-v1%3A0"), ACCOUNT)
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
def test_a_model_needs_the_arn_of_the_model(model: str, arn: str) -> None:
    """An id in the Region of the call, or the ARN that was given."""
    assert [("bedrock:InvokeModelWithResponseStream", arn)] == required(bedrock(model))


@pytest.mark.parametrize(
    "guardrail", ["gr1", "arn:aws:bedrock:us-east-1:123456789012:guardrail/gr1"]
)
def test_a_guardrail_needs_apply_guardrail(guardrail: str) -> None:
    """For its id or its ARN."""
    headers = {"x-amzn-bedrock-guardrailidentifier": guardrail}
    arn = "arn:aws:bedrock:us-east-1:123456789012:guardrail/gr1"

    assert ("bedrock:ApplyGuardrail", arn) == required(bedrock("amazon.titan", **headers))[-1]


@pytest.mark.parametrize(
    ("method", "operation"),
    [("POST", "PostToConnection"), ("GET", "GetConnection"), ("DELETE", "DeleteConnection")],
)
def test_a_connection_needs_manage_connections_for_the_method(method: str, operation: str) -> None:
    """The HTTP method is in the ARN, so that each can be granted by itself."""
    arn = f"arn:aws:execute-api:us-east-1:123456789012:abc/live/{method}/@connections/abc="

    assert (
        Permission(operation=operation, action="execute-api:ManageConnections", resource=arn),
    ) == required_permissions(connection(method), ACCOUNT)


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
def test_an_unknown_call_needs_an_action_that_does_not_exist(
    request_: Request, operation: str
) -> None:
    """A new call is never ignored: no policy can allow it."""
    unknown = Permission(operation=operation, action="unknown:Action", resource="*")

    assert (unknown,) == required_permissions(request_, ACCOUNT)

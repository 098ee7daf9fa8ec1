"""Covers deploy/state.py: a run that would damage a deployment is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber
from moto import mock_aws

from deploy import state
from deploy.checks import DoubtfulError, RefusedError, UnknownError
from deploy.environments import Environment
from deploy.state import Identity

ACCOUNT = "123456789012"
CHAT = Identity("chat", "eu-west-1", ACCOUNT)
DEFAULT = Environment("", Path())
PROD = Environment("prod", Path())


def resource(kind: str, name: str, service: str, **more: Any) -> dict[str, Any]:
    arn = f"arn:aws:{service}:{CHAT.region}:{ACCOUNT}:{name}"
    attributes = {"name": name, "arn": arn, **more}
    return {"mode": "managed", "type": kind, "instances": [{"attributes": attributes}]}


TABLE = resource("aws_dynamodb_table", "chat", "dynamodb")
QUEUE = resource("aws_sqs_queue", "chat-dead-letters", "sqs")
LOGS = resource("aws_cloudwatch_log_group", "/aws/apigateway/chat", "logs")
OTHERS = [
    resource("aws_cloudwatch_log_group", "/aws/lambda/chat", "logs", arn=None),
    {"mode": "data", "type": "aws_dynamodb_table", "instances": [{"attributes": {"name": "x"}}]},
]


@pytest.mark.parametrize("resources", [[TABLE], [QUEUE], [LOGS], [LOGS, QUEUE, TABLE]])
def test_the_deployment_is_known_from_any_part_of_it(resources: list[Any]) -> None:
    """Of a first run that ended half-way, the state has only some, and no outputs."""
    assert CHAT == state.recorded({"resources": [*OTHERS, *resources]})


@pytest.mark.parametrize("stored", [{}, {"resources": []}, {"resources": OTHERS[1:]}])
def test_a_state_without_resources_has_no_deployment(stored: dict[str, Any]) -> None:
    """A state that does not exist, that is empty, and that has only data sources."""
    assert None is state.recorded(stored)


@pytest.mark.parametrize(
    ("changed", "suggested"),
    [
        ({"name": "chat-2"}, "ENV=chat-2"),
        ({"region": "us-east-1"}, "ENV=us-east-1"),
        ({"account": "999999999999"}, "ENV=prod"),
    ],
)
def test_another_name_region_or_account_is_refused(changed: dict[str, str], suggested: str) -> None:
    """With the environment that would be right."""
    meant = Identity(**{"name": "chat", "region": "eu-west-1", "account": ACCOUNT, **changed})
    with pytest.raises(RefusedError) as refused:
        state.compared(CHAT, meant, DEFAULT, "")

    assert suggested in str(refused.value)
    assert str(CHAT) in str(refused.value)
    assert "conversations" in str(refused.value) or "name" not in changed


@pytest.mark.parametrize("force", ["", "1", "chat-2"])
def test_only_the_name_at_risk_overrides_the_refusal(force: str) -> None:
    """FORCE=1, and the new name, do not."""
    meant = Identity("chat-2", "eu-west-1", ACCOUNT)
    with pytest.raises(RefusedError):
        state.compared(CHAT, meant, DEFAULT, force)

    assert state.compared(CHAT, meant, DEFAULT, "chat")[0]


def test_no_force_overrides_where_the_name_is_not_known() -> None:
    """An empty FORCE is not that name."""
    with pytest.raises(RefusedError):
        state.compared(Identity("", "us-east-1", ACCOUNT), CHAT, DEFAULT, "")


def test_the_same_deployment_and_an_empty_state_are_accepted() -> None:
    """And distinguished; what is not known is no difference."""
    assert (True, str(CHAT)) == state.compared(CHAT, CHAT, PROD, "")
    assert (False, "that of ENV=prod is empty") == state.compared(None, CHAT, PROD, "")
    assert state.compared(Identity("chat"), CHAT, PROD, "")[0]


def clients() -> Callable[[Any], Any]:
    return lambda service: boto3.client(service, region_name=CHAT.region)


def table(*, protected: bool = False) -> None:
    clients()("dynamodb").create_table(
        TableName="chat",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        DeletionProtectionEnabled=protected,
    )


def role(name: str = "chat-eu-west-1-function") -> str:
    iam = boto3.client("iam")
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
    return str(made["Role"]["Arn"])


def function() -> None:
    clients()("lambda").create_function(
        FunctionName="chat",
        Role=role("any"),
        Code={"ZipFile": b"x"},
        Handler="h",
        Runtime="python3.13",
    )


def queue() -> None:
    clients()("sqs").create_queue(QueueName="chat-dead-letters")


@mock_aws
@pytest.mark.parametrize("make", [table, role, queue, function])
def test_a_deployment_that_exists_and_is_not_in_the_state_is_refused(
    make: Callable[[], Any],
) -> None:
    """By any part of it: a colleague's run would take over what is not refused by AWS."""
    assert "nothing of chat" in state.unclaimed(clients(), CHAT, DEFAULT, "")[1]
    make()
    with pytest.raises(RefusedError, match=r"has a .* already, and the state of .* is empty"):
        state.unclaimed(clients(), CHAT, DEFAULT, "1")

    assert state.unclaimed(clients(), CHAT, DEFAULT, "chat")[0]


@mock_aws
def test_a_part_that_the_state_lacks_is_a_warning() -> None:
    """Such as what an interrupted run has created; parts in the state are not looked for."""
    table()
    stored = {"resources": [TABLE]}

    assert state.claimed(clients(), CHAT, stored)[0]
    queue()
    with pytest.raises(DoubtfulError, match="not in the state: queue chat-dead-letters"):
        state.claimed(clients(), CHAT, stored)


def refusing(service: str) -> Any:
    client = clients()(service)
    answers = Stubber(client)
    operation = {
        "dynamodb": "describe_table",
        "lambda": "get_function_configuration",
        "sqs": "get_queue_url",
        "iam": "get_role",
    }[service]
    answers.add_client_error(operation, "AccessDenied")
    answers.activate()
    return client


def unreachable(service: str) -> Any:
    client = clients()(service)

    def raise_it(*_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://x")

    client._make_api_call = raise_it
    return client


@pytest.mark.parametrize("client", [refusing, unreachable])
def test_what_may_not_be_read_is_unknown(client: Callable[[str], Any]) -> None:
    """Deploying needs no such permission, so nothing is refused."""
    with pytest.raises(UnknownError, match=r"table .*; function .*; queue .*; role "):
        state.unclaimed(client, CHAT, DEFAULT, "")
    with pytest.raises(UnknownError):
        state.deletable(client, CHAT, {})


@mock_aws
def test_a_protected_table_is_found_before_anything_is_destroyed() -> None:
    """With the command that switches the protection off."""
    assert state.deletable(clients(), CHAT, {})[0]
    table(protected=True)
    with pytest.raises(RefusedError, match="--no-deletion-protection-enabled"):
        state.deletable(clients(), CHAT, {})

    clients()("dynamodb").update_table(TableName="chat", DeletionProtectionEnabled=False)
    assert (True, "the table chat is not protected") == state.deletable(clients(), CHAT, {})


@mock_aws
@pytest.mark.parametrize(
    ("answer", "refused"),
    [("ACTIVE", True), ("INACTIVE", False), ("ResourceNotFoundException", False)],
)
def test_a_protected_user_pool_is_found_before_anything_is_destroyed(
    answer: str, refused: bool
) -> None:
    """Terraform would destroy everything else first, and fail then."""
    pool = resource("aws_cognito_user_pool", "chat", "cognito-idp", id="eu-west-1_x")
    cognito = boto3.client("cognito-idp", CHAT.region)
    table()

    with Stubber(cognito) as stub:
        if answer.endswith("Exception"):
            stub.add_client_error("describe_user_pool", answer)
        else:
            found = {"UserPool": {"DeletionProtection": answer}}
            stub.add_response("describe_user_pool", found, {"UserPoolId": "eu-west-1_x"})

        def client(service: str) -> Any:
            return cognito if service == "cognito-idp" else clients()(service)

        if refused:
            with pytest.raises(RefusedError, match="deletion_protection=false"):
                state.deletable(client, CHAT, {"resources": [pool]})
        else:
            assert state.deletable(client, CHAT, {"resources": [pool]})[0]
        stub.assert_no_pending_responses()

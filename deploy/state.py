"""Compares Terraform's state with what a run is about to do, and with what exists.

Rules
- A deployment is a name in a Region of an account. Applied to the state of another one, Terraform
  would replace that one, with its conversations, or lose track of it: such a run is refused.
- A deployment that exists and is not in the state belongs to other people, or its state is
  elsewhere: a run that would take over parts of it is refused.
- `FORCE=<name>`, with the name of the deployment at risk, continues all the same.
- AWS is only read. What may not be read is unknown, and refuses nothing.

Resources are found by their type, wherever a module puts them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from deploy.checks import DoubtfulError, RefusedError, UnknownError
from deploy.environments import Environment

# The resources that contain a deployment's name, the best evidence first: type, attribute, and what
# precedes and follows the name in it. All are created early.
_NAMED = (
    ("aws_dynamodb_table", "name", "", ""),
    ("aws_cloudwatch_log_group", "name", "/aws/apigateway/", ""),
    ("aws_sqs_queue", "name", "", "-dead-letters"),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Which deployment it is; "" where that is not known."""

    name: str = ""
    region: str = ""
    account: str = ""

    def __str__(self) -> str:
        return f"{self.name or '?'} in {self.region or '?'} of account {self.account or '?'}"


def instances(state: Mapping[str, Any], kind: str = "") -> Iterator[Mapping[str, Any]]:
    """The attributes of the managed resources in a state, of one type or of all."""
    for resource in state.get("resources", ()):
        if resource["mode"] == "managed" and kind in ("", resource["type"]):
            yield from (each.get("attributes") or {} for each in resource["instances"])


def recorded(state: Mapping[str, Any]) -> Identity | None:
    """The deployment of a state; None if the state has no resources."""
    if not any(True for _ in instances(state)):
        return None
    name, region, account = "", "", ""
    for kind, attribute, before, after in _NAMED:
        for found in instances(state, kind):
            value = str(found.get(attribute) or "")
            if not value.startswith(before) or not value.endswith(after):
                continue
            name = name or value.removeprefix(before).removesuffix(after)
            parts = str(found.get("arn") or "").split(":")  # arn:partition:service:region:account:
            if len(parts) > 5:
                region, account = region or parts[3], account or parts[4]
    return Identity(name, region, account)


def changes(old: Identity, new: Identity) -> list[str]:
    """The parts in which the two differ, as far as both are known."""
    return [
        each.name
        for each in fields(Identity)
        if "" not in (pair := (getattr(old, each.name), getattr(new, each.name)))
        and pair[0] != pair[1]
    ]


def compared(
    old: Identity | None, new: Identity, environment: Environment, force: str
) -> tuple[bool, str]:
    """Whether the state has a deployment, which is the one that is meant.

    Raises:
        RefusedError: it is another one.
    """
    if old is None:
        return False, f"that of {environment} is empty"
    differing = changes(old, new)
    if differing and (not force or force != old.name):
        harm = "replace it, its conversations included" if "name" in differing else "lose it"
        raise RefusedError(
            f"The state of {environment} has the deployment {old}, and this run is for {new}: it "
            f"would {harm}. Select an environment of its own with ENV=..., such as "
            f"ENV={_suggestion(new, differing)}, or undo the change of {' and '.join(differing)}. "
            f"(FORCE={old.name} continues all the same.)"
        )
    return True, str(old)


def _suggestion(new: Identity, differing: list[str]) -> str:
    return str(getattr(new, differing[0])) if differing != ["account"] else "prod"


# -- what exists -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of the deployment: its type and name in the state, and how to read it from AWS."""

    kind: str
    attribute: str
    name: str
    service: str
    read: Callable[[Any, str], Any]

    def named(self, meant: Identity) -> str:
        return self.name.format(name=meant.name, region=meant.region)


_PARTS = {
    "table": _Part(
        "aws_dynamodb_table",
        "name",
        "{name}",
        "dynamodb",
        lambda client, name: client.describe_table(TableName=name),
    ),
    "function": _Part(
        "aws_lambda_function",
        "function_name",
        "{name}",
        "lambda",
        lambda client, name: client.get_function_configuration(FunctionName=name),
    ),
    "queue": _Part(
        "aws_sqs_queue",
        "name",
        "{name}-dead-letters",
        "sqs",
        lambda client, name: client.get_queue_url(QueueName=name),
    ),
    "role": _Part(
        "aws_iam_role",
        "name",
        "{name}-{region}-function",
        "iam",
        lambda client, name: client.get_role(RoleName=name),
    ),
}
_ABSENT = (
    "AWS.SimpleQueueService.NonExistentQueue",
    "NoSuchEntity",
    "QueueDoesNotExist",
    "ResourceNotFoundException",
)


def existing(
    client: Callable[[str], Any], meant: Identity, state: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """The parts that exist and are not in the state, and those of which AWS does not say it."""
    found, unknown = [], []
    for part, row in _PARTS.items():
        name = row.named(meant)
        if any(each.get(row.attribute) == name for each in instances(state, row.kind)):
            continue
        try:
            row.read(client(row.service), name)
        except ClientError as error:
            if error.response["Error"]["Code"] not in _ABSENT:
                unknown.append(f"{part} ({error})")
        except BotoCoreError as error:
            unknown.append(f"{part} ({error})")
        else:
            found.append(part)
    return found, unknown


def unclaimed(
    client: Callable[[str], Any], meant: Identity, environment: Environment, force: str
) -> tuple[bool, str]:
    """For an empty state: that nothing of this name exists.

    Raises:
        RefusedError: something does.
        UnknownError: AWS does not say it of some part.
    """
    found, unknown = existing(client, meant, {})
    if found and force != meant.name:
        raise RefusedError(
            f"{meant} has a {', a '.join(found)} already, and the state of {environment} is empty: "
            "this run would take over a part of it, and destroy it later. Choose another name, the "
            "ENV=... of that deployment, or its shared state (terraform/backend.tf); or import it: "
            f"docs/deploy.md, State. (FORCE={meant.name} continues all the same.)"
        )
    if unknown:
        raise UnknownError(f"AWS does not say whether it exists: {'; '.join(unknown)}")
    return True, f"nothing of {meant} exists yet" if not found else f"FORCE: {', '.join(found)}"


def claimed(
    client: Callable[[str], Any], meant: Identity, state: Mapping[str, Any]
) -> tuple[bool, str]:
    """For a state of this deployment: that nothing of this name exists beside it.

    A run that was interrupted, or a resource that was made by hand, leaves such a part.

    Raises:
        DoubtfulError: something does.
    """
    found, _ = existing(client, meant, state)
    if found:
        names = ", ".join(f"{part} {_PARTS[part].named(meant)}" for part in found)
        raise DoubtfulError(
            f"These exist and are not in the state: {names}. Terraform will fail to create them, "
            "or take them over: import them (docs/deploy.md, State), or delete them."
        )
    return True, f"all that exists of {meant.name} is in the state"


def deletable(
    client: Callable[[str], Any], meant: Identity, state: Mapping[str, Any]
) -> tuple[bool, str]:
    """That neither the table nor a user pool is protected from deletion.

    Terraform would destroy all that is not, and fail then.

    Raises:
        RefusedError: one is.
        UnknownError: AWS does not say it.
    """
    try:
        if _protected_pool(client, state):
            raise RefusedError(
                "The user pool is protected (deletion_protection), so nothing is destroyed. To "
                "give up every user and every conversation, switch that off first: make deploy "
                "ARGS=-var=deletion_protection=false"
            )
        table = client("dynamodb").describe_table(TableName=meant.name)["Table"]
    except ClientError as error:
        if error.response["Error"]["Code"] in _ABSENT:
            return True, "there is no table"
        raise UnknownError(str(error)) from None
    except BotoCoreError as error:
        raise UnknownError(str(error)) from None
    if table.get("DeletionProtectionEnabled"):
        raise RefusedError(
            f"The table {meant.name} is protected (deletion_protection), so nothing is destroyed. "
            "To give up every conversation in it, switch that off first: aws dynamodb update-table "
            f"--table-name {meant.name} --region {meant.region} --no-deletion-protection-enabled"
        )
    return True, f"the table {meant.name} is not protected"


def _protected_pool(client: Callable[[str], Any], state: Mapping[str, Any]) -> bool:
    """Whether a user pool of the state is protected. Raises boto3's errors."""
    for pool in instances(state, "aws_cognito_user_pool"):
        try:
            found = client("cognito-idp").describe_user_pool(UserPoolId=pool["id"])["UserPool"]
        except ClientError as error:
            if error.response["Error"]["Code"] not in _ABSENT:
                raise
        else:
            if found.get("DeletionProtection") == "ACTIVE":
                return True
    return False

"""`make preflight`, the first part of `make deploy`: reports which requirements are missing.

Rules
- It changes nothing and invokes no model, so it costs nothing.
- Each requirement is reported in one line: ok, or missing with the remedy.
- A requirement that cannot be checked, for lack of a permission that deploying does not need, is
  reported as unknown and does not fail the check.
- A check that depends on a missing requirement is skipped: one cause, one line.

Unconfirmed without an account: Bedrock's answer about a model that the account has never used. The
names and values are those of botocore's model of GetFoundationModelAvailability; the remedies are
those of the Bedrock User Guide, "Request access to models".
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deploy import terraform

T = TypeVar("T")

NOT_ALLOWED = ("AccessDenied", "AccessDeniedException")
NOT_KNOWN = ("ResourceNotFoundException", "ValidationException")

SIGN_IN = (
    "Sign in (aws sso login), name a profile (AWS_PROFILE=...), or set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY."
)

# The fields of GetFoundationModelAvailability, with the remedy for each. Bedrock subscribes an
# account to a model when an identity that may subscribe invokes it for the first time; the
# function's role may not.
GRANTED = ("AVAILABLE", "AUTHORIZED")
AVAILABILITY = {
    "regionAvailability": "It is not available in this Region: choose another region or model_id.",
    "authorizationStatus": "Your identity is not authorized for it: ask an administrator of this "
    "account.",
    "entitlementAvailability": "The account is not entitled to it: open it once in the playground "
    "of the Bedrock console, which also has the form that Anthropic requires.",
    "agreementAvailability": "Its offer has not been accepted: open it once in the playground of "
    "the Bedrock console, with an identity that may subscribe in AWS Marketplace.",
}


class MissingError(Exception):
    """A requirement is missing. The message says which, and what to do."""


class UnknownError(Exception):
    """A requirement cannot be checked. The message says why."""


@dataclass(slots=True)
class Report:
    """Prints a line for each requirement, and records whether any is missing."""

    say: Callable[[str], None]
    complete: bool = True

    def check(self, name: str, check: Callable[[], tuple[T, str]]) -> T | None:
        """The value that the check returns, with a description; None if it has none."""
        found: T | None = None
        try:
            found, description = check()
            self.say(f"ok       {name}: {description}")
        except UnknownError as error:
            self.say(f"unknown  {name}: {error}")
        except MissingError as error:
            self.complete = False
            self.say(f"missing  {name}: {error}")
        return found


def terraform_program() -> tuple[str, str]:
    """The path of Terraform."""
    try:
        found = terraform.program()
    except terraform.TerraformMissingError as error:
        raise MissingError(str(error)) from None
    return found, found


def account(session: boto3.Session) -> tuple[str, str]:
    """The account's id, if AWS accepts the credentials."""
    # Every Region returns the same.
    client = session.client("sts", region_name=session.region_name or "us-east-1")
    try:
        identity = client.get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise MissingError(f"{error}. {SIGN_IN}") from None
    return identity["Account"], identity["Arn"]


def variables(arguments: list[str]) -> tuple[Mapping[str, Any], str]:
    """The Terraform variables on which the other checks depend."""
    names = ("region", "model_id", "account_logging")
    try:
        found = terraform.variables(names, arguments)
    except terraform.TerraformMissingError as error:
        raise MissingError(str(error)) from None
    return found, f"model_id is {found['model_id']}"


def region(session: boto3.Session, chosen: str | None) -> tuple[str, str]:
    """The Region that Terraform's AWS provider uses; boto3 itself does not read AWS_REGION."""
    found = chosen or os.environ.get("AWS_REGION") or session.region_name
    if not found:
        raise MissingError("There is none. Set region in terraform.tfvars, or AWS_REGION.")
    return found, found


def model(client: Any, model_id: str) -> tuple[str, str]:
    """The model id, if the account may use the model; of a profile, each of its models."""
    routed = foundation_models(client, model_id)
    for each in routed or [model_id]:
        status = availability(client, each)
        for name, remedy in AVAILABILITY.items():
            # A profile routes to other Regions: its models need not be available in this one.
            if status[name] not in GRANTED and not (routed and name == "regionAvailability"):
                raise MissingError(f"{each} has {name} {status[name]}. {remedy}")
    return model_id, f"{model_id} may be used"


def foundation_models(client: Any, model_id: str) -> list[str]:
    """The models of an inference profile; empty for any other model id."""
    try:
        profile = call(client.get_inference_profile, inferenceProfileIdentifier=model_id)
    except MissingError:
        return []
    return sorted({each["modelArn"].rpartition("/")[2] for each in profile["models"]})


def availability(client: Any, model_id: str) -> dict[str, str]:
    """Bedrock's availability status of one model."""
    kind, _, name = model_id.rpartition("/")
    if kind and not kind.endswith(":foundation-model"):
        raise UnknownError(f"{model_id} is a custom model, for which Bedrock reports no status.")
    status = call(client.get_foundation_model_availability, modelId=name)
    return {**status, "agreementAvailability": status["agreementAvailability"]["status"]}


def call(operation: Callable[..., Any], **arguments: str) -> Any:
    """The response of AWS, with its errors translated to this module's."""
    try:
        return operation(**arguments)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in NOT_ALLOWED:
            raise UnknownError(f"Your identity may not read it: {error}") from None
        if code in NOT_KNOWN:
            raise MissingError(f"It does not exist in this Region: {error}") from None
        raise UnknownError(str(error)) from None
    except BotoCoreError as error:
        raise UnknownError(str(error)) from None


def logging_role(client: Any, created: bool) -> tuple[bool, str]:
    """Whether API Gateway has a role to write access logs: one per account and Region."""
    if created:
        return True, "Terraform creates the role (account_logging)"
    role = call(client.get_account).get("cloudwatchRoleArn")
    if not role:
        raise MissingError(
            "API Gateway has no logging role, and refuses the stage without one. Set "
            "account_logging = true: Terraform then creates it, for the account and Region."
        )
    return True, role


def preflight(session: boto3.Session, arguments: list[str], say: Callable[[str], None]) -> bool:
    """Checks all requirements. Returns whether none is missing."""
    report = Report(say)
    program = report.check("Terraform", terraform_program)
    identity = report.check("credentials", lambda: account(session))
    if not (program and identity):  # credentials may be needed for a remote state
        return False
    chosen = report.check("variables", lambda: variables(arguments))
    if chosen is None:
        return False
    where = report.check("Region", lambda: region(session, chosen["region"]))
    if where is None:
        return False
    bedrock = session.client("bedrock", region_name=where)
    gateway = session.client("apigateway", region_name=where)
    report.check("model", lambda: model(bedrock, chosen["model_id"]))
    report.check("API Gateway's logs", lambda: logging_role(gateway, chosen["account_logging"]))
    return report.complete


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status. The arguments are those of `terraform plan`."""
    parser = argparse.ArgumentParser(prog="python -m deploy.preflight")
    _, others = parser.parse_known_args(arguments)
    try:
        session = boto3.Session()
    except BotoCoreError as error:  # a profile that does not exist
        print(f"missing  credentials: {error}. {SIGN_IN}")
        return 1
    return 0 if preflight(session, others, print) else 1


if __name__ == "__main__":
    sys.exit(main())

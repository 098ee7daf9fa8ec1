"""`make preflight`, the first part of `make deploy`: says what is missing before anything is made.

Rules
- It changes nothing and invokes no model, so it costs nothing.
- Each thing takes one line: that it is there, or that it is missing and what to do.
- What cannot be found out, for lack of a permission that deploying does not need, is told and holds
  nobody up.
- What rests on something that is missing is not looked at: one cause, one line.

Unconfirmed without an account: what Bedrock answers about a model that nobody has used yet. The
names and values are those of botocore's model of GetFoundationModelAvailability, what they ask for
is in the Bedrock User Guide, "Request access to models".
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

# What GetFoundationModelAvailability tells of a model, and what to do where it is not fine. Bedrock
# subscribes an account to a model when somebody who may subscribe calls it for the first time; the
# function's role may not.
FINE = ("AVAILABLE", "AUTHORIZED")
AVAILABILITY = {
    "regionAvailability": "It is not offered in this Region: choose another region or model_id.",
    "authorizationStatus": "Your identity is not authorized for it: ask whoever sets the policies "
    "of this account.",
    "entitlementAvailability": "The account is not entitled to it: open it once in the playground "
    "of the Bedrock console, which also has the form that Anthropic asks for.",
    "agreementAvailability": "Its offer has not been accepted: open it once in the playground of "
    "the Bedrock console, as somebody who may subscribe in AWS Marketplace.",
}


class MissingError(Exception):
    """Something that a deployment needs is not there. The message says what, and what to do."""


class UnknownError(Exception):
    """It cannot be found out. The message says why."""


@dataclass(slots=True)
class Report:
    """Tells each finding in a line, and remembers whether anything is missing."""

    say: Callable[[str], None]
    complete: bool = True

    def of(self, name: str, check: Callable[[], tuple[T, str]]) -> T | None:
        """What the check found; None where there is nothing to go on with."""
        found: T | None = None
        try:
            found, told = check()
            self.say(f"ok       {name}: {told}")
        except UnknownError as error:
            self.say(f"unknown  {name}: {error}")
        except MissingError as error:
            self.complete = False
            self.say(f"missing  {name}: {error}")
        return found


def terraform_program() -> tuple[str, str]:
    """Terraform itself."""
    try:
        found = terraform.program()
    except terraform.TerraformMissingError as error:
        raise MissingError(str(error)) from None
    return found, found


def account(session: boto3.Session) -> tuple[str, str]:
    """Credentials that AWS takes: the account's id."""
    # Any Region can tell.
    client = session.client("sts", region_name=session.region_name or "us-east-1")
    try:
        identity = client.get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise MissingError(f"{error}. {SIGN_IN}") from None
    return identity["Account"], identity["Arn"]


def variables(arguments: list[str]) -> tuple[Mapping[str, Any], str]:
    """Those of Terraform's that the rest depends on."""
    names = ("region", "model_id", "account_logging")
    try:
        found = terraform.variables(names, arguments)
    except terraform.TerraformMissingError as error:
        raise MissingError(str(error)) from None
    return found, f"model_id is {found['model_id']}"


def region(session: boto3.Session, chosen: str | None) -> tuple[str, str]:
    """The Region, as Terraform's AWS provider looks for it: boto3 does not read AWS_REGION."""
    found = chosen or os.environ.get("AWS_REGION") or session.region_name
    if not found:
        raise MissingError("None is chosen. Set region in terraform.tfvars, or AWS_REGION.")
    return found, found


def model(client: Any, model_id: str) -> tuple[str, str]:
    """Whether the account may use the model: each that stands behind a profile, too."""
    behind = foundation_models(client, model_id)
    for each in behind or [model_id]:
        told = availability(client, each)
        for name, advice in AVAILABILITY.items():
            # A profile leads to other Regions: the models need not be offered in this one.
            if told[name] not in FINE and not (behind and name == "regionAvailability"):
                raise MissingError(f"{each} has {name} {told[name]}. {advice}")
    return model_id, f"{model_id} may be used"


def foundation_models(client: Any, model_id: str) -> list[str]:
    """The models behind an inference profile; none for what is no profile."""
    try:
        profile = asked(client.get_inference_profile, inferenceProfileIdentifier=model_id)
    except MissingError:
        return []
    return sorted({each["modelArn"].rpartition("/")[2] for each in profile["models"]})


def availability(client: Any, model_id: str) -> dict[str, str]:
    """What Bedrock tells of one model."""
    kind, _, name = model_id.rpartition("/")
    if kind and not kind.endswith(":foundation-model"):
        raise UnknownError(f"{model_id} is a model of your own; Bedrock tells only of its models.")
    told = asked(client.get_foundation_model_availability, modelId=name)
    return {**told, "agreementAvailability": told["agreementAvailability"]["status"]}


def asked(operation: Callable[..., Any], **arguments: str) -> Any:
    """What AWS answers; its errors as ours."""
    try:
        return operation(**arguments)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in NOT_ALLOWED:
            raise UnknownError(f"Your identity may not ask: {error}") from None
        if code in NOT_KNOWN:
            raise MissingError(f"It is not known in this Region: {error}") from None
        raise UnknownError(str(error)) from None
    except BotoCoreError as error:
        raise UnknownError(str(error)) from None


def log_role(client: Any, made_here: bool) -> tuple[bool, str]:
    """The role with which API Gateway writes access logs: one for the account and Region."""
    if made_here:
        return True, "Terraform makes it (account_logging)"
    role = asked(client.get_account).get("cloudwatchRoleArn")
    if not role:
        raise MissingError(
            "API Gateway has no role to write logs with, and refuses the stage without one. Set "
            "account_logging = true: Terraform then makes it, for the account and Region."
        )
    return True, role


def preflight(session: boto3.Session, arguments: list[str], say: Callable[[str], None]) -> bool:
    """Looks at everything. Returns whether all is there."""
    report = Report(say)
    program = report.of("Terraform", terraform_program)
    identity = report.of("credentials", lambda: account(session))
    # Also after the credentials: a remote state is opened with them.
    chosen = report.of("variables", lambda: variables(arguments)) if program and identity else None
    if chosen is None:
        return False
    where = report.of("Region", lambda: region(session, chosen["region"]))
    if where is None:
        return False
    bedrock = session.client("bedrock", region_name=where)
    gateway = session.client("apigateway", region_name=where)
    report.of("model", lambda: model(bedrock, chosen["model_id"]))
    report.of("API Gateway's logs", lambda: log_role(gateway, chosen["account_logging"]))
    return report.complete


def main(given: list[str] | None = None) -> int:
    """Returns the exit status. The arguments are those of `terraform plan`."""
    parser = argparse.ArgumentParser(prog="python -m deploy.preflight")
    _, arguments = parser.parse_known_args(given)
    try:
        session = boto3.Session()
    except BotoCoreError as error:  # a profile that does not exist
        print(f"missing  credentials: {error}. {SIGN_IN}")
        return 1
    return 0 if preflight(session, arguments, print) else 1


if __name__ == "__main__":
    sys.exit(main())

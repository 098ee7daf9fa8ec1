"""`make preflight`, and the first part of `make plan`, `make deploy` and `make destroy`.

Rules
- It changes nothing and invokes no model, so it costs nothing.
- Each requirement is reported in one line: ok, missing with the remedy, a warning, or refused where
  the run would damage a deployment.
- A requirement that cannot be checked, for lack of a permission that deploying does not need, is
  reported as unknown and does not fail the check.
- A check that depends on a missing requirement is skipped: one cause, one line.
- `make plan` fails only where a plan is not possible, or would be that of another deployment.
"""

import argparse
import functools
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError

from deploy import account_checks, bedrock_checks, plans, state, terraform
from deploy.checks import MissingError, Report, in_plain_words
from deploy.state import Identity

PURPOSES = ("report", "plan", "deploy", "destroy")


def terraform_program() -> tuple[str, str]:
    """The path of Terraform."""
    try:
        found = terraform.program()
    except terraform.TerraformMissingError as error:
        raise MissingError(str(error)) from None
    return found, found


def variables(arguments: list[str]) -> tuple[Mapping[str, Any], str]:
    """The Terraform variables on which the other checks depend."""
    try:
        environment = terraform.chosen()
        found = terraform.variables(plans.VARIABLES, arguments)
    except terraform.TerraformMissingError as error:
        raise MissingError(str(error)) from None
    return found, f"name is {found['name']}, model_id is {found['model_id']}, for {environment}"


def region(session: boto3.Session, chosen: str | None) -> tuple[str, str]:
    """The Region that Terraform's AWS provider uses; boto3 itself does not read AWS_REGION."""
    found = chosen or os.environ.get("AWS_REGION") or session.region_name
    if not found:
        raise MissingError("There is none. Set region in terraform.tfvars, or AWS_REGION.")
    return found, found


def stored() -> Mapping[str, Any]:
    """Terraform's state."""
    try:
        return terraform.state()
    except terraform.TerraformMissingError as error:
        raise MissingError(str(error)) from None


def preflight(
    session: boto3.Session,
    arguments: list[str],
    say: Callable[[str], None],
    purpose: str = "report",
    saved: Path | None = None,
) -> bool:
    """Checks all requirements. Returns whether the purpose is possible."""
    report = Report(say)
    program = report.check("Terraform", terraform_program)
    # Every Region returns the same identity.
    sts = session.client("sts", region_name=session.region_name or "us-east-1")
    account = report.check("credentials", lambda: account_checks.credentials(sts))
    if not (program and account):  # credentials may be needed for a remote state
        return False
    record = saved and report.check("plan", lambda: plans.checked(saved, terraform.chosen()))
    if saved and not record:
        return False
    chosen = (
        record["variables"] if record else report.check("variables", lambda: variables(arguments))
    )
    if chosen is None:
        return False
    where = report.check("Region", lambda: region(session, chosen["region"]))
    if where is None:
        return False
    meant = Identity(chosen["name"], where, account)
    if saved and record:
        report.check("plan's deployment", lambda: plans.matching(saved, record, meant))
    clients = functools.cache(lambda service: session.client(service, region_name=where))
    _state(report, clients, meant, purpose)
    if not report.complete or purpose == "destroy":
        return report.complete
    _model(report, clients, chosen, account)
    _account(report, clients, chosen, meant)
    return purpose == "plan" or report.complete


def _state(report: Report, clients: Callable[[str], Any], meant: Identity, purpose: str) -> None:
    """The deployment in the state, and the one that exists."""
    environment, force = terraform.chosen(), os.environ.get("FORCE", "")
    pulled = functools.cache(stored)
    present = report.check(
        "state", lambda: state.compared(state.recorded(pulled()), meant, environment, force)
    )
    if present is None:
        return
    if purpose == "destroy":
        report.check("deletion", lambda: state.deletable(clients, meant, pulled()))
    elif present:
        report.check("name", lambda: state.claimed(clients, meant, pulled()))
    else:
        report.check("name", lambda: state.unclaimed(clients, meant, environment, force))


def _model(
    report: Report, clients: Callable[[str], Any], chosen: Mapping[str, Any], account: str
) -> None:
    bedrock, model_id = clients("bedrock"), chosen["model_id"]
    models = report.check("model", lambda: bedrock_checks.access(bedrock, model_id))
    if not models:
        return
    model = next(iter(models)).rpartition("/")[2]
    routed = {each: regions for each, regions in models.items() if regions}
    name = report.check("lifecycle", lambda: bedrock_checks.lifecycle(bedrock, model))
    report.check(
        "Regions of the model",
        lambda: bedrock_checks.regions(clients("organizations"), model_id, routed, account),
    )
    tokens = int(chosen["history_tokens"]) + int(chosen["max_output_tokens"])
    if name:
        report.check(
            "quota of tokens",
            lambda: bedrock_checks.quota(
                clients("service-quotas"), model_id, name, bool(routed), tokens
            ),
        )


def _account(
    report: Report, clients: Callable[[str], Any], chosen: Mapping[str, Any], meant: Identity
) -> None:
    reserved, rate = chosen["reserved_concurrency"], chosen["throttle_rate"]
    report.check(
        "concurrency",
        lambda: account_checks.concurrency(clients("lambda"), meant.name, reserved),
    )
    report.check(
        "quota of requests",
        lambda: account_checks.request_rate(clients("service-quotas"), float(rate)),
    )
    report.check(
        "API Gateway's logs",
        lambda: account_checks.logging_role(clients, bool(chosen["account_logging"]), meant),
    )
    report.check("smoke test", lambda: account_checks.token(chosen, os.environ))


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status. The other arguments are those of `terraform plan`."""
    parser = argparse.ArgumentParser(prog="python -m deploy.preflight", allow_abbrev=False)
    parser.add_argument("--for", dest="purpose", choices=PURPOSES, default="report")
    parser.add_argument("--saved", type=Path, help="a plan that `make plan` has written")
    options, others = parser.parse_known_args(arguments)
    try:
        session = boto3.Session()
    except BotoCoreError as error:  # a profile that does not exist
        print(f"missing  credentials: {in_plain_words(error)}")
        return 1
    saved = options.saved and options.saved.resolve()
    return 0 if preflight(session, others, print, options.purpose, saved) else 1


if __name__ == "__main__":
    sys.exit(main())

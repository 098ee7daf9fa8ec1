"""Saved plans: `make plan` writes one, and `make deploy PLAN=...` applies exactly that one.

Rules
- A plan has a record beside it (`<plan>.json`): the environment, the deployment, the variables that
  the checks need, and the digests of the plan and of the zips that it deploys.
- A plan is applied only where its record says so: Terraform itself would apply the plan of one
  environment to the state of another one, and zips that were built since.
- A plan contains the values of variables, and so does its record: both stay in build/.

`python -m deploy.plans FILE` writes the record of a plan that Terraform has just saved.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deploy import terraform
from deploy.checks import RefusedError
from deploy.environments import Environment
from deploy.state import Identity, changes

# The variables on which the checks of `make preflight` depend.
VARIABLES = (
    "account_logging",
    "auth",
    "history_tokens",
    "max_output_tokens",
    "model_id",
    "name",
    "region",
    "reserved_concurrency",
    "throttle_rate",
)


def record_of(plan: Path) -> Path:
    """Where the plan's record is."""
    return plan.with_name(f"{plan.name}.json")


def describe(plan: Path, environment: Environment, content: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a plan, whose content is in Terraform's JSON format."""
    values = {name: each.get("value") for name, each in content.get("variables", {}).items()}
    outputs = content.get("planned_values", {}).get("outputs", {})
    accounts = [each["account_id"] for each in _values(content, "aws_caller_identity")]
    functions = _values(content.get("planned_values", {}), "aws_lambda_function")
    zips = [environment.folder / name for each in functions if (name := each.get("filename"))]
    return {
        "environment": environment.name,
        "name": values.get("name") or "",
        "region": outputs.get("region", {}).get("value") or "",
        "account": accounts[0] if accounts else "",
        "variables": {name: values.get(name) for name in VARIABLES},
        "sha256": {str(each.resolve()): _sha256(each) for each in (plan, *zips)},
    }


def checked(plan: Path, environment: Environment) -> tuple[dict[str, Any], str]:
    """The record of a plan that may be applied here and now.

    Raises:
        RefusedError: it was made for another environment, or something has changed since.
    """
    again = "Run `make plan` again."
    try:
        record: dict[str, Any] = json.loads(record_of(plan).read_text())
    except (OSError, ValueError):
        raise RefusedError(
            f"{plan} has no record, so `make plan` did not write it. {again}"
        ) from None
    if record["environment"] != environment.name:
        other = Environment(record["environment"], environment.folder)
        raise RefusedError(f"{plan} is a plan of {other}, and this run is for {environment}.")
    for name, digest in record["sha256"].items():
        path = Path(name)
        if not path.is_file() or _sha256(path) != digest:
            raise RefusedError(f"{path} is not what {plan} was made with. {again}")
    return record, f"{plan} is of {environment}, and nothing has changed since"


def matching(plan: Path, record: Mapping[str, Any], meant: Identity) -> tuple[bool, str]:
    """Whether the plan was made for the account and the Region of this run.

    Raises:
        RefusedError: it was not.
    """
    planned = Identity(record["name"], record["region"], record["account"])
    if changes(planned, meant):
        raise RefusedError(f"{plan} was made for {planned}, and this run is for {meant}.")
    return True, str(planned)


def _values(tree: Any, kind: str) -> Iterator[Mapping[str, Any]]:
    """The values of the resources of a type, at any depth of Terraform's JSON."""
    if isinstance(tree, dict):
        if tree.get("type") == kind and isinstance(tree.get("values"), dict):
            yield tree["values"]
        for each in tree.values():
            yield from _values(each, kind)
    elif isinstance(tree, list):
        for each in tree:
            yield from _values(each, kind)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(arguments: list[str]) -> None:
    """Writes the record, and says how to apply the plan."""
    plan = Path(arguments[0]).resolve()
    try:
        environment = terraform.chosen()
        content = terraform.saved_plan(plan)
    except terraform.TerraformMissingError as error:
        raise SystemExit(str(error)) from None
    record_of(plan).write_text(json.dumps(describe(plan, environment, content), indent=2))
    shown = plan.relative_to(Path.cwd()) if plan.is_relative_to(Path.cwd()) else plan
    chosen = f" ENV={environment.name}" if environment.name else ""
    print(f"to apply exactly this plan: make deploy{chosen} PLAN={shown}")


if __name__ == "__main__":
    main(sys.argv[1:])

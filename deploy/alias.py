"""The function's alias `live`, which names the version that the API invokes.

Terraform tries a new version before it moves the alias (terraform/, `aws_lambda_invocation`), and
moves it in the same run. What only a client sees comes later: the smoke test, after which `make
deploy` moves the alias back if the test failed.

`python -m deploy.alias` prints the version that is live, or nothing if nothing is deployed. The
next `make deploy` moves the alias again: Terraform's state has the version that failed.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deploy import terraform


class AliasError(Exception):
    """The alias cannot be read or moved. The message says why."""


def live(client: Any, outputs: Mapping[str, Any]) -> str:
    """The version that the API invokes; "" if there is no alias yet.

    Raises:
        AliasError: AWS does not say it.
    """
    if "function_name" not in outputs:
        return ""
    try:
        found = client.get_alias(FunctionName=outputs["function_name"], Name=_name(outputs))
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return ""
        raise AliasError(str(error)) from None
    except BotoCoreError as error:
        raise AliasError(str(error)) from None
    return str(found["FunctionVersion"])


def move_back(client: Any, outputs: Mapping[str, Any], version: str) -> str:
    """Moves the alias to a version that was live before. Returns what was done, as a sentence."""
    if not version:
        return "There is no earlier version to which the alias could be moved back."
    try:
        now = live(client, outputs)
        if now == version:
            return f"Version {version} was live before, too: the alias stays."
        client.update_alias(
            FunctionName=outputs["function_name"],
            Name=_name(outputs),
            FunctionVersion=version,
        )
    except (AliasError, ClientError, BotoCoreError) as error:
        return f"The alias could not be moved back to version {version}: {error}"
    return (
        f"The alias is moved back from version {now} to {version}. Routes, permissions and the "
        "page are not moved back; the next `make deploy` moves the alias again."
    )


def _name(outputs: Mapping[str, Any]) -> str:
    return str(outputs.get("function_alias") or "live")


def client_of(outputs: Mapping[str, Any]) -> Any:
    """The client for the deployment's Region."""
    return boto3.Session().client("lambda", region_name=outputs.get("region") or "us-east-1")


def main(say: Callable[[str], None] = print) -> int:
    """Prints the live version. Returns the exit status."""
    try:
        outputs = terraform.outputs()
        if found := live(client_of(outputs), outputs):
            say(found)
    except (terraform.TerraformMissingError, AliasError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

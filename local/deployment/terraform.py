"""Applies `terraform/` to a control plane on this machine, with the real Terraform and provider.

Rules
- The repository's own folder is only read: Terraform works in a copy, which also holds its state.
- The developer's account cannot be reached: their AWS settings, variables and backend are not used.
- Only the endpoint of AWS is added to the configuration, by an override file.

Does not know what is deployed, nor how to use it.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from deploy import terraform
from local.aws.account import CREDENTIALS, NO_CONFIGURATION, REGION

# max_retries: with the provider's default of 25, a call that moto does not implement would hang for
# minutes; with 1, a single broken connection, as on a busy machine, would make the run fail.
OVERRIDE = """terraform {
  backend "local" {}
}

provider "aws" {
  max_retries                 = 3
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
}
"""
# Nothing else changes the deployment, so only `plan` refreshes the state.
NO_REFRESH = ("-auto-approve", "-refresh=false")
# Files that a developer may have added to the folder for a deployment of their own.
NOT_COPIED = shutil.ignore_patterns(
    ".terraform*",
    "*.tfstate*",
    "*.tfvars",
    "*.tfvars.json",
    "*_override.tf",
    "backend.tf",
    "examples",
    "tests",
)


class DeploymentError(Exception):
    """Terraform failed; the message has its errors."""


class Deployment:
    """One deployment, from a copy of `source` in `folder`, which must not exist yet."""

    def __init__(self, control_plane: str, folder: Path, source: Path = terraform.FOLDER) -> None:
        """Raises TerraformMissingError if Terraform or its provider is not available."""
        self.folder = folder
        self._program = terraform.program()
        self._running: subprocess.Popen[str] | None = None
        shutil.copytree(source, folder, ignore=NOT_COPIED)
        (folder / "local_override.tf").write_text(OVERRIDE)
        self._environment = _environment(control_plane, folder / ".terraform")
        try:
            self._run("init")
        except DeploymentError as error:
            raise terraform.TerraformMissingError(
                f"Terraform has no AWS provider, and TF_PLUGIN_DIR names no mirror of it: {error}"
            ) from None

    def apply(self, variables: Mapping[str, Any], replaced: Iterable[str] = ()) -> dict[str, Any]:
        """Applies the configuration and returns the outputs. Raises DeploymentError.

        `replaced` are resources of the module that are replaced as if they were tainted.
        """
        (self.folder / "local.auto.tfvars.json").write_text(json.dumps(dict(variables)))
        replace = [f"-replace=module.chat.{each}" for each in replaced]
        [*_, last] = self._events("outputs", "apply", *NO_REFRESH, *replace)
        return {name: output["value"] for name, output in last["outputs"].items()}

    def plan(self) -> list[str]:
        """Returns what another apply would change, as `update aws_lambda_function.chat`."""
        changes = [event["change"] for event in self._events("planned_change", "plan")]
        return [f"{change['action']} {change['resource']['addr']}" for change in changes]

    def saved_plan(self, path: Path) -> dict[str, Any]:
        """Saves a plan as `path`. Returns it in Terraform's JSON format."""
        self._run("plan", f"-out={path}")
        found: dict[str, Any] = json.loads(self._run("show", "-json", str(path)))
        return found

    def destroy(self) -> None:
        """Destroys all resources. Raises DeploymentError."""
        self._run("destroy", *NO_REFRESH)

    def _events(self, kind: str, *command: str) -> list[Any]:
        """Runs a command, returns its events of one kind ("Machine-Readable UI" in the manual)."""
        lines = self._run(*command, "-json").splitlines()
        return [event for event in map(json.loads, lines) if event["type"] == kind]

    def signal(self, number: int) -> None:
        """Sends a signal to the Terraform that is running, from another thread."""
        if self._running is not None:
            self._running.send_signal(number)

    def _run(self, command: str, *arguments: str) -> str:
        options = ["-no-color", *([] if command == "show" else ["-input=false"])]
        with subprocess.Popen(
            [self._program, command, *options, *arguments],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as self._running:
            output, errors = self._running.communicate()
        if self._running.returncode:
            raise DeploymentError(f"terraform {command}: {_errors(output + errors)}")
        return output


def _errors(output: str) -> str:
    """Extracts the errors from Terraform's output, which is events or plain text."""
    events = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    found = [event["diagnostic"] for event in events if "diagnostic" in event]
    errors = [
        f"{each['summary']}. {each['detail']}" for each in found if each["severity"] == "error"
    ]
    return "\n".join(errors) or output[max(output.find("Error: "), 0) :]


def _environment(control_plane: str, build: Path) -> dict[str, str]:
    """The variables of this process, with the local account in place of the developer's."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TF_VAR_"))}
    return {
        **inherited,
        **terraform.environment(build=build),
        **CREDENTIALS,
        **NO_CONFIGURATION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": control_plane,
        "AWS_REGION": REGION,
        "TF_IN_AUTOMATION": "1",
    }

"""`terraform/` applied to a control plane on this machine, by the real Terraform and provider.

Rules
- The repository's own folder is only read: Terraform works in a copy, where its state stays too.
- Nothing of the developer's account is in reach: no AWS settings, no variables, no backend.
- What is added to the configuration is where AWS is, and nothing else: an override file.

Does not know what is deployed, nor how to talk to it.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy import terraform
from local.aws.moto_server import CREDENTIALS, NO_CONFIGURATION, REGION

# max_retries: with the provider's 25, one call that moto does not know would hang for minutes; with
# 1, one connection that breaks, as some do on a busy machine, would end it all.
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
# Nobody else changes what is deployed here, so only `plan` looks at all of it again.
AT_ONCE = ("-auto-approve", "-refresh=false")
# What a person may have added to the folder for their own deployment.
NOT_COPIED = shutil.ignore_patterns(
    ".terraform*", "*.tfstate*", "*.tfvars", "*.tfvars.json", "*_override.tf", "tests", "backend.tf"
)


class DeploymentError(Exception):
    """Terraform failed; the message is what it said."""


class Deployment:
    """One deployment, whose copy of `source` is made in `folder`, which must not exist."""

    def __init__(self, control_plane: str, folder: Path, source: Path = terraform.FOLDER) -> None:
        """Raises TerraformMissingError if Terraform or its provider is not to be had."""
        self.folder = folder
        self._program = terraform.program()
        shutil.copytree(source, folder, ignore=NOT_COPIED)
        (folder / "local_override.tf").write_text(OVERRIDE)
        self._environment = _environment(control_plane, folder / ".terraform")
        try:
            self._run("init")
        except DeploymentError as error:
            raise terraform.TerraformMissingError(
                f"Terraform has no AWS provider, and TF_PLUGIN_DIR names no mirror of it: {error}"
            ) from None

    def apply(self, variables: Mapping[str, Any]) -> dict[str, Any]:
        """Makes it so, and returns the outputs. Raises DeploymentError."""
        (self.folder / "local.auto.tfvars.json").write_text(json.dumps(dict(variables)))
        [*_, told] = self._events("outputs", "apply", *AT_ONCE)
        return {name: output["value"] for name, output in told["outputs"].items()}

    def plan(self) -> list[str]:
        """What another apply would change, as `update aws_lambda_function.chat`."""
        changes = [event["change"] for event in self._events("planned_change", "plan")]
        return [f"{change['action']} {change['resource']['addr']}" for change in changes]

    def destroy(self) -> None:
        """Takes everything down. Raises DeploymentError."""
        self._run("destroy", *AT_ONCE)

    def _events(self, kind: str, *command: str) -> list[Any]:
        """What Terraform says of this kind while it runs: "Machine-Readable UI" in its manual."""
        lines = self._run(*command, "-json").splitlines()
        return [event for event in map(json.loads, lines) if event["type"] == kind]

    def _run(self, command: str, *arguments: str) -> str:
        done = subprocess.run(
            [self._program, command, "-no-color", "-input=false", *arguments],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise DeploymentError(f"terraform {command}: {_errors(done.stdout + done.stderr)}")
        return done.stdout


def _errors(said: str) -> str:
    """What went wrong, out of all that Terraform said, be it in events or in words."""
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    found = [event["diagnostic"] for event in events if "diagnostic" in event]
    told = [f"{each['summary']}. {each['detail']}" for each in found if each["severity"] == "error"]
    return "\n".join(told) or said[max(said.find("Error: "), 0) :]


def _environment(control_plane: str, build: Path) -> dict[str, str]:
    """Variables of the process, without what says where and whose AWS is."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "TF_VAR_"))}
    return {
        **kept,
        **terraform.environment(build=build),
        **CREDENTIALS,
        **NO_CONFIGURATION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": control_plane,
        "AWS_REGION": REGION,
        "TF_IN_AUTOMATION": "1",
    }

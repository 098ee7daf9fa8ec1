"""Terraform in a copy of terraform/, for what needs neither a state nor AWS."""

import os
import shutil
import subprocess
from pathlib import Path

from support.e2e_clients import skip_or_fail

from deploy import terraform

NOT_COPIED = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars")


class TerraformCopy:
    """A copy of terraform/ in `parent`, next to one of web/. Skips tests without Terraform."""

    def __init__(self, parent: Path) -> None:
        self.folder = parent / "terraform"
        shutil.copytree(terraform.FOLDER, self.folder, ignore=NOT_COPIED)
        shutil.copytree(terraform.ROOT / "web", parent / "web")
        try:
            self._program = terraform.program()
            environment = {**os.environ, **terraform.environment(build=parent)}
        except terraform.TerraformMissingError as error:
            skip_or_fail(str(error))
        self._environment = {
            name: value for name, value in environment.items() if not name.startswith("TF_VAR_")
        }

    def init(self) -> None:
        """Initialises the folder without a state."""
        done = self.run("init", "-backend=false", "-input=false", "-no-color")
        if done.returncode != 0:
            skip_or_fail(f"Terraform cannot get the AWS provider: {done.stdout.strip()}")

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs Terraform; errors are in the output, too."""
        return subprocess.run(
            [self._program, *arguments],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

"""Environments: `ENV=prod` selects a state and a file of variables, always both together.

Rules
- Without ENV, Terraform's own choice applies: the default workspace, and `terraform.tfvars`.
- `ENV=prod` uses the workspace `prod`, which has a state of its own: the file
  `terraform.tfstate.d/prod/terraform.tfstate`, or in S3 the object `env:/prod/<key>`.
- `envs/prod.tfvars`, if it exists, is read after `terraform.tfvars` and before ARGS.
- `envs/prod.s3.tfbackend`, if it exists, completes the backend of `backend.tf`: another bucket, or
  another account. Terraform then has a data folder of its own, so that backends cannot be mixed.

Pure: it reads which files exist, and nothing else. It does not know what is deployed.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

# Terraform's commands that read variables.
_READ_VARIABLES = ("plan", "apply", "destroy", "refresh", "import", "console")
PLAN_SUFFIX = ".tfplan"


class InvalidEnvironmentError(Exception):
    """ENV is not a name. The message says what it may be."""


@dataclass(frozen=True, slots=True)
class Environment:
    """One environment of the configuration in `folder`; the default one has no name."""

    name: str
    folder: Path

    @classmethod
    def of(cls, variables: Mapping[str, str], folder: Path) -> "Environment":
        """The environment that ENV names.

        Raises:
            InvalidEnvironmentError: ENV is not a name.
        """
        name = variables.get("ENV", "")
        if name and (name == "default" or not _NAME.fullmatch(name)):
            raise InvalidEnvironmentError(
                f"ENV is {name!r}: it must be 1 to 63 lower-case letters, digits and hyphens, and "
                "not default; leave it empty for the default environment."
            )
        return cls(name, folder)

    def __str__(self) -> str:
        return f"ENV={self.name}" if self.name else "the default environment"

    @property
    def backend(self) -> Path | None:
        """The file that completes the backend, if there is one."""
        path = self.folder / "envs" / f"{self.name}.s3.tfbackend"
        return path if self.name and path.is_file() else None

    def variables(self, command: str) -> dict[str, str]:
        """The environment variables with which Terraform's command is run.

        `init` has the default workspace, which always exists: with -input=false it refuses one that
        does not. All other commands create the workspace's state when they first write it.
        """
        if not self.name:
            return {}
        found = {"TF_WORKSPACE": "default" if command == "init" else self.name}
        if self.backend:
            found["TF_DATA_DIR"] = str(self.folder / ".terraform" / "envs" / self.name)
        return found

    def arguments(self, command: str, others: Iterable[str]) -> list[str]:
        """The command's arguments: `others`, after those that select the environment's files."""
        others = list(others)
        own: list[str] = []
        values = self.folder / "envs" / f"{self.name}.tfvars"
        saved = any(each.endswith(PLAN_SUFFIX) and not each.startswith("-") for each in others)
        if command == "init" and self.backend:
            own = [f"-backend-config={self.backend}"]
        elif self.name and command in _READ_VARIABLES and values.is_file() and not saved:
            own = [f"-var-file={values}"]
        return [*own, *others]

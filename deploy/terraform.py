"""Finds Terraform or OpenTofu, configures where its provider comes from, and runs it.

Rules
- `TERRAFORM` names the program, such as `tofu` or a path. Otherwise it is `terraform` if that is on
  `PATH`, or else `tofu`. What is said of Terraform here holds for both.
- If `TF_PLUGIN_DIR` names a Terraform filesystem mirror with `registry.terraform.io/hashicorp/aws`,
  the provider comes from there, by a CLI configuration that is written for it. OpenTofu looks for
  `registry.opentofu.org/hashicorp/aws`: the mirror needs that folder, too.
- Otherwise Terraform downloads the provider from its registry.
- `ENV` selects the state and the variables of every command (`environments`).
- An error is one sentence, raised before Terraform runs.

`python -m deploy.terraform plan ...` is `terraform plan ...` in the folder `terraform/`. This
module does not know what is deployed there.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from deploy.environments import Environment, InvalidEnvironmentError

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "terraform"
MODULE = FOLDER / "modules" / "chat"
BUILD = ROOT / "build"
PROVIDER = "registry.terraform.io/hashicorp/aws"
PROVIDERS = [PROVIDER, "registry.opentofu.org/hashicorp/aws"]
LEAST_VERSION = (1, 9)
PROGRAMS = ["terraform", "tofu"]

# The values of the variable `auth` with which clients send a token, and an authorizer verifies it.
TOKENS = ("cognito", "jwt")

GET_TERRAFORM = (
    "Terraform 1.9 or newer is needed: https://developer.hashicorp.com/terraform/install"
)

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_SETTING = re.compile(r"--?var(-file)?(?P<value>=.*)?", re.DOTALL)


class TerraformMissingError(Exception):
    """Terraform cannot be used. The message says what is missing and what to do."""


def find_mirror(variables: Mapping[str, str] = os.environ) -> Path | None:
    """The mirror that `TF_PLUGIN_DIR` names; None if it is not set.

    The folder may also be one level above or below the mirror's root.

    Raises:
        TerraformMissingError: `TF_PLUGIN_DIR` is set, and there is no mirror of the provider.
    """
    named = variables.get("TF_PLUGIN_DIR")
    if not named:
        return None
    folder = Path(named).resolve()
    below = sorted(folder.iterdir()) if folder.is_dir() else []
    for candidate in (folder, folder.parent, *below):
        if (candidate / PROVIDER).is_dir():
            return candidate
    raise TerraformMissingError(f"TF_PLUGIN_DIR is {named}, which contains no {PROVIDER}.")


def environment(base: Mapping[str, str] = os.environ, build: Path = BUILD) -> dict[str, str]:
    """The environment variables to add to `base` for Terraform.

    Writes the CLI configuration that they name, into `build`.

    Raises:
        TerraformMissingError: as `find_mirror`.
    """
    added = {"CHECKPOINT_DISABLE": "1"}  # no check for a newer version of Terraform
    mirror = find_mirror(base)
    if mirror is not None:
        configuration = build / "terraform.rc"
        configuration.parent.mkdir(parents=True, exist_ok=True)
        configuration.write_text(_configuration(mirror))
        added["TF_CLI_CONFIG_FILE"] = str(configuration)
    elif not Path(base.get("TF_CLI_CONFIG_FILE") or os.devnull).exists():
        added["TF_CLI_CONFIG_FILE"] = ""  # as if unset: Terraform would print a warning each time
    return added


def program(base: Mapping[str, str] = os.environ) -> str:
    """The path of Terraform or OpenTofu, if its version is new enough.

    Raises:
        TerraformMissingError: it is not on PATH, does not run, or is too old.
    """
    named = base.get("TERRAFORM")
    names = [named] if named else PROGRAMS
    found = next(filter(None, (shutil.which(each, path=base.get("PATH")) for each in names)), None)
    if found is None:
        what = f"{named}, which TERRAFORM names," if named else "terraform"
        raise TerraformMissingError(f"There is no {what} on PATH. {GET_TERRAFORM}")
    done = subprocess.run(
        [found, "version", "-json"],
        env={**base, **environment(base)},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        version = str(json.loads(done.stdout)["terraform_version"])
        numbers = tuple(int(part) for part in version.partition("-")[0].split("."))
    except (ValueError, KeyError, TypeError):
        raise TerraformMissingError(f"{found} reports no version. {GET_TERRAFORM}") from None
    if numbers < LEAST_VERSION:
        raise TerraformMissingError(f"{found} is version {version}. {GET_TERRAFORM}")
    return found


def chosen(base: Mapping[str, str] = os.environ, folder: Path = FOLDER) -> Environment:
    """The environment that ENV names.

    Raises:
        TerraformMissingError: ENV is not a name.
    """
    try:
        return Environment.of(base, folder)
    except InvalidEnvironmentError as error:
        raise TerraformMissingError(str(error)) from None


def outputs(base: Mapping[str, str] = os.environ, folder: Path = FOLDER) -> dict[str, Any]:
    """Terraform's outputs by name; empty if nothing is deployed.

    Raises:
        TerraformMissingError: as `program`, or Terraform cannot read its state.
    """
    done = _run(["output", "-json"], base, folder)
    if done.returncode != 0:
        raise TerraformMissingError(f"Terraform cannot read its outputs: {_unframed(done.stderr)}")
    return {name: output["value"] for name, output in json.loads(done.stdout).items()}


def state(base: Mapping[str, str] = os.environ, folder: Path = FOLDER) -> dict[str, Any]:
    """Terraform's state as it is stored; empty if there is none. The folder is initialised.

    Raises:
        TerraformMissingError: as `program`, or Terraform cannot read its state.
    """
    done = _run(["state", "pull"], base, folder)
    if done.returncode != 0:
        raise TerraformMissingError(f"Terraform cannot read its state: {_unframed(done.stderr)}")
    found: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {}
    return found


def saved_plan(path: Path, base: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """A plan that was saved with `-out`, in Terraform's JSON format for plans.

    Raises:
        TerraformMissingError: as `program`, or the file is not a plan.
    """
    done = _run(["show", "-json", str(path)], base, FOLDER)
    if done.returncode != 0:
        raise TerraformMissingError(f"{path} is not a plan: {_unframed(done.stderr)}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def variables(
    names: Iterable[str],
    arguments: Iterable[str] = (),
    base: Mapping[str, str] = os.environ,
    folder: Path = FOLDER,
) -> dict[str, Any]:
    """The values of Terraform's variables; `arguments` are those of `plan` (`-var=...`).

    Initialises the folder, which Terraform requires. Needs credentials only for a remote state.

    Raises:
        TerraformMissingError: as `program`, or a variable is refused.
    """
    expression = f"jsonencode({{{', '.join(f'{name} = var.{name}' for name in names)}}})"
    output = ""
    for command, text in (
        (["init", "-input=false", "-no-color"], None),
        (["console", "-no-color", *_settings(arguments)], expression),
    ):
        done = _run(command, base, folder, text)
        # The console exits with 0 and prints a value even if a validation fails.
        if done.returncode != 0 or "Error:" in done.stderr:
            raise TerraformMissingError(_unframed(done.stderr))
        output = done.stdout
    values: dict[str, Any] = json.loads(json.loads(output))  # JSON in a Terraform string
    return values


def _run(
    command: list[str], base: Mapping[str, str], folder: Path, text: str | None = None
) -> "subprocess.CompletedProcess[str]":
    """Runs Terraform in the environment that ENV names; `text` is its standard input."""
    selected = chosen(base, folder)
    name, *others = command
    return subprocess.run(
        [program(base), name, *selected.arguments(name, others)],
        input=text,
        cwd=folder,
        env={**base, **environment(base), **selected.variables(name)},
        capture_output=True,
        text=True,
        check=False,
    )


def _settings(arguments: Iterable[str]) -> list[str]:
    """The arguments that set variables, in the form `-var=...`; others are for `plan` only."""
    rest = iter(arguments)  # a value may be an argument of its own
    return [
        each if setting["value"] else f"{each}={next(rest, '')}"
        for each in rest
        if (setting := _SETTING.fullmatch(each))
    ]


def _unframed(text: str) -> str:
    """Terraform's message without the frame around it."""
    lines = (line.strip("╷│╵ ") for line in _ESCAPES.sub("", text).splitlines())
    return " ".join(line for line in lines if line)


def _configuration(mirror: Path) -> str:
    path = json.dumps(str(mirror))  # HCL quotes strings as JSON does
    return f"""provider_installation {{
  filesystem_mirror {{
    path    = {path}
    include = {json.dumps(PROVIDERS)}
  }}
  direct {{
    exclude = {json.dumps(PROVIDERS)}
  }}
}}
"""


def main(arguments: list[str], base: Mapping[str, str] = os.environ) -> None:
    """Replaces this process by Terraform, which then receives signals and the terminal's input."""
    name, *others = arguments or ["-help"]
    try:
        selected = chosen(base)
        found = program(base)
        environ = {**base, **environment(base), **selected.variables(name)}
    except TerraformMissingError as error:
        raise SystemExit(str(error)) from None
    os.chdir(FOLDER)
    os.execve(  # noqa: S606 - no shell is wanted
        found, [found, name, *selected.arguments(name, others)], environ
    )


if __name__ == "__main__":
    main(sys.argv[1:])

"""The one place that finds Terraform, tells it where its provider is, and runs it.

Rules
- The provider comes from a folder where `TF_PLUGIN_DIR` names one: a Terraform filesystem mirror,
  which holds `registry.terraform.io/hashicorp/aws`. Terraform is then given our configuration.
- Else it comes from Terraform's own registry, over the network, as anybody's does.
- What is wrong is told in one sentence, before Terraform is asked for anything.

`python -m deploy.terraform plan ...` is `terraform plan ...` in the folder `terraform/`. It does
not know what is deployed there.
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

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "terraform"
BUILD = ROOT / "build"
PROVIDER = "registry.terraform.io/hashicorp/aws"
LEAST_VERSION = (1, 9)

# Where a person gets it; the same sentence wherever it is missing.
GET_TERRAFORM = (
    "Terraform 1.9 or newer is needed: https://developer.hashicorp.com/terraform/install"
)

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_SETTING = re.compile(r"--?var(-file)?(?P<value>=.*)?", re.DOTALL)


class TerraformMissingError(Exception):
    """Terraform cannot be used here. The message says what is missing and what to do."""


def find_mirror(given: Mapping[str, str] = os.environ) -> Path | None:
    """The mirror that `TF_PLUGIN_DIR` means; None where it names nothing.

    A folder just above or below the mirror's root is taken to mean it.

    Raises:
        TerraformMissingError: `TF_PLUGIN_DIR` is set, and no mirror of the provider is there.
    """
    named = given.get("TF_PLUGIN_DIR")
    if not named:
        return None
    folder = Path(named).resolve()
    below = sorted(folder.iterdir()) if folder.is_dir() else []
    for candidate in (folder, folder.parent, *below):
        if (candidate / PROVIDER).is_dir():
            return candidate
    raise TerraformMissingError(f"TF_PLUGIN_DIR is {named}, which holds no {PROVIDER}.")


def environment(given: Mapping[str, str] = os.environ, build: Path = BUILD) -> dict[str, str]:
    """The variables to add to `given` for Terraform; writes the configuration that they name.

    Raises:
        TerraformMissingError: as `find_mirror`.
    """
    added = {"CHECKPOINT_DISABLE": "1"}  # asks nobody whether there is a newer Terraform
    mirror = find_mirror(given)
    if mirror is not None:
        configuration = build / "terraform.rc"
        configuration.parent.mkdir(parents=True, exist_ok=True)
        configuration.write_text(_configuration(mirror))
        added["TF_CLI_CONFIG_FILE"] = str(configuration)
    elif not Path(given.get("TF_CLI_CONFIG_FILE") or os.devnull).exists():
        added["TF_CLI_CONFIG_FILE"] = ""  # as unset: Terraform would warn of it each time
    return added


def program(given: Mapping[str, str] = os.environ) -> str:
    """Where Terraform is, once it is seen to be new enough.

    Raises:
        TerraformMissingError: there is none, it does not run, or it is too old.
    """
    found = shutil.which("terraform", path=given.get("PATH"))
    if found is None:
        raise TerraformMissingError(f"There is no terraform on PATH. {GET_TERRAFORM}")
    asked = subprocess.run(
        [found, "version", "-json"],
        env={**given, **environment(given)},
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        version = str(json.loads(asked.stdout)["terraform_version"])
        numbers = tuple(int(part) for part in version.partition("-")[0].split("."))
    except (ValueError, KeyError, TypeError):
        raise TerraformMissingError(f"{found} does not tell its version. {GET_TERRAFORM}") from None
    if numbers < LEAST_VERSION:
        raise TerraformMissingError(f"{found} is version {version}. {GET_TERRAFORM}")
    return found


def outputs(given: Mapping[str, str] = os.environ, folder: Path = FOLDER) -> dict[str, Any]:
    """What the deployment says of itself, by name; empty where nothing is deployed.

    Raises:
        TerraformMissingError: as `program`, or Terraform cannot read its state.
    """
    asked = subprocess.run(
        [program(given), "output", "-json"],
        cwd=folder,
        env={**given, **environment(given)},
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode != 0:
        raise TerraformMissingError(f"Terraform cannot tell: {_unframed(asked.stderr)}")
    return {name: output["value"] for name, output in json.loads(asked.stdout).items()}


def variables(
    names: Iterable[str],
    arguments: Iterable[str] = (),
    given: Mapping[str, str] = os.environ,
    folder: Path = FOLDER,
) -> dict[str, Any]:
    """What the variables are, wherever they were set; `arguments` as for `plan` (`-var=...`).

    Initialises the folder, which Terraform asks for; needs no credentials but for a remote state.

    Raises:
        TerraformMissingError: as `program`, or a variable is refused.
    """
    expression = f"jsonencode({{{', '.join(f'{name} = var.{name}' for name in names)}}})"
    own = {**given, **environment(given)}
    told = ""
    for command, text in (
        (["init", "-input=false", "-no-color"], None),
        (["console", "-no-color", *_settings(arguments)], expression),
    ):
        asked = subprocess.run(
            [program(given), *command],
            input=text,
            cwd=folder,
            env=own,
            capture_output=True,
            text=True,
            check=False,
        )
        # The console tells a value even where it refuses one.
        if asked.returncode != 0 or "Error:" in asked.stderr:
            raise TerraformMissingError(_unframed(asked.stderr))
        told = asked.stdout
    values: dict[str, Any] = json.loads(json.loads(told))  # a string of Terraform's, of JSON
    return values


def _settings(arguments: Iterable[str]) -> list[str]:
    """Those that set variables, a word each; the others are for `plan` and `apply` only."""
    rest = iter(arguments)  # the value may be the next one
    return [
        each if setting["value"] else f"{each}={next(rest, '')}"
        for each in rest
        if (setting := _SETTING.fullmatch(each))
    ]


def _unframed(text: str) -> str:
    """What Terraform says, without the frame that it draws around it."""
    lines = (line.strip("╷│╵ ") for line in _ESCAPES.sub("", text).splitlines())
    return " ".join(line for line in lines if line)


def _configuration(mirror: Path) -> str:
    path = json.dumps(str(mirror))  # quoted as HCL quotes, too
    return f"""provider_installation {{
  filesystem_mirror {{
    path    = {path}
    include = ["{PROVIDER}"]
  }}
  direct {{
    exclude = ["{PROVIDER}"]
  }}
}}
"""


def main(arguments: list[str], given: Mapping[str, str] = os.environ) -> None:
    """Becomes Terraform, so that signals and the terminal are its own."""
    try:
        found, own = program(given), {**given, **environment(given)}
    except TerraformMissingError as error:
        raise SystemExit(str(error)) from None
    os.chdir(FOLDER)
    os.execve(found, [found, *arguments], own)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])

"""Covers deploy/terraform.py: finding Terraform and its provider, and the errors without them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.e2e_clients import ROOT, skip_or_fail

from deploy import terraform
from deploy.terraform import PROVIDER, TerraformMissingError, environment, find_mirror, program

# A stand-in for Terraform. $FAILS and $REFUSES name commands that fail.
TERRAFORM = """#!/bin/sh
test "$1" = "$REFUSES" && {{ echo '""'; echo 'Error: refused' >&2; exit 0; }}
test "$1" = "$FAILS" && {{ printf '\\033[31m│ Error: broken\\n│\\n│ really\\n' >&2; exit 1; }}
case $1 in
  version) echo '{{"terraform_version": "{version}"}}' ;;
  output) echo '{{"url": {{"value": "wss://x"}}}}' ;;
  console) cat >> asked; echo "$@" >> asked; echo '"{{\\\\"name\\\\":\\\\"chat\\\\"}}"' ;;
esac
"""


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Environment variables with a Terraform of the minimum version."""
    return with_terraform(tmp_path, "1.9.0")


def with_terraform(folder: Path, version: str) -> dict[str, str]:
    fake = folder / "terraform"
    fake.write_text(TERRAFORM.format(version=version))
    fake.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_without_a_mirror_terraform_uses_its_registry() -> None:
    """No configuration is written."""
    assert None is find_mirror({})
    assert {"CHECKPOINT_DISABLE": "1"} == environment({})


@pytest.mark.parametrize("named", [".", "..", "registry.terraform.io"])
def test_a_mirror_is_found_one_level_off(tmp_path: Path, named: str) -> None:
    """The folder itself, the one above it and the one below it name the mirror."""
    mirror = tmp_path / "mirrors" / "own"
    (mirror / PROVIDER).mkdir(parents=True)

    assert mirror == find_mirror({"TF_PLUGIN_DIR": str(mirror / named)})


@pytest.mark.parametrize("named", ["", "nowhere"])
def test_a_folder_that_is_not_a_mirror_is_refused(tmp_path: Path, named: str) -> None:
    """By name, also if it does not exist."""
    with pytest.raises(TerraformMissingError, match=f"{tmp_path}.*contains no {PROVIDER}"):
        find_mirror({"TF_PLUGIN_DIR": str(tmp_path / named)})


def test_the_configuration_names_the_mirror(tmp_path: Path) -> None:
    """For the provider alone; others are installed as usual."""
    mirror = tmp_path / 'a "mirror"'
    (mirror / PROVIDER).mkdir(parents=True)
    added = environment({"TF_PLUGIN_DIR": str(mirror)}, tmp_path / "build")
    written = Path(added["TF_CLI_CONFIG_FILE"]).read_text()

    assert f"path    = {json.dumps(str(mirror))}" in written
    assert f"exclude = {json.dumps(terraform.PROVIDERS)}" in written
    assert PROVIDER in terraform.PROVIDERS


def test_the_users_configuration_is_used_if_it_exists(tmp_path: Path) -> None:
    """For a missing file Terraform would print a warning each time."""
    own = tmp_path / "rc"
    own.touch()

    assert "TF_CLI_CONFIG_FILE" not in environment({"TF_CLI_CONFIG_FILE": str(own)})
    assert "" == environment({"TF_CLI_CONFIG_FILE": str(tmp_path / "x")})["TF_CLI_CONFIG_FILE"]


@pytest.mark.parametrize("version", ["1.9.0", "1.11.4", "1.12.0-beta1", "2.0.0"])
def test_the_minimum_version_and_later_ones_are_accepted(tmp_path: Path, version: str) -> None:
    """Compared by number."""
    assert str(tmp_path / "terraform") == program(with_terraform(tmp_path, version))


@pytest.mark.parametrize(
    ("version", "message"), [("1.8.5", "is version 1.8.5"), ("?", "reports no version")]
)
def test_an_old_or_unknown_version_is_refused(tmp_path: Path, version: str, message: str) -> None:
    """With the version that was found, and a link to the download."""
    with pytest.raises(TerraformMissingError, match=f"{message}.*hashicorp.com"):
        program(with_terraform(tmp_path, version))


def test_a_missing_terraform_is_refused_with_a_link_to_the_download() -> None:
    """If it is not on PATH."""
    with pytest.raises(TerraformMissingError, match=r"no terraform on PATH.*hashicorp\.com"):
        program({"PATH": ""})


def test_opentofu_is_used_where_it_is_named_or_alone(tmp_path: Path) -> None:
    """`TERRAFORM` names one of two; without it OpenTofu is used where there is no Terraform."""
    variables = with_terraform(tmp_path, "1.10.0")
    tofu = tmp_path / "tofu"
    shutil.copy(tmp_path / "terraform", tofu)
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(tofu, alone)

    assert str(tmp_path / "terraform") == program(variables)
    assert str(tofu) == program({**variables, "TERRAFORM": "tofu"})
    assert str(tofu) == program({"PATH": "", "TERRAFORM": str(tofu)})
    assert str(alone / "tofu") == program({"PATH": f"{alone}{os.pathsep}/bin"})


def test_a_missing_program_that_was_named_is_refused_by_its_name(environ: dict[str, str]) -> None:
    """Terraform is not used in its place."""
    with pytest.raises(TerraformMissingError, match="no tofu-2, which TERRAFORM names, on PATH"):
        program({**environ, "TERRAFORM": "tofu-2"})


def test_outputs_are_read_by_name(environ: dict[str, str], tmp_path: Path) -> None:
    """An error has Terraform's message, without its frame."""
    assert {"url": "wss://x"} == terraform.outputs(environ, tmp_path)
    with pytest.raises(
        TerraformMissingError, match=r"cannot read its outputs: Error: broken really$"
    ):
        terraform.outputs({**environ, "FAILS": "output"}, tmp_path)


def test_variables_are_read_with_the_arguments_that_set_them(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """In each form; arguments that are for `plan` alone are left out."""
    arguments = ["-var=a=b", "-target=x", "-var-file", "f", "--var", "c=d", "--var-file=g", "-vary"]

    assert {"name": "chat"} == terraform.variables(["name"], arguments, environ, tmp_path)
    assert (
        "jsonencode({name = var.name})console -no-color "
        "-var=a=b -var-file=f --var=c=d --var-file=g\n" == (tmp_path / "asked").read_text()
    )


@pytest.mark.parametrize("command", ["init", "console"])
def test_an_error_in_the_variables_is_terraforms_message(
    environ: dict[str, str], tmp_path: Path, command: str
) -> None:
    """Without its frame."""
    with pytest.raises(TerraformMissingError, match=r"^Error: broken really$"):
        terraform.variables(["name"], (), {**environ, "FAILS": command}, tmp_path)
    # The console exits with 0 even if it refuses a value.
    with pytest.raises(TerraformMissingError, match="Error: refused"):
        terraform.variables(["name"], (), {**environ, "REFUSES": "console"}, tmp_path)


def test_the_real_terraform_reads_the_variables(tmp_path: Path) -> None:
    """Of terraform/, before anything is applied."""
    folder = shutil.copytree(
        ROOT / "terraform", tmp_path / "terraform", ignore=shutil.ignore_patterns(".terraform*")
    )
    try:
        values = terraform.variables(["auth", "region"], ["-var=auth=none"], folder=folder)
    except TerraformMissingError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(str(error))

    assert {"auth": "none", "region": None} == values


TWO_STATES = """
variable "name" { default = "default" }
resource "terraform_data" "it" { input = var.name }
output "name" { value = terraform_data.it.output }
"""


def test_each_environment_has_a_state_of_its_own(tmp_path: Path) -> None:
    """With the real Terraform: created at the first run, with the environment's variables."""
    if shutil.which("terraform") is None:
        skip_or_fail("There is no terraform.")
    (tmp_path / "main.tf").write_text(TWO_STATES)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "prod.tfvars").write_text('name = "prod"')
    found = {}
    for name in ("", "prod", "test"):
        base = {**os.environ, "ENV": name, **environment()}
        selected = terraform.chosen(base, tmp_path)
        for command, arguments in (("init", []), ("apply", ["-auto-approve"])):
            subprocess.run(
                [program(base), command, "-input=false", *selected.arguments(command, arguments)],
                cwd=tmp_path,
                env={**base, **selected.variables(command)},
                capture_output=True,
                check=True,
            )
        found[name] = (
            terraform.outputs(base, tmp_path),
            terraform.variables(["name"], (), base, tmp_path),
            len(terraform.state(base, tmp_path)["resources"]),
        )

    assert {name: {"name": name or "default"} for name in ("", "prod")} == {
        name: found[name][0] for name in ("", "prod")
    }
    assert {"name": "default"} == found["test"][0]
    assert all(outputs == variables for outputs, variables, _ in found.values())
    assert {1} == {resources for *_, resources in found.values()}
    states = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("terraform.tfstate")]
    assert {
        "terraform.tfstate",
        "terraform.tfstate.d/prod/terraform.tfstate",
        "terraform.tfstate.d/test/terraform.tfstate",
    } == set(states)


def test_a_state_that_does_not_exist_is_empty(environ: dict[str, str], tmp_path: Path) -> None:
    """An error is Terraform's; so is that of a file that is no plan."""
    assert {} == terraform.state(environ, tmp_path)
    with pytest.raises(TerraformMissingError, match=r"its state: Error: broken really$"):
        terraform.state({**environ, "FAILS": "state"}, tmp_path)
    with pytest.raises(TerraformMissingError, match=r"x is not a plan: Error: broken really$"):
        terraform.saved_plan(tmp_path / "x", {**environ, "FAILS": "show"})


@pytest.mark.parametrize("command", [("output",), ("plan", "-x")])
def test_what_is_no_environment_is_refused(
    environ: dict[str, str], command: tuple[str, ...]
) -> None:
    """By every command, before Terraform runs."""
    done = run(*command, **environ, ENV="../prod")

    assert (1, "ENV is '../prod'") == (done.returncode, done.stderr[:16])
    with pytest.raises(TerraformMissingError, match="ENV is"):
        terraform.outputs({**environ, "ENV": "../prod"})


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.terraform", *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_is_replaced_by_terraform(environ: dict[str, str]) -> None:
    """With its output and exit status; without Terraform the error is a sentence."""
    assert '{"url": {"value": "wss://x"}}\n' == run("output", **environ).stdout
    assert 1 == run("output", **environ, FAILS="output").returncode
    missing = run("plan", PATH="")
    assert (1, "There is no terraform on PATH.") == (missing.returncode, missing.stderr[:30])

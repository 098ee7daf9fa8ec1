"""Covers deploy/terraform.py: where Terraform and its provider are, and what is said without."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.e2e_clients import ROOT

from deploy import terraform
from deploy.terraform import PROVIDER, TerraformMissingError, environment, find_mirror, program

# Answers as Terraform does: what it is asked for stands in its name's second half.
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
def given(tmp_path: Path) -> dict[str, str]:
    """An environment with a Terraform of the least version."""
    return with_terraform(tmp_path, "1.9.0")


def with_terraform(folder: Path, version: str) -> dict[str, str]:
    fake = folder / "terraform"
    fake.write_text(TERRAFORM.format(version=version))
    fake.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_no_mirror_is_named() -> None:
    """Then the provider comes from where Terraform gets it by itself."""
    assert None is find_mirror({})
    assert {"CHECKPOINT_DISABLE": "1"} == environment({})


@pytest.mark.parametrize("named", [".", "..", "registry.terraform.io"])
def test_a_mirror_is_found_one_level_off(tmp_path: Path, named: str) -> None:
    """The folder itself, the one above it and the one below it are taken to mean it."""
    mirror = tmp_path / "mirrors" / "own"
    (mirror / PROVIDER).mkdir(parents=True)

    assert mirror == find_mirror({"TF_PLUGIN_DIR": str(mirror / named)})


@pytest.mark.parametrize("named", ["", "nowhere"])
def test_a_named_folder_that_is_no_mirror(tmp_path: Path, named: str) -> None:
    """Whoever names one means it: it is refused by name, and not passed over."""
    with pytest.raises(TerraformMissingError, match=f"{tmp_path}.*holds no {PROVIDER}"):
        find_mirror({"TF_PLUGIN_DIR": str(tmp_path / named)})


def test_the_configuration_names_the_mirror(tmp_path: Path) -> None:
    """Terraform is told to take the provider from there, and everything else as always."""
    mirror = tmp_path / 'a "mirror"'
    (mirror / PROVIDER).mkdir(parents=True)
    added = environment({"TF_PLUGIN_DIR": str(mirror)}, tmp_path / "build")
    written = Path(added["TF_CLI_CONFIG_FILE"]).read_text()

    assert f"path    = {json.dumps(str(mirror))}" in written
    assert f'exclude = ["{PROVIDER}"]' in written


def test_a_configuration_of_the_persons_own_is_kept(tmp_path: Path) -> None:
    """Where it exists; one that does not would make Terraform warn each time."""
    own = tmp_path / "rc"
    own.touch()

    assert "TF_CLI_CONFIG_FILE" not in environment({"TF_CLI_CONFIG_FILE": str(own)})
    assert "" == environment({"TF_CLI_CONFIG_FILE": str(tmp_path / "x")})["TF_CLI_CONFIG_FILE"]


@pytest.mark.parametrize("version", ["1.9.0", "1.11.4", "1.12.0-beta1", "2.0.0"])
def test_new_enough(tmp_path: Path, version: str) -> None:
    """The least version and all later ones, by number."""
    assert str(tmp_path / "terraform") == program(with_terraform(tmp_path, version))


@pytest.mark.parametrize(
    ("version", "words"), [("1.8.5", "is version 1.8.5"), ("?", "does not tell its version")]
)
def test_too_old(tmp_path: Path, version: str, words: str) -> None:
    """It is told which one was found, and where to get another."""
    with pytest.raises(TerraformMissingError, match=f"{words}.*hashicorp.com"):
        program(with_terraform(tmp_path, version))


def test_none_at_all() -> None:
    """Where to get it is told."""
    with pytest.raises(TerraformMissingError, match=r"no terraform on PATH.*hashicorp\.com"):
        program({"PATH": ""})


def test_outputs(given: dict[str, str], tmp_path: Path) -> None:
    """By name; a state that cannot be read is told in Terraform's words, without its frame."""
    assert {"url": "wss://x"} == terraform.outputs(given, tmp_path)
    with pytest.raises(TerraformMissingError, match=r"cannot tell: Error: broken really$"):
        terraform.outputs({**given, "FAILS": "output"}, tmp_path)


def test_variables(given: dict[str, str], tmp_path: Path) -> None:
    """With what sets variables, however it is written, without what is for `plan` alone."""
    arguments = ["-var=a=b", "-target=x", "-var-file", "f", "--var", "c=d", "--var-file=g", "-vary"]

    assert {"name": "chat"} == terraform.variables(["name"], arguments, given, tmp_path)
    assert (
        "jsonencode({name = var.name})console -no-color "
        "-var=a=b -var-file=f --var=c=d --var-file=g\n" == (tmp_path / "asked").read_text()
    )


@pytest.mark.parametrize("command", ["init", "console"])
def test_variables_that_cannot_be_told(given: dict[str, str], tmp_path: Path, command: str) -> None:
    """What Terraform says is passed on, without the frame that it draws."""
    with pytest.raises(TerraformMissingError, match=r"^Error: broken really$"):
        terraform.variables(["name"], (), {**given, "FAILS": command}, tmp_path)
    # The console ends with 0 even where it refuses a value.
    with pytest.raises(TerraformMissingError, match="Error: refused"):
        terraform.variables(["name"], (), {**given, "REFUSES": "console"}, tmp_path)


def test_the_real_one_tells_our_variables(tmp_path: Path) -> None:
    """Terraform's console, with our own folder, before anything was ever applied."""
    folder = shutil.copytree(
        ROOT / "terraform", tmp_path / "terraform", ignore=shutil.ignore_patterns(".terraform*")
    )
    try:
        told = terraform.variables(["auth", "region"], ["-var=auth=none"], folder=folder)
    except TerraformMissingError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(str(error))

    assert {"auth": "none", "region": None} == told


def run(*arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deploy.terraform", *arguments],
        cwd=ROOT,
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_line(given: dict[str, str]) -> None:
    """It becomes Terraform, with its status; without one it says so and ends with 1."""
    assert '{"url": {"value": "wss://x"}}\n' == run("output", **given).stdout
    assert 1 == run("output", **given, FAILS="output").returncode
    missing = run("plan", PATH="")
    assert (1, "There is no terraform on PATH.") == (missing.returncode, missing.stderr[:30])

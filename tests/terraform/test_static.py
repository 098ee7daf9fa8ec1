"""What can be known of terraform/ without applying it."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import pytest
from support.e2e_clients import cannot_be_had

from deploy import terraform
from local.page import TYPES
from settings import Settings

CHECKOV = terraform.ROOT / ".venv/checkov/bin/checkov"

# Where a deployment's default is not the function's own: who deploys pays for strangers' questions.
OTHER_DEFAULTS = {"requests_per_day": 500, "tokens_per_day": 1_000_000}
# Nobody chooses these: one is the table's name, the other is for the local stack.
NOT_CHOSEN = {"table_name", "callback_url"}

CHOSEN = [f for f in fields(Settings) if f.name not in NOT_CHOSEN]

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Runs Terraform in a copy of terraform/, with its provider there, web/ beside it, no state."""
    folder = tmp_path_factory.mktemp("static") / "terraform"
    shutil.copytree(
        terraform.FOLDER,
        folder,
        ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars"),
    )
    shutil.copytree(terraform.ROOT / "web", folder.parent / "web")
    try:
        program = terraform.program()
        chosen_here = {name for name in os.environ if name.startswith("TF_VAR_")}
        environment = {**os.environ, **terraform.environment(build=folder.parent)}
    except terraform.TerraformMissingError as error:
        cannot_be_had(str(error))

    def ran(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [program, *arguments],
            cwd=folder,
            env={name: environment[name] for name in environment.keys() - chosen_here},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    started = ran("init", "-backend=false", "-input=false", "-no-color")
    if started.returncode != 0:
        cannot_be_had(f"Terraform cannot get the AWS provider: {started.stdout.strip()}")
    return ran


# -- Terraform's own word --------------------------------------------------------------------------


def test_files_are_formatted_as_terraform_formats_them(run: Command) -> None:
    """`terraform fmt` has nothing to say."""
    checked = run("fmt", "-check", "-diff", "-recursive")

    assert "" == checked.stdout


def test_the_configuration_is_valid(run: Command) -> None:
    """`terraform validate` finds no error."""
    checked = run("validate", "-no-color")

    assert 0 == checked.returncode, checked.stdout


@pytest.mark.timeout(300)
def test_terraforms_own_tests_pass(run: Command) -> None:
    """What terraform/tests says of the plan holds: each choice, and each refusal."""
    tested = run("test", "-no-color")

    assert 0 == tested.returncode, tested.stdout
    assert re.search(r"^Success! \d+ passed, 0 failed\.$", tested.stdout, re.MULTILINE)


# -- security --------------------------------------------------------------------------------------


def test_checkov_finds_nothing() -> None:
    """Every finding is mended, or skipped beside the resource and with a reason."""
    if not CHECKOV.exists():
        cannot_be_had("checkov is not installed: make .venv/checkov.stamp")

    checked = subprocess.run(
        [CHECKOV, "--config-file", ".checkov.yaml", "--output", "json"],
        cwd=terraform.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    results = json.loads(checked.stdout)
    found = [(each["check_id"], each["resource"]) for each in results["results"]["failed_checks"]]
    summary = results["summary"]
    skips = "".join(path.read_text() for path in terraform.FOLDER.rglob("*.tf"))
    assert [] == found
    assert 0 == summary["parsing_errors"]
    assert 0 < summary["passed"]
    assert summary["skipped"] == skips.count("#checkov:skip="), (
        "a skip names no check of its resource"
    )
    assert [] == re.findall(r"#checkov:skip=\w+(?!\w)(?!: \w).*", skips), "a skip has no reason"


# -- the page --------------------------------------------------------------------------------------


def test_the_page_is_of_the_kinds_that_the_local_one_has() -> None:
    """What is served here is uploaded there, and nothing else; each kind under the same name."""
    kinds = re.findall(
        r'^    (\w+) += "(.+)"$', block("web.tf", "content_types =", indent="  "), re.MULTILINE
    )

    assert {kind[1:]: f"{name}; charset=utf-8" for kind, name in TYPES.items()} == dict(kinds)


# -- the settings ----------------------------------------------------------------------------------


def block(file: str, opening: str, indent: str = "") -> str:
    """What stands in a block of a .tf file. As `terraform fmt` has it, its end stands alone."""
    text = (terraform.FOLDER / file).read_text()
    found = re.search(
        rf"^{indent}{re.escape(opening)} {{\n(.*?)^{indent}}}$", text, re.MULTILINE | re.DOTALL
    )
    assert found, f"{file} has no {opening}"
    return found[1]


def variable(name: str) -> str:
    return block("settings.tf", f'variable "{name}"')


def number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def default_of(name: str) -> Any:
    found = re.search(r"^  default += (.+)$", variable(name), re.MULTILINE)
    assert found, f"{name} has no default"
    value = json.loads(found[1])
    return tuple(value) if isinstance(value, list) else value


def test_the_function_is_told_every_setting_and_nothing_else() -> None:
    """Its environment has exactly the variables that `Settings` reads."""
    told = re.findall(
        r"^    (\w+) +=", block("function.tf", "environment =", indent="  "), re.MULTILINE
    )

    assert sorted(f.metadata["env"] for f in fields(Settings)) == sorted(told)


def test_every_setting_that_can_be_chosen_is_a_variable() -> None:
    """settings.tf has the fields of `Settings`, but for those that nobody chooses."""
    variables = re.findall(
        r'^variable "(\w+)"', (terraform.FOLDER / "settings.tf").read_text(), re.MULTILINE
    )

    assert sorted(f.name for f in CHOSEN) == sorted(variables)


def test_the_authorizer_is_told_what_it_asks_for() -> None:
    """Its environment has exactly the variables that src/authorizer.py reads."""
    read = re.findall(
        r'environment\.get\("(\w+)"', (terraform.ROOT / "src/authorizer.py").read_text()
    )

    told = re.findall(
        r"^      (\w+) +=", block("authorizer.tf", "variables =", indent="    "), re.MULTILINE
    )

    assert sorted(read) == sorted(told)


@pytest.mark.parametrize("name", [f.name for f in CHOSEN])
def test_a_setting_reaches_the_function_under_its_name(name: str) -> None:
    """Each environment variable is made of the Terraform variable of the same name."""
    environment = block("function.tf", "environment =", indent="  ")

    assert re.search(rf"^    {name.upper()} += .*\bvar\.{name}\b", environment, re.MULTILINE)


@pytest.mark.parametrize("name", [f.name for f in CHOSEN])
def test_a_deployments_default_is_the_functions(name: str) -> None:
    """What a deployment does not choose is as the function has it, but for the allowances."""
    own = {f.name: f.default for f in CHOSEN}

    assert {**own, **OTHER_DEFAULTS}[name] == default_of(name)


def bounds() -> Mapping[str, list[str]]:
    """What the validation of each setting has to say, by name."""
    said: dict[str, list[str]] = {}
    for f in CHOSEN:
        least, most, choices = (f.metadata.get(key) for key in ("least", "most", "choices"))
        said[f.name] = [
            *([f"var.{f.name} >= {number(least)}"] if least is not None else []),
            *([f"var.{f.name} <= {number(most)}"] if most is not None else []),
            *(json.dumps(choice) for choice in choices or ()),
        ]
    return {name: each for name, each in said.items() if each}


@pytest.mark.parametrize("name", bounds())
def test_a_value_that_the_function_would_refuse_is_refused_before_it_is_deployed(name: str) -> None:
    """The bounds and choices of src/settings.py stand in the variable's validation."""
    conditions = "".join(re.findall(r"^    condition += (.+)$", variable(name), re.MULTILINE))

    assert [] == [
        each for each in bounds()[name] if not re.search(rf"{re.escape(each)}(?!\d)", conditions)
    ]

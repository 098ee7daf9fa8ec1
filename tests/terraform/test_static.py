"""The configuration in terraform/, without applying it."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping

import pytest
from support.e2e_clients import skip_or_fail

from deploy import terraform
from local.page import TYPES
from tools import deployment
from tools.settings_schema import settings

CHECKOV = terraform.ROOT / ".venv/checkov/bin/checkov"

# The defaults of a deployment that differ from the function's: the owner of the deployment pays.
OTHER_DEFAULTS = {"requests_per_day": 500, "tokens_per_day": 1_000_000}
# Settings without a variable: Terraform names the table, and only the local stack sets the URL.
NO_VARIABLE = {"table_name", "callback_url"}

SETTINGS = {each.name: each for each in settings() if each.name not in NO_VARIABLE}
VARIABLES = deployment.variables()

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Runs Terraform in a copy of terraform/, initialised without state, next to one of web/."""
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
        skip_or_fail(str(error))

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
        skip_or_fail(f"Terraform cannot get the AWS provider: {started.stdout.strip()}")
    return ran


# -- Terraform's own checks ------------------------------------------------------------------------


def test_files_are_formatted(run: Command) -> None:
    """`terraform fmt` changes nothing."""
    checked = run("fmt", "-check", "-diff", "-recursive")

    assert "" == checked.stdout


def test_the_configuration_is_valid(run: Command) -> None:
    """`terraform validate` finds no error."""
    checked = run("validate", "-no-color")

    assert 0 == checked.returncode, checked.stdout


@pytest.mark.timeout(300)
def test_terraforms_own_tests_pass(run: Command) -> None:
    """Those of terraform/tests: the plan with each option, and each refused value."""
    tested = run("test", "-no-color")

    assert 0 == tested.returncode, tested.stdout
    assert re.search(r"^Success! \d+ passed, 0 failed\.$", tested.stdout, re.MULTILINE)


# -- security --------------------------------------------------------------------------------------


def test_checkov_reports_no_finding() -> None:
    """Each skip is in the resource, is needed, and has a reason."""
    if not CHECKOV.exists():
        skip_or_fail("checkov is not installed: make .venv/checkov.stamp")

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
        "a skip is for a check that does not apply to its resource"
    )
    assert [] == re.findall(r"#checkov:skip=\w+(?!\w)(?!: \w).*", skips), "a skip has no reason"


# -- the web page ----------------------------------------------------------------------------------


def test_the_page_has_the_content_types_of_the_local_page() -> None:
    """The same files are served locally and on AWS, with the same types."""
    kinds = re.findall(
        r'^    (\w+) += "(.+)"$', block("web.tf", "content_types =", indent="  "), re.MULTILINE
    )

    assert {kind[1:]: f"{name}; charset=utf-8" for kind, name in TYPES.items()} == dict(kinds)


# -- settings --------------------------------------------------------------------------------------


def block(file: str, opening: str, indent: str = "") -> str:
    """The content of a block in a .tf file, which `terraform fmt` closes on a line of its own."""
    text = (terraform.FOLDER / file).read_text()
    found = re.search(
        rf"^{indent}{re.escape(opening)} {{\n(.*?)^{indent}}}$", text, re.MULTILINE | re.DOTALL
    )
    assert found, f"{file} has no {opening}"
    return found[1]


def test_every_setting_is_passed_to_the_function() -> None:
    """Under its name, from the variable of that name; and nothing else is passed."""
    rows = re.findall(
        r"^    (\w+) += (.+)$", block("settings.tf", "settings =", indent="  "), re.MULTILINE
    )

    assert sorted(SETTINGS) == sorted(name for name, _ in rows)
    assert [] == [name for name, value in rows if not re.search(rf"\bvar\.{name}\b", value)]


def test_every_setting_is_a_variable() -> None:
    """And every variable of settings.tf is a setting."""
    assert sorted(SETTINGS) == sorted(
        name for name, variable in VARIABLES.items() if variable.file == "settings.tf"
    )


def test_the_authorizers_environment_is_what_it_reads() -> None:
    """The variables that src/authorizer.py reads, and no others."""
    read = re.findall(
        r'environment\.get\("(\w+)"', (terraform.ROOT / "src/authorizer.py").read_text()
    )

    passed = re.findall(
        r"^      (\w+) +=", block("authorizer.tf", "variables =", indent="    "), re.MULTILINE
    )

    assert sorted(read) == sorted(passed)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_default_of_a_variable_is_the_settings_default(name: str) -> None:
    """Except for the daily quotas."""
    default = SETTINGS[name].default
    expected = list(default) if isinstance(default, tuple) else default

    assert {name: expected, **OTHER_DEFAULTS}[name] == VARIABLES[name].default


def conditions() -> Mapping[str, list[str]]:
    """The bounds and choices of each setting that has any, as its validation contains them."""
    found = {
        name: [
            *([f"var.{name} >= {each.least:g}"] if each.least is not None else []),
            *([f"var.{name} <= {int(each.most)}"] if each.most is not None else []),
            *map(json.dumps, each.choices),
        ]
        for name, each in SETTINGS.items()
    }
    return {name: each for name, each in found.items() if each}


@pytest.mark.parametrize("name", conditions())
def test_a_value_that_the_function_refuses_is_refused_before_it_is_deployed(name: str) -> None:
    """The bounds and choices of src/settings.py are in the variable's validation."""
    validation = "".join(
        re.findall(
            r"^    condition += (.+)$", block("settings.tf", f'variable "{name}"'), re.MULTILINE
        )
    )

    assert [] == [
        each
        for each in conditions()[name]
        if not re.search(rf"{re.escape(each)}(?!\d)", validation)
    ]

"""The configuration in terraform/, without applying it."""

import json
import re
import subprocess
from collections.abc import Mapping

import pytest
from support.e2e_clients import skip_or_fail
from support.terraform_copies import TerraformCopy

from bedrock_chat import loopback
from deploy import terraform
from families.registry import FAMILIES, REGION_PREFIX
from local.page import TYPES
from tools import deployment
from tools.settings_schema import settings

CHECKOV = terraform.ROOT / ".venv/checkov/bin/checkov"

# The defaults of a deployment that differ from the function's: the owner of the deployment pays.
OTHER_DEFAULTS = {"requests_per_day": 500, "tokens_per_day": 1_000_000}
# Settings without a variable: Terraform sets them.
NO_VARIABLE = {"table_name", "callback_url", "system_prompt_object"}

# The kinds of resources that support tags.
TAGGED = {
    "aws_apigatewayv2_api",
    "aws_apigatewayv2_domain_name",
    "aws_apigatewayv2_stage",
    "aws_budgets_budget",
    "aws_cloudfront_distribution",
    "aws_cloudwatch_log_group",
    "aws_cloudwatch_metric_alarm",
    "aws_cognito_user_pool",
    "aws_dynamodb_table",
    "aws_iam_role",
    "aws_lambda_function",
    "aws_s3_bucket",
    "aws_sns_topic",
    "aws_sqs_queue",
}

SETTINGS = {each.name: each for each in settings() if each.name not in NO_VARIABLE}
VARIABLES = deployment.variables()


@pytest.fixture(scope="module")
def terraform_copy(tmp_path_factory: pytest.TempPathFactory) -> TerraformCopy:
    copy = TerraformCopy(tmp_path_factory.mktemp("static"))
    copy.init()
    return copy


# -- Terraform's own checks ------------------------------------------------------------------------


def test_files_are_formatted(terraform_copy: TerraformCopy) -> None:
    """`terraform fmt` changes nothing."""
    checked = terraform_copy.run("fmt", "-check", "-diff", "-recursive")

    assert "" == checked.stdout


def test_the_configuration_is_valid(terraform_copy: TerraformCopy) -> None:
    """`terraform validate` finds no error."""
    checked = terraform_copy.run("validate", "-no-color")

    assert 0 == checked.returncode, checked.stdout


@pytest.mark.timeout(300)
def test_terraforms_own_tests_pass(terraform_copy: TerraformCopy) -> None:
    """Those of terraform/tests: the plan with each option, of each example, and of the root."""
    tested = terraform_copy.run("test", "-no-color")

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
    text = (terraform.MODULE / file).read_text()
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
    """Of the same name."""
    assert [] == sorted(SETTINGS.keys() - VARIABLES.keys())


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
            r"^    condition += (.+)$", block("variables.tf", f'variable "{name}"'), re.MULTILINE
        )
    )

    assert [] == [
        each
        for each in conditions()[name]
        if not re.search(rf"{re.escape(each)}(?!\d)", validation)
    ]


def test_the_terminal_clients_redirect_uris_are_registered() -> None:
    """Terraform registers the ports on which bedrock_chat/loopback.py listens."""
    ports = re.search(r"for port in (\[[0-9, ]+\])", (terraform.MODULE / "cognito.tf").read_text())
    assert ports
    assert list(loopback.PORTS) == json.loads(ports[1])


# -- the module and its callers --------------------------------------------------------------------


def declared(pattern: str) -> list[str]:
    """What the files of the module declare, in the order of files and lines."""
    text = "".join(path.read_text() for path in sorted(terraform.MODULE.glob("*.tf")))
    return [".".join(each) for each in re.findall(pattern, text, re.MULTILINE)]


def test_the_module_configures_no_provider() -> None:
    """So it can be used with `for_each`, `count`, `depends_on` and aliases."""
    folders = [path for path in (terraform.FOLDER / "modules").iterdir() if path.is_dir()]

    assert ["chat", "models"] == sorted(each.name for each in folders)
    assert [] == [
        path.name
        for folder in folders
        for path in folder.glob("*.tf")
        if re.search(r"^(provider|  backend|  cloud) ", path.read_text(), re.MULTILINE)
    ]


# Resources that were never in the root.
NEWER_THAN_THE_MODULE = [
    "aws_apigatewayv2_api_mapping.chat",
    "aws_apigatewayv2_domain_name.chat",
    "aws_apigatewayv2_integration_response.async",
    "aws_cognito_user_pool.users",
    "aws_cognito_user_pool_client.chat",
    "aws_cognito_user_pool_domain.users",
    "aws_lambda_invocation.trial",
    "aws_route53_record.chat",
    "aws_route53_record.web",
    "aws_s3_bucket.prompt",
    "aws_s3_bucket_versioning.prompt",
    "aws_s3_object.prompt",
]


# Addresses that are other ones in the module.
OTHER_ADDRESSES = {
    f"aws_s3_bucket_{kind}.web[0]": f'aws_s3_bucket_{kind}.this["web"]'
    for kind in ("policy", "public_access_block", "server_side_encryption_configuration")
}


def test_a_state_from_before_the_module_is_kept() -> None:
    """Each resource of that time is moved, from its address in the root to the module's."""
    moves = re.findall(
        r"^moved \{\n  from = (\S+)\n  to   = module\.chat\.(\S+)\n\}",
        (terraform.FOLDER / "moved.tf").read_text(),
        re.MULTILINE,
    )
    resources = declared(r'^resource "(aws_\w+)" "(\w+)"')

    assert [] == [each for each in moves if OTHER_ADDRESSES.get(each[0], each[0]) != each[1]]
    moved = [address.partition("[")[0] for _, address in moves]
    assert sorted(resources) == sorted([*NEWER_THAN_THE_MODULE, *moved])


def test_resources_have_the_deployments_tags() -> None:
    """Each resource that supports tags, except S3 objects, which have at most ten."""
    text = "".join(path.read_text() for path in sorted(terraform.MODULE.glob("*.tf")))
    blocks = re.findall(r'^resource "(\w+)" "(\w+)" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL)

    assert TAGGED == {
        kind for kind, _, body in blocks if re.search(r"^  tags += local.tags$", body, re.MULTILINE)
    }
    assert [] == [
        f"{kind}.{name}"
        for kind, name, body in blocks
        if kind in TAGGED and "local.tags" not in body
    ]


def test_nothing_is_created_before_it_is_destroyed() -> None:
    """It would extend to all that the resource depends on, of which the names are fixed."""
    text = "".join(path.read_text() for path in terraform.MODULE.glob("*.tf"))

    assert not re.search(r"^ *create_before_destroy *=", text, re.MULTILINE)


def test_terraform_derives_the_family_as_the_function_does() -> None:
    """The generated file has every prefix, and Terraform's expression strips what Python strips."""
    file = json.loads((terraform.MODULE / "families.json").read_text())

    assert {each.name: list(each.id_prefixes) for each in FAMILIES} == file["families"]
    assert REGION_PREFIX.pattern == file["region_prefix"]
    assert (
        'replace(basename(var.model_id), "/${local.region_prefix}/", "")'
        in (terraform.MODULE / "variables.tf").read_text()
    )

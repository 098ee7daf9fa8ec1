"""Covers deploy/plans.py: a saved plan is applied only where, and as, it was made."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy import plans, terraform
from deploy.checks import RefusedError
from deploy.environments import Environment
from deploy.state import Identity

ACCOUNT = "123456789012"


def content(zip_path: str) -> dict[str, Any]:
    """A plan in Terraform's JSON format; its resources are in a module."""
    function = {"type": "aws_lambda_function", "values": {"filename": zip_path}}
    from_s3 = {"type": "aws_lambda_function", "values": {"filename": None}}
    caller = {"type": "aws_caller_identity", "values": {"account_id": ACCOUNT}}
    return {
        "variables": {"name": {"value": "chat"}, "region": {"value": None}, "more": {"value": "m"}},
        "planned_values": {
            "outputs": {"region": {"value": "eu-west-1"}},
            "root_module": {"child_modules": [{"resources": [function, from_s3]}]},
        },
        "prior_state": {"values": {"root_module": {"child_modules": [{"resources": [caller]}]}}},
    }


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plan that was saved for ENV=prod, with its record."""
    made = tmp_path / "build" / "prod.tfplan"
    made.parent.mkdir()
    made.write_text("the plan")
    (tmp_path / "build" / "lambda.zip").write_text("the zip")
    (tmp_path / "terraform").mkdir()
    environment = Environment("prod", tmp_path / "terraform")
    monkeypatch.setattr(terraform, "chosen", lambda: environment)
    monkeypatch.setattr(terraform, "saved_plan", lambda _: content("../build/lambda.zip"))
    plans.main([str(made)])
    return made


def environment(plan: Path, name: str = "prod") -> Environment:
    return Environment(name, plan.parent.parent / "terraform")


def test_the_record_has_what_the_checks_need(plan: Path) -> None:
    """From the plan itself, and not from the settings of a later run."""
    record, text = plans.checked(plan, environment(plan))

    assert ("chat", "eu-west-1", ACCOUNT) == (record["name"], record["region"], record["account"])
    assert set(plans.VARIABLES) == set(record["variables"])
    assert "chat" == record["variables"]["name"]
    assert {"prod.tfplan", "lambda.zip"} == {Path(name).name for name in record["sha256"]}
    assert "ENV=prod" in text


def test_the_command_that_applies_the_plan_is_printed(
    plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its environment."""
    plans.main([str(plan)])

    assert f"make deploy ENV=prod PLAN={plan}\n" == capsys.readouterr().out.partition(": ")[2]


@pytest.mark.parametrize("changed", ["prod.tfplan", "lambda.zip"])
@pytest.mark.parametrize("missing", [False, True])
def test_a_changed_plan_or_zip_is_refused(plan: Path, changed: str, missing: bool) -> None:
    """Terraform reads the zip when it applies, and would deploy another one."""
    path = plan.parent / changed
    if missing:
        path.unlink()
    else:
        path.write_text("another one")

    with pytest.raises(RefusedError, match=f"{changed} is not what"):
        plans.checked(plan, environment(plan))


@pytest.mark.parametrize("name", ["", "test"])
def test_the_plan_of_another_environment_is_refused(plan: Path, name: str) -> None:
    """Terraform would apply it to this one's state."""
    with pytest.raises(RefusedError, match="is a plan of ENV=prod, and this run is for"):
        plans.checked(plan, environment(plan, name))


@pytest.mark.parametrize("text", [None, "{"])
def test_a_plan_without_a_record_is_refused(plan: Path, text: str | None) -> None:
    """`make plan` writes both."""
    record = plans.record_of(plan)
    record.unlink() if text is None else record.write_text(text)

    with pytest.raises(RefusedError, match="has no record"):
        plans.checked(plan, environment(plan))


def test_the_account_and_region_of_the_run_have_to_be_the_plans(plan: Path) -> None:
    """A Region that comes from the environment may have changed since."""
    record = json.loads(plans.record_of(plan).read_text())

    assert plans.matching(plan, record, Identity("chat", "eu-west-1", ACCOUNT))[0]
    for meant in (Identity("chat", "us-east-1", ACCOUNT), Identity("chat", "eu-west-1", "9")):
        with pytest.raises(RefusedError, match="was made for chat in eu-west-1"):
            plans.matching(plan, record, meant)


def test_what_is_no_plan_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Terraform's sentence."""

    def refuse(_: Path) -> None:
        raise terraform.TerraformMissingError("x is not a plan: really")

    monkeypatch.setattr(terraform, "saved_plan", refuse)
    with pytest.raises(SystemExit, match="x is not a plan: really"):
        plans.main([str(tmp_path / "x")])

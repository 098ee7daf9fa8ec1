"""What `make plan` and preflight read from Terraform, of the real one: its state and its plans."""

import json
from pathlib import Path

import pytest
from support.deployments import FIRST, Site

from deploy import plans, state
from deploy.environments import Environment
from deploy.state import Identity
from local.aws.account import ACCOUNT, REGION

pytestmark = pytest.mark.timeout(600)  # the first test waits for the deployment


def test_the_deployment_is_known_from_terraforms_state(site: Site) -> None:
    """Its name, Region and account; and every part that preflight looks for is in it."""
    site.serving(FIRST)
    stored = json.loads((site.deployment.folder / "terraform.tfstate").read_text())
    known = Identity(site.outputs["table_name"], REGION, ACCOUNT)

    assert known == state.recorded(stored)
    assert "all that exists" in state.claimed(_unused, known, stored)[1]


def _unused(service: str) -> None:
    raise AssertionError(f"{service} is asked about a part that is in the state.")


def test_a_saved_plan_says_what_it_is_for(site: Site, tmp_path: Path) -> None:
    """The record has the deployment, the zip, and the value of every variable that is needed."""
    site.serving(FIRST)
    plan = tmp_path / "x.tfplan"
    content = site.deployment.saved_plan(plan)
    record = plans.describe(plan, Environment("", site.deployment.folder), content)

    assert [site.outputs["table_name"], REGION, ACCOUNT] == [
        record[part] for part in ("name", "region", "account")
    ]
    assert {str(plan), str(site.zip)} == set(record["sha256"])
    optional = {"region", "reserved_concurrency"}
    assert optional == {name for name, value in record["variables"].items() if value is None}

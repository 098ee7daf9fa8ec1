"""Covers local/deployment/terraform.py with a program that only looks like Terraform: what it is told.

The real one is run in tests/terraform.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.terraform import TerraformMissingError
from local.deployment.terraform import Deployment, DeploymentError

PROGRAM = f"""#!{sys.executable}
import json, os, pathlib, sys
command = sys.argv[1]
if command == "version":
    print(json.dumps({{"terraform_version": "1.11.4"}}))
    sys.exit()
said = {{
    "apply": json.dumps({{"type": "outputs", "outputs": {{}}}}) + "\\n"
        + json.dumps({{"type": "outputs", "outputs": {{"url": {{"value": "ws://x"}}}}}}),
    "plan": "\\n".join(json.dumps(line) for line in [
        {{"type": "version"}},
        {{"type": "planned_change",
          "change": {{"action": "update", "resource": {{"addr": "aws_x.y"}}}}}},
    ]),
}}
log = pathlib.Path(os.environ["TOLD"])
told = json.loads(log.read_text()) if log.exists() else []
log.write_text(json.dumps([*told, {{"arguments": sys.argv[1:], "environment": dict(os.environ)}}]))
print(said.get(command, "working on it"))
if command == os.environ.get("FAILING"):
    print(os.environ["WHY"])
    sys.exit(1)
"""


KEPT = ("main.tf", "routes.json")
OWN = (
    ".terraform.lock.hcl",
    "backend.tf",
    "my.auto.tfvars",
    "my_override.tf",
    "terraform.tfstate",
    "terraform.tfstate.backup",
)


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the program writes down what it was told, in JSON."""
    program = tmp_path / "bin" / "terraform"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv("TOLD", str(tmp_path / "told.json"))
    monkeypatch.delenv("TF_PLUGIN_DIR", raising=False)
    return tmp_path / "told.json"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder as a person's may be, with their own deployment in it."""
    folder = tmp_path / "source"
    (folder / ".terraform").mkdir(parents=True)
    (folder / "tests").mkdir()
    for name in (*KEPT, *OWN):
        (folder / name).write_text("")
    return folder


def run(told: Path) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = json.loads(told.read_text())
    return runs


@pytest.mark.usefixtures("told")
def test_only_the_configuration_is_copied(tmp_path: Path, source: Path) -> None:
    """Nothing of a person's own deployment: no state, no backend, no values."""
    Deployment("http://127.0.0.1:1", tmp_path / "copy", source)

    assert {*KEPT, "local_override.tf"} == {
        path.name for path in (tmp_path / "copy").iterdir() if path.name != ".terraform"
    }


def test_nothing_of_the_developers_account_is_in_reach(
    tmp_path: Path, source: Path, told: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS is the control plane, with made-up keys, whatever the environment says."""
    for name in ("AWS_PROFILE", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_IAM", "TF_VAR_auth"):
        monkeypatch.setenv(name, "real")
    Deployment("http://127.0.0.1:1", tmp_path / "copy", source)
    [first] = run(told)

    assert "http://127.0.0.1:1" == first["environment"]["AWS_ENDPOINT_URL"]
    assert "real" not in first["environment"].values()


def test_apply_plan_and_destroy(tmp_path: Path, source: Path, told: Path) -> None:
    """Each asks nobody anything; the values go by a file; outputs and changes come back."""
    deployment = Deployment("http://127.0.0.1:1", tmp_path / "copy", source)
    outputs = deployment.apply({"auth": "none"})
    changes = deployment.plan()
    deployment.destroy()
    values = (tmp_path / "copy" / "local.auto.tfvars.json").read_text()

    assert {"url": "ws://x"} == outputs
    assert ["update aws_x.y"] == changes
    assert {"auth": "none"} == json.loads(values)
    assert ["init", "apply", "plan", "destroy"] == [each["arguments"][0] for each in run(told)]
    assert all("-input=false" in each["arguments"] for each in run(told))


def diagnostic(severity: str, summary: str) -> str:
    """A line as Terraform writes it with -json."""
    return json.dumps(
        {
            "@message": f"Error: {summary}",
            "type": "diagnostic",
            "diagnostic": {"severity": severity, "summary": summary, "detail": "See there."},
        }
    )


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize(
    "failure",
    [
        ("destroy", "Error: no such thing", "Error: no such thing"),
        ("destroy", "gone", "gone"),
        (
            "apply",
            f"{diagnostic('warning', 'old')}\n{diagnostic('error', 'no such thing')}",
            "no such thing. See there.",
        ),
    ],
)
def test_what_fails_is_told(
    tmp_path: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: tuple[str, str, str],
) -> None:
    """With Terraform's own words, and no more of them than say what is wrong."""
    command, why, words = failure
    deployment = Deployment("http://127.0.0.1:1", tmp_path / "copy", source)
    monkeypatch.setitem(deployment._environment, "FAILING", command)
    monkeypatch.setitem(deployment._environment, "WHY", why)

    with pytest.raises(DeploymentError) as failed:
        {"apply": lambda: deployment.apply({}), "destroy": deployment.destroy}[command]()

    assert f"terraform {command}: {words}" in str(failed.value).replace("working on it\n", "")


@pytest.mark.usefixtures("told")
def test_no_provider_is_told_before_anything_is_applied(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is as if there were no Terraform: nothing can be proven here."""
    monkeypatch.setenv("FAILING", "init")
    monkeypatch.setenv("WHY", "Error: not to be had")

    with pytest.raises(TerraformMissingError, match=r"no AWS provider.*TF_PLUGIN_DIR.*to be had"):
        Deployment("http://127.0.0.1:1", tmp_path / "copy", source)

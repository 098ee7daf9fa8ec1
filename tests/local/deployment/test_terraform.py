"""Covers local/deployment/terraform.py with a fake Terraform, which records how it is run.

tests/terraform runs the real one.
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
output = {{
    "apply": json.dumps({{"type": "outputs", "outputs": {{}}}}) + "\\n"
        + json.dumps({{"type": "outputs", "outputs": {{"url": {{"value": "ws://x"}}}}}}),
    "plan": "\\n".join(json.dumps(line) for line in [
        {{"type": "version"}},
        {{"type": "planned_change",
          "change": {{"action": "update", "resource": {{"addr": "aws_x.y"}}}}}},
    ]),
}}
log = pathlib.Path(os.environ["RUNS"])
runs = json.loads(log.read_text()) if log.exists() else []
log.write_text(json.dumps([*runs, {{"arguments": sys.argv[1:], "environment": dict(os.environ)}}]))
print(output.get(command, "in progress"))
if command == os.environ.get("FAILING"):
    print(os.environ["ERROR"])
    sys.exit(1)
"""


COPIED = ("main.tf", "routes.json")
NOT_COPIED = (
    ".terraform.lock.hcl",
    "backend.tf",
    "my.auto.tfvars",
    "my_override.tf",
    "terraform.tfstate",
    "terraform.tfstate.backup",
)


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the fake Terraform records its runs, in JSON."""
    program = tmp_path / "bin" / "terraform"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setenv("RUNS", str(tmp_path / "runs.json"))
    monkeypatch.delenv("TF_PLUGIN_DIR", raising=False)
    return tmp_path / "runs.json"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A developer's folder, with a deployment of their own."""
    folder = tmp_path / "source"
    (folder / ".terraform").mkdir(parents=True)
    (folder / "tests").mkdir()
    for name in (*COPIED, *NOT_COPIED):
        (folder / name).write_text("")
    return folder


def runs(record: Path) -> list[dict[str, Any]]:
    recorded: list[dict[str, Any]] = json.loads(record.read_text())
    return recorded


@pytest.mark.usefixtures("record")
def test_only_the_configuration_is_copied(tmp_path: Path, source: Path) -> None:
    """Nothing of the developer's own deployment: no state, no backend, no values."""
    Deployment("http://127.0.0.1:1", tmp_path / "copy", source)

    assert {*COPIED, "local_override.tf"} == {
        path.name for path in (tmp_path / "copy").iterdir() if path.name != ".terraform"
    }


def test_the_developers_account_cannot_be_reached(
    tmp_path: Path, source: Path, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS is the control plane, with dummy credentials, whatever the environment contains."""
    for name in ("AWS_PROFILE", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_IAM", "TF_VAR_auth"):
        monkeypatch.setenv(name, "real")
    Deployment("http://127.0.0.1:1", tmp_path / "copy", source)
    [first] = runs(record)

    assert "http://127.0.0.1:1" == first["environment"]["AWS_ENDPOINT_URL"]
    assert "real" not in first["environment"].values()


def test_apply_returns_outputs_and_plan_returns_changes(
    tmp_path: Path, source: Path, record: Path
) -> None:
    """No command prompts for input; values are passed by a file."""
    deployment = Deployment("http://127.0.0.1:1", tmp_path / "copy", source)
    outputs = deployment.apply({"auth": "none"})
    changes = deployment.plan()
    deployment.destroy()
    values = (tmp_path / "copy" / "local.auto.tfvars.json").read_text()

    assert {"url": "ws://x"} == outputs
    assert ["update aws_x.y"] == changes
    assert {"auth": "none"} == json.loads(values)
    assert ["init", "apply", "plan", "destroy"] == [each["arguments"][0] for each in runs(record)]
    assert all("-input=false" in each["arguments"] for each in runs(record))


def diagnostic(severity: str, summary: str) -> str:
    """A line as Terraform writes it with -json."""
    return json.dumps(
        {
            "@message": f"Error: {summary}",
            "type": "diagnostic",
            "diagnostic": {"severity": severity, "summary": summary, "detail": "See there."},
        }
    )


@pytest.mark.usefixtures("record")
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
def test_a_failure_has_terraforms_own_error(
    tmp_path: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: tuple[str, str, str],
) -> None:
    """The errors of its output, as events or plain text, and nothing else."""
    command, output, message = failure
    deployment = Deployment("http://127.0.0.1:1", tmp_path / "copy", source)
    monkeypatch.setitem(deployment._environment, "FAILING", command)
    monkeypatch.setitem(deployment._environment, "ERROR", output)

    with pytest.raises(DeploymentError) as failed:
        {"apply": lambda: deployment.apply({}), "destroy": deployment.destroy}[command]()

    assert f"terraform {command}: {message}" in str(failed.value).replace("in progress\n", "")


@pytest.mark.usefixtures("record")
def test_a_missing_provider_is_reported_before_anything_is_applied(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a missing Terraform is, since neither can be tested without it."""
    monkeypatch.setenv("FAILING", "init")
    monkeypatch.setenv("ERROR", "Error: not available")

    with pytest.raises(
        TerraformMissingError, match=r"no AWS provider.*TF_PLUGIN_DIR.*not available"
    ):
        Deployment("http://127.0.0.1:1", tmp_path / "copy", source)

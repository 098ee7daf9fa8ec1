"""Repository configuration: the workflow, hooks, Dependabot, the changelog."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.__main__ import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))


def read(path: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(path.read_text())
    return found


@pytest.fixture(params=WORKFLOWS, ids=lambda path: str(path.name))
def workflow(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


# -- workflows -------------------------------------------------------------------------------------


def test_the_workflow_runs_the_ci_script() -> None:
    """The workflow's last step is `.ci/run`, which is executable."""
    steps = read(ROOT / ".github/workflows/ci.yml")["jobs"]["test"]["steps"]

    assert ".ci/run" == steps[-1]["run"]
    assert all("apt-get install" in step["run"] for step in steps[:-1] if "run" in step)
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_actions_are_pinned(workflow: Path) -> None:
    """Each action is pinned to a complete commit SHA, with its version in a comment."""
    uses = re.findall(r"^ *-? *uses: (.+)$", workflow.read_text(), re.MULTILINE)

    assert uses
    assert [] == [
        each
        for each in uses
        if not re.fullmatch(r"[\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)
    ]


def test_a_workflow_has_read_permissions_only(workflow: Path) -> None:
    """No job has further permissions, no secret is used, and the checkout stores no credentials."""
    text, parsed = workflow.read_text(), read(workflow)
    steps = [step for job in parsed["jobs"].values() for step in job["steps"]]
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]

    assert {"contents": "read"} == parsed["permissions"]
    assert [] == [name for name, job in parsed["jobs"].items() if "permissions" in job]
    assert "secrets." not in text
    assert "pull_request_target" not in text
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_a_workflow_ends(workflow: Path) -> None:
    """Each job has a timeout, and a newer push cancels an older run."""
    parsed = read(workflow)

    assert parsed["concurrency"]["cancel-in-progress"] is True
    assert all(0 < job["timeout-minutes"] <= 60 for job in parsed["jobs"].values())


def test_scripts_contain_no_workflow_expressions(workflow: Path) -> None:
    """`${{ }}` in a `run` could insert a branch name or title into a shell command."""
    steps = [step for job in read(workflow)["jobs"].values() for step in job["steps"]]

    assert [] == [step["run"] for step in steps if "${{" in step.get("run", "")]


def test_the_matrix_has_the_oldest_python_and_lambdas() -> None:
    """The matrix has the versions of pyproject.toml and of the function."""
    versions = read(ROOT / ".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"][
        "python"
    ]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    function = (ROOT / "terraform" / "modules" / "chat" / "function.tf").read_text()

    assert project["requires-python"] == f">={versions[0]}"
    assert f'runtime       = "python{versions[-1]}"' in function


# -- Dependabot and the hooks ----------------------------------------------------------------------


def test_dependabot_covers_all_packages() -> None:
    """Every directory with npm packages, and each other ecosystem, is listed and exists."""
    updates = read(ROOT / ".github" / "dependabot.yml")["updates"]
    listed = {
        each["package-ecosystem"]: each.get("directories", [each.get("directory")])
        for each in updates
    }
    packages = [f"/{path.parent.relative_to(ROOT)}" for path in ROOT.glob("tests/*/package.json")]

    assert {"pip", "npm", "github-actions", "terraform"} == set(listed)
    assert sorted(packages) == sorted(listed["npm"])
    for folders in listed.values():
        assert [] == [folder for folder in folders if not (ROOT / folder.strip("/")).is_dir()]


def test_hooks_run_make_targets() -> None:
    """Each target of a hook exists in the Makefile, and hooks download nothing."""
    repos = read(ROOT / ".pre-commit-config.yaml")["repos"]
    hooks = [hook for repo in repos for hook in repo["hooks"]]
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {each for hook in hooks for each in re.findall(r"make (\w+)", hook["entry"])}

    assert ["local"] == [repo["repo"] for repo in repos]
    assert {"system"} == {hook["language"] for hook in hooks}
    assert {"check", "docs"} == named
    assert named <= targets


# -- the changelog ---------------------------------------------------------------------------------


def test_the_changelog_has_this_version() -> None:
    """The unreleased changes come first, then the version of pyproject.toml if it is released."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## \[?([^]\s]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert "Unreleased" == headings[0]
    assert headings[1:2] in ([], [version])

"""Covers deploy/environments.py: ENV selects state and variables together."""

from pathlib import Path

import pytest

from deploy.environments import Environment, InvalidEnvironmentError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configuration with variables and a backend for the environment `prod`."""
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "prod.tfvars").touch()
    (tmp_path / "envs" / "prod.s3.tfbackend").touch()
    return tmp_path


def test_without_env_terraform_is_run_as_it_is(folder: Path) -> None:
    """Its default workspace, and no further arguments."""
    environment = Environment.of({}, folder)

    assert "the default environment" == str(environment)
    assert {} == environment.variables("plan")
    assert ["-x"] == environment.arguments("plan", ["-x"])
    assert ["-x"] == environment.arguments("init", ["-x"])


@pytest.mark.parametrize("command", ["plan", "apply", "destroy", "console", "import", "refresh"])
def test_state_and_variables_are_selected_together(folder: Path, command: str) -> None:
    """For every command that reads variables. Later arguments have precedence."""
    environment = Environment.of({"ENV": "prod"}, folder)

    assert "prod" == environment.variables(command)["TF_WORKSPACE"]
    assert [f"-var-file={folder}/envs/prod.tfvars", "-var=a=b"] == (
        environment.arguments(command, ["-var=a=b"])
    )


@pytest.mark.parametrize("command", ["output", "state", "show"])
def test_a_command_without_variables_has_the_state_alone(folder: Path, command: str) -> None:
    """Terraform would refuse the argument."""
    environment = Environment.of({"ENV": "prod"}, folder)

    assert "prod" == environment.variables(command)["TF_WORKSPACE"]
    assert ["-json"] == environment.arguments(command, ["-json"])


def test_a_saved_plan_has_its_variables_already(folder: Path) -> None:
    """Terraform refuses variables beside it; `-out` names a plan that is to be written."""
    environment = Environment.of({"ENV": "prod"}, folder)

    assert ["/b/prod.tfplan"] == environment.arguments("apply", ["/b/prod.tfplan"])
    assert 2 == len(environment.arguments("plan", ["-out=/b/prod.tfplan"]))


def test_a_backend_of_its_own_has_a_data_folder_of_its_own(folder: Path) -> None:
    """So that the backends of two environments cannot be mixed."""
    prod, test = (Environment.of({"ENV": name}, folder) for name in ("prod", "test"))

    assert [f"-backend-config={folder}/envs/prod.s3.tfbackend", "-input=false"] == (
        prod.arguments("init", ["-input=false"])
    )
    assert str(folder / ".terraform/envs/prod") == prod.variables("plan")["TF_DATA_DIR"]
    assert ["-input=false"] == test.arguments("init", ["-input=false"])
    assert {"TF_WORKSPACE": "test"} == test.variables("plan")


def test_terraform_is_initialised_in_a_workspace_that_exists(folder: Path) -> None:
    """It refuses another one with -input=false, if the backend has more than one."""
    assert "default" == Environment.of({"ENV": "new"}, folder).variables("init")["TF_WORKSPACE"]


def test_files_of_an_environment_are_optional(tmp_path: Path) -> None:
    """The state is its own in any case."""
    environment = Environment.of({"ENV": "prod"}, tmp_path)

    assert [] == environment.arguments("plan", [])
    assert {"TF_WORKSPACE": "prod"} == environment.variables("plan")


@pytest.mark.parametrize(
    "name", ["default", "Prod", "../prod", "a b", "/root/.shrc", "-x", "p" * 64]
)
def test_what_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    """Such as the file that ENV names for some shells; default is Terraform's own name."""
    with pytest.raises(InvalidEnvironmentError, match="leave it empty"):
        Environment.of({"ENV": name}, tmp_path)

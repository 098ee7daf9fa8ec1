"""The function's zip for this machine, built once for all tests that run it."""

from pathlib import Path

import pytest
from support.zips import unpacked

from deploy.package import build
from deploy.wheels import this_architecture


@pytest.fixture(scope="session")
def lambda_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, _ = build("lambda", tmp_path_factory.mktemp("build"), this_architecture())
    return path


@pytest.fixture(scope="session")
def task_root(lambda_zip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which Lambda unpacks the zip."""
    return unpacked(lambda_zip, tmp_path_factory.mktemp("task"))

"""The function's zip, built once for all tests of it."""

from pathlib import Path

import pytest
from support.zips import unpacked

from deploy.package import build


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, _ = build("lambda", tmp_path_factory.mktemp("build"))
    return path


@pytest.fixture(scope="session")
def task_root(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(packed, tmp_path_factory.mktemp("task"))

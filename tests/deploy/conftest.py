"""The zips, built once for all tests that look at them or run them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from support import zips


@pytest.fixture(scope="session")
def built(request: pytest.FixtureRequest) -> Callable[..., Path]:
    """Gives the zip with a name, for this machine or for another architecture."""
    return partial(zips.built, zips.shared(request.config))


@pytest.fixture(scope="session")
def lambda_zip(built: Callable[..., Path]) -> Path:
    return built("lambda")


@pytest.fixture(scope="session")
def task_root(lambda_zip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which Lambda unpacks the zip."""
    return zips.unpacked(lambda_zip, tmp_path_factory.mktemp("task"))

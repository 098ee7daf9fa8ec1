"""Fixtures of the tests of the local stack."""

from collections.abc import Iterator

import pytest
from support import control_planes


@pytest.fixture(scope="session")
def control_plane() -> Iterator[str]:
    """The URL of a local control plane, shared by the tests: each uses names of its own."""
    with control_planes.serving("local.aws.control_plane") as url:
        yield url

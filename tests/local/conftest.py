from collections.abc import Iterator

import pytest
from support import control_planes


@pytest.fixture(scope="session")
def control_plane() -> Iterator[str]:
    """The URL of a local control plane, which nobody empties: names in it have to be one's own."""
    with control_planes.serving("local.aws.control_plane") as url:
        yield url

from collections.abc import Iterator

import pytest
from support.stacks import Stacks, served


@pytest.fixture(scope="session")
def stacks() -> Iterator[Stacks]:
    """The whole local stack, three times: open, and closed by IAM and by JWT."""
    with served() as running:
        yield running

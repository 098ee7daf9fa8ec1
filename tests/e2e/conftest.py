from collections.abc import Iterator

import pytest
from support import e2e_clients


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of `make run MODEL=scripted`, for all tests that do not need one of their own."""
    log = tmp_path_factory.mktemp("stack") / "log"
    with e2e_clients.running(log) as (url, _):
        yield url


@pytest.fixture
def person(stack: str) -> Iterator[e2e_clients.Person]:
    """A client with a conversation of its own."""
    with e2e_clients.person(stack) as one:
        yield one

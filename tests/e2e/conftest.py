from collections.abc import Iterator

import people
import pytest


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of `make run MODEL=scripted`, for all tests that do not need one of their own."""
    log = tmp_path_factory.mktemp("stack") / "log"
    with people.running(log) as (url, _):
        yield url


@pytest.fixture
def person(stack: str) -> Iterator[people.Person]:
    """A client with a conversation of its own."""
    with people.person(stack) as one:
        yield one

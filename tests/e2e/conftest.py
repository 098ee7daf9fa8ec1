from collections.abc import Iterator
from pathlib import Path

import pytest
from support import e2e_clients, stacks

from local.stack import Backends

# A call that Bedrock rejects is retried for this long, instead of 15 s.
RETRY_SECONDS = "1"


@pytest.fixture(scope="session")
def stack_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the shared stack prints."""
    return tmp_path_factory.mktemp("stack") / "log"


@pytest.fixture(scope="session")
def stack(stack_log: Path) -> Iterator[str]:
    """The URL of `make run MODEL=scripted`, for all tests that do not need one of their own."""
    with e2e_clients.running(stack_log, RETRY_SECONDS=RETRY_SECONDS) as (url, _):
        yield url


@pytest.fixture
def client(stack: str) -> Iterator[e2e_clients.Client]:
    """A client with a session of its own."""
    with e2e_clients.client(stack) as one:
        yield one


@pytest.fixture(scope="session")
def services() -> Iterator[Backends]:
    """DynamoDB and Bedrock for the stacks that tests start with settings of their own."""
    with stacks.services() as running:
        yield running

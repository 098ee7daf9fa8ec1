"""What every test shares: an environment with no AWS account in it."""

import os
from collections.abc import Iterator
from typing import Any

import boto3
import hypothesis
import pytest
from moto import mock_aws
from support import endpoints
from support.reporting import TOLD
from xdist.scheduler import LoadScopeScheduling

from local.aws.moto_server import create_table
from store.table import Table, client_config

# No deadlines: a slow machine is not a defect. By default every run tries the same examples, so
# that it tests the change; `--hypothesis-profile explore` tries new ones. A failure prints the code
# that repeats it.
hypothesis.settings.register_profile("same", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("explore", deadline=None, print_blob=True)
hypothesis.settings.load_profile("same")

# The handler reads its settings when it is imported, as it does in Lambda.
AWS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
os.environ.update({**AWS, "TABLE_NAME": "chat"})
for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE", "AWS_REGION"):
    os.environ.pop(name, None)


class _ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist tells no types of it
    """With several workers each gets whole files; those of the deployment stay together."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        deploys = file.startswith("tests/terraform/") and not file.endswith("test_static.py")
        return "deployment" if deploys else file


def pytest_configure(config: pytest.Config) -> None:
    """What is to be printed in the end; with several workers, all of it by the one in charge."""
    config.stash[TOLD] = []


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes over what a worker has to say."""
    node.config.stash[TOLD] += getattr(node, "workeroutput", {}).get("told", [])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Prints what the tests found out."""
    for line in config.stash[TOLD]:
        terminalreporter.write_line(line)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """How the tests are shared out."""
    return _ByFile(config, log)


@pytest.fixture(autouse=True)
def _no_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_ENDPOINT_URL")]:
        monkeypatch.delenv(name)


@pytest.fixture
def table() -> Iterator[Table]:
    """An empty table in moto, in this process."""
    with mock_aws():
        create_table("https://dynamodb.us-east-1.amazonaws.com", "chat")
        client = boto3.client("dynamodb", config=client_config())
        yield Table(client, "chat")


@pytest.fixture
def connections() -> Iterator[endpoints.ConnectionsEndpoint]:
    """Where posts to connections go."""
    with endpoints.connections() as kept:
        yield kept


@pytest.fixture(scope="session")
def bedrock() -> Iterator[str]:
    """The URL of a scripted Bedrock endpoint."""
    with endpoints.bedrock() as url:
        yield url

"""What all tests share: an environment without an AWS account, and the order of the run."""

import os
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import nullcontext
from typing import Any

import hypothesis
import pytest
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants
from moto import mock_aws
from support import artifacts, endpoints, unmeasured
from support.aws_clients import dynamodb
from support.controlled_bedrock import serving
from support.reporting import REPORT_LINES
from xdist.scheduler import LoadScopeScheduling

from local.aws.moto_server import define_table
from local.bedrock.script import Scripted
from store.table import Table

# No deadlines: a slow machine is not a defect. By default every run tries the same examples, so
# that it tests the change; `--hypothesis-profile explore` tries new ones. A failure prints the code
# that repeats it.
hypothesis.settings.register_profile("same", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("explore", deadline=None, print_blob=True)
hypothesis.settings.load_profile("same")
# Hypothesis also draws constants of the modules of this repository that happen to be loaded, which
# depend on the tests that the same worker has run before.
providers._get_local_constants = Constants

# The handler reads its settings when it is imported, as it does in Lambda.
AWS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
# Go's runtime, for Terraform and its provider: fewer collections, and no helper threads for them.
# Their work takes a quarter less CPU.
GO = {"GOGC": "400", "GOMAXPROCS": "1"}
os.environ.update({**AWS, **GO, "TABLE_NAME": "chat"})
for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CA_BUNDLE", "AWS_REGION"):
    os.environ.pop(name, None)


# What takes longest begins first, so that no worker has a long file left when the others are done.
LONGEST_FIRST = (
    "tests/terraform/",
    "tests/faults/",
    "tests/test_sequences.py",
    "tests/bench/",
    "tests/e2e/",
    "tests/web/",
    "tests/deploy/",
    "tests/terminal/",
    "tests/local/",
)
# The variable by which coverage measures child processes (`patch = ["subprocess"]`). A measured one
# takes twice the CPU time, so only the children of these tests are measured: they run what no test
# runs in its own process.
CHILDREN_VARIABLE = "COVERAGE_PROCESS_CONFIG"
MEASURED_CHILDREN = (
    "tests/local/aws/",
    "tests/local/bedrock/test_server.py",
    "tests/local/test___main__.py",
    "tests/local/test_exit_with_parent.py",
    "tests/terminal/",  # the client, but not the stacks: see support/stacks.py
)
_MEASUREMENT = os.environ.get(CHILDREN_VARIABLE)


# One worker runs all files of these folders, which share a browser, or three stacks.
TOGETHER = ("tests/web/", "tests/terminal/")
# The files of tests/terraform that do without the deployment, which all others share.
WITHOUT_THE_DEPLOYMENT = ("_static.py", "_refusals.py", "_recovery.py", "_provider6.py")


class _ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Distributes whole files to the workers; those that share a stack or a browser together."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        deploys = file.startswith("tests/terraform/") and not file.endswith(WITHOUT_THE_DEPLOYMENT)
        shared = [folder for folder in TOGETHER if file.startswith(folder)]
        return "deployment" if deploys else "".join(shared) or file


def pytest_configure(config: pytest.Config) -> None:
    """Prepares the lines of the final report, and removes what earlier failures have left."""
    config.stash[REPORT_LINES] = []
    if not hasattr(config, "workerinput"):
        shutil.rmtree(artifacts.FAILURES, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes over the lines of a worker."""
    node.config.stash[REPORT_LINES] += getattr(node, "workeroutput", {}).get("report_lines", [])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Prints the lines of the final report."""
    for line in config.stash[REPORT_LINES]:
        terminalreporter.write_line(line)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sorts the files of a run with several workers; each worker has to find the same order."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _rank(item.nodeid))


def _rank(nodeid: str) -> int:
    ranks = [rank for rank, path in enumerate(LONGEST_FIRST) if nodeid.startswith(path)]
    return ranks[0] if ranks else len(LONGEST_FIRST)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """The scheduler that distributes the tests."""
    config.option.loadscopereorder = False  # by number of tests, which says nothing of their time
    return _ByFile(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Decides whether coverage measures the processes that the test starts."""
    if _MEASUREMENT and item.nodeid.startswith(MEASURED_CHILDREN):
        os.environ[CHILDREN_VARIABLE] = _MEASUREMENT
    else:
        os.environ.pop(CHILDREN_VARIABLE, None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Saves under build/failures what explains a failure."""
    report = yield
    if report.failed and (folder := artifacts.save_all(item.nodeid)):
        report.sections.append(("what explains it", str(folder)))
    return report


@pytest.fixture(autouse=True)
def _no_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_ENDPOINT_URL")]:
        monkeypatch.delenv(name)


@pytest.fixture
def without_coverage() -> Iterator[None]:
    """For thousands of random inputs: they take many times as long where each line is counted."""
    with unmeasured.this_process():
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Runs property tests without coverage: the lines are for tests by example to reach."""
    is_property = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
    with unmeasured.this_process() if is_property else nullcontext():
        return (yield)


@pytest.fixture
def table() -> Iterator[Table]:
    """An empty table in moto, in this process."""
    with mock_aws():
        define_table(dynamodb(), "chat")
        yield Table(dynamodb(), "chat")


@pytest.fixture(scope="module")
def _connections() -> Iterator[Callable[[], endpoints.ConnectionsEndpoint]]:
    with endpoints.connections() as renewed:
        yield renewed


@pytest.fixture
def connections(
    _connections: Callable[[], endpoints.ConnectionsEndpoint],
) -> endpoints.ConnectionsEndpoint:
    """An `@connections` endpoint."""
    return _connections()


@pytest.fixture(scope="module")
def bedrock() -> Iterator[str]:
    """The URL of a scripted Bedrock endpoint, in a thread of this process."""
    with serving(Scripted()) as url:
        yield url

"""One deployment for all tests of this folder, begun while other tests still run."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from deployments import FIRST, Site

from deploy import terraform

SITE = pytest.StashKey[Future[Site]]()
TOLD = pytest.StashKey[list[str]]()


def _first() -> Site:
    site = Site()
    try:
        site.serving(FIRST)
        site.plan_again()
    except BaseException:
        site.close()
        raise
    return site


def pytest_configure(config: pytest.Config) -> None:
    """What is to be printed in the end; with several workers, all of it by the one in charge."""
    config.stash[TOLD] = []


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begins to deploy at once, for Terraform and its provider mostly wait.

    Not where several workers share the tests: only one of them will be given these, and it deploys
    while the others go on.
    """
    wanted = any("site" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly and not _shared(session.config):
        _begin(session.config)


def _shared(config: pytest.Config) -> bool:
    return bool(getattr(config.option, "numprocesses", None)) or hasattr(config, "workerinput")


def _begin(config: pytest.Config) -> Future[Site]:
    deploying = ThreadPoolExecutor(1, "deploying")
    config.stash[SITE] = deploying.submit(_first)
    deploying.shutdown(wait=False)
    return config.stash[SITE]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Takes it away, whether a test has used it or not."""
    config = session.config
    deploying = config.stash.get(SITE, None)
    if deploying is not None and deploying.exception() is None:
        site = deploying.result()
        site.close()
        config.stash[TOLD] += [
            f"terraform {what}: {seconds:.0f} s" for what, seconds in site.took.items()
        ]
    if hasattr(config, "workeroutput"):
        config.workeroutput["told"] = config.stash[TOLD]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes over what a worker has to say."""
    node.config.stash[TOLD] += getattr(node, "workeroutput", {}).get("told", [])


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Site:
    """The deployment; a test asks it for the version that it is about."""
    begun = request.config.stash.get(SITE, None) or _begin(request.config)
    try:
        return begun.result()
    except terraform.TerraformMissingError as error:
        # On a person's machine the rest is worth running; a change is not taken without this.
        missing = str(error)
    if "CI" in os.environ:
        pytest.fail(missing)
    pytest.skip(missing)


@pytest.fixture
def told(request: pytest.FixtureRequest) -> list[str]:
    """Lines to print when all is over."""
    return request.config.stash[TOLD]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Prints what the tests found out."""
    for line in config.stash.get(TOLD, []):
        terminalreporter.write_line(line)

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


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begins to deploy at once, for Terraform and its provider mostly wait."""
    session.config.stash[TOLD] = []
    wanted = any("site" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly:
        deploying = ThreadPoolExecutor(1, "deploying")
        session.config.stash[SITE] = deploying.submit(_first)
        deploying.shutdown(wait=False)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Takes it away, whether a test has used it or not."""
    deploying = session.config.stash.get(SITE, None)
    if deploying is not None and deploying.exception() is None:
        site = deploying.result()
        site.close()
        session.config.stash[TOLD] += [
            f"terraform {what}: {seconds:.0f} s" for what, seconds in site.took.items()
        ]


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Site:
    """The deployment; a test asks it for the version that it is about."""
    try:
        return request.config.stash[SITE].result()
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

"""One deployment for all tests of this folder, started before the first of them runs."""

from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from support import zips
from support.deployments import FIRST, Site
from support.e2e_clients import skip_or_fail
from support.reporting import REPORT_LINES

from deploy import terraform

SITE = pytest.StashKey[Future[Site]]()


def _first(config: pytest.Config) -> Site:
    site = Site(zips.built(zips.shared(config), "lambda"))
    try:
        site.serving(FIRST)
        site.plan_again()
    except BaseException:
        site.close()
        raise
    return site


def pytest_collection_finish(session: pytest.Session) -> None:
    """Starts to deploy before the first test runs: Terraform and its provider mostly wait.

    With several workers the deployment starts with the first test that needs it, because only one
    worker runs these tests.
    """
    needed = any("site" in getattr(item, "fixturenames", ()) for item in session.items)
    if needed and not session.config.option.collectonly and not _shared(session.config):
        _start(session.config)


def _shared(config: pytest.Config) -> bool:
    return bool(getattr(config.option, "numprocesses", None)) or hasattr(config, "workerinput")


def _start(config: pytest.Config) -> Future[Site]:
    deploying = ThreadPoolExecutor(1, "deploying")
    config.stash[SITE] = deploying.submit(_first, config)
    deploying.shutdown(wait=False)
    return config.stash[SITE]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stops what serves it, whether or not a test has used it."""
    config = session.config
    deploying = config.stash.get(SITE, None)
    if deploying is not None and deploying.exception() is None:
        site = deploying.result()
        site.close()
        config.stash[REPORT_LINES] += [
            f"terraform {what}: {seconds:.0f} s" for what, seconds in site.took.items()
        ]
    if hasattr(config, "workeroutput"):  # printed by the controller: tests/conftest.py
        config.workeroutput["report_lines"] = config.stash[REPORT_LINES]


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Site:
    """The deployment; a test requests the version that it is about."""
    deploying = request.config.stash.get(SITE, None) or _start(request.config)
    try:
        return deploying.result()
    except terraform.TerraformMissingError as error:
        # Locally the other tests are still useful; CI requires these.
        missing = str(error)
    return skip_or_fail(missing)


@pytest.fixture
def report_lines(request: pytest.FixtureRequest) -> list[str]:
    """Lines to print when all is over."""
    return request.config.stash[REPORT_LINES]

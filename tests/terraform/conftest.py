"""One deployment for all tests of this folder, begun while other tests still run."""

from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from support.deployments import FIRST, Site
from support.e2e_clients import cannot_be_had
from support.reporting import TOLD

from deploy import terraform

SITE = pytest.StashKey[Future[Site]]()


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
    if hasattr(config, "workeroutput"):  # printed by the one in charge: tests/conftest.py
        config.workeroutput["told"] = config.stash[TOLD]


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Site:
    """The deployment; a test asks it for the version that it is about."""
    begun = request.config.stash.get(SITE, None) or _begin(request.config)
    try:
        return begun.result()
    except terraform.TerraformMissingError as error:
        # On a person's machine the rest is worth running; a change is not taken without this.
        missing = str(error)
    return cannot_be_had(missing)


@pytest.fixture
def told(request: pytest.FixtureRequest) -> list[str]:
    """Lines to print when all is over."""
    return request.config.stash[TOLD]

"""What the tests of the page share: one stack, one browser, and a context for each test."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from support.browsers import REQUESTS, Chat, Served, Told, executable, served
from support.e2e_clients import PATIENCE


@pytest.fixture(scope="session")
def site() -> Iterator[Served]:
    """The stack with the scripted model, and its page, for all that need no other."""
    settings = {"SHOW_REASONING": "true", "REQUESTS_PER_DAY": str(REQUESTS), "RETRY_SECONDS": "0"}
    with served(environment=settings) as one:
        yield one


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for each file of tests: while Playwright runs, no other test could have an event loop."""
    found = executable()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found)
        yield chromium
        chromium.close()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def context(browser: Browser, told: Told) -> Iterator[BrowserContext]:
    """A browser that nobody has used; what it complains of fails the test."""
    made = browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    made.set_default_timeout(PATIENCE * 1000)
    made.on("page", told.listen)
    yield made
    made.close()
    assert [] == told.unexpected


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """An empty tab."""
    return context.new_page()


@pytest.fixture
def chat(page: Page, site: Served) -> Chat:
    """The page, open and connected."""
    return Chat(page, site.page).open()

"""Fixtures of the page's tests: one stack, one browser, and new contexts for each test.

A failed test leaves screenshots of its pages, and what the browser reported, under build/.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright
from support import failures
from support.browsers import REQUESTS, BrowserLog, Chat, Served, executable, served
from support.e2e_clients import PATIENCE
from support.failures import pytest_runtest_makereport

__all__ = ["pytest_runtest_makereport"]


@pytest.fixture(scope="session")
def site() -> Iterator[Served]:
    """The stack with the scripted model, and its page, for tests without settings of their own."""
    settings = {"SHOW_REASONING": "true", "REQUESTS_PER_DAY": str(REQUESTS), "RETRY_SECONDS": "0"}
    with served(environment=settings) as one:
        yield one


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One per file: while Playwright runs, no other test in this process can use an event loop."""
    found = executable()
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found)
        yield chromium
        chromium.close()


@pytest.fixture
def browser_log() -> BrowserLog:
    """What the browser reports."""
    return BrowserLog()


@pytest.fixture
def new_context(
    request: pytest.FixtureRequest, browser: Browser, browser_log: BrowserLog
) -> Iterator[Callable[..., BrowserContext]]:
    """Open a new browser context. An error or a warning of the browser fails the test."""
    contexts: list[BrowserContext] = []

    def new(**options: Any) -> BrowserContext:
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE * 1000)
        context.on("page", browser_log.watch)
        contexts.append(context)
        return context

    yield new
    unexpected = list(browser_log.unexpected)
    if unexpected or failures.has_failed(request.node):
        _save(request.node, contexts, browser_log)
    for context in contexts:
        context.close()
    assert [] == unexpected


def _save(item: pytest.Item, contexts: list[BrowserContext], browser_log: BrowserLog) -> None:
    failures.path_for(item, "browser.txt").write_text("\n".join(browser_log.entries))
    pages = [page for context in contexts for page in context.pages]
    for number, page in enumerate(pages, 1):
        try:
            page.screenshot(path=failures.path_for(item, f"page-{number}.png"), timeout=5_000)
        except Error as error:  # a crashed page must not hide why the test failed
            failures.path_for(item, f"page-{number}.txt").write_text(str(error))


@pytest.fixture
def context(new_context: Callable[..., BrowserContext]) -> BrowserContext:
    """A new browser context."""
    return new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """An empty tab."""
    return context.new_page()


@pytest.fixture
def chat(page: Page, site: Served) -> Chat:
    """The page, open and connected."""
    return Chat(page, site.page).open()

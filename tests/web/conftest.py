"""Fixtures of the page's tests: one stack, one browser, and new contexts for each test.

A failed test leaves screenshots of its pages, and what the browser reported, under build/failures.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright
from support.artifacts import on_failure
from support.browsers import REQUESTS, BrowserLog, Chat, Served, executable, served
from support.e2e_clients import PATIENCE

FOLDER = Path(__file__).parent
_RUNNING = ExitStack()
SCREENSHOT_MS = 10_000  # a page that is busy for longer is left without a picture


@pytest.fixture(scope="session")
def site() -> Iterator[Served]:
    """The stack with the scripted model, and its page, for tests without settings of their own."""
    settings = {"SHOW_REASONING": "true", "REQUESTS_PER_DAY": str(REQUESTS), "RETRY_SECONDS": "0"}
    with served(environment=settings) as one:
        yield one


@functools.cache
def _launched() -> Browser:
    playwright = _RUNNING.enter_context(sync_playwright())
    chromium = playwright.chromium.launch(executable_path=executable())
    _RUNNING.callback(chromium.close)
    return chromium


@pytest.fixture
def browser() -> Browser:
    """One for all tests of this folder."""
    return _launched()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Closes the browser after the last test that can use it.

    While it runs, no other test in this process can use an event loop.
    """
    if nextitem is None or FOLDER not in nextitem.path.parents:
        _launched.cache_clear()
        _RUNNING.close()


@pytest.fixture
def browser_log() -> BrowserLog:
    """What the browser reports."""
    return BrowserLog()


@pytest.fixture
def new_context(
    browser: Browser, browser_log: BrowserLog
) -> Iterator[Callable[..., BrowserContext]]:
    """Open a new browser context. An error or a warning of the browser fails the test."""
    contexts: list[BrowserContext] = []

    def new(**options: Any) -> BrowserContext:
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE * 1000)
        context.on("page", browser_log.watch)
        contexts.append(context)
        return context

    def save(folder: Path) -> None:
        _write(folder, _state(contexts, browser_log))

    with on_failure(save):
        yield new
    state = _state(contexts, browser_log) if browser_log.unexpected else {}
    for context in contexts:
        context.close()
    with on_failure(lambda folder: _write(folder, state)):
        assert [] == browser_log.unexpected


def _state(contexts: list[BrowserContext], browser_log: BrowserLog) -> dict[str, bytes]:
    """By file name: what the browser reported, and each page's screenshot and elements."""
    state = {"browser.txt": "\n".join(browser_log.entries).encode()}
    pages = [page for context in contexts for page in context.pages]
    for number, page in enumerate(pages, 1):
        try:
            state[f"page-{number}.html"] = page.content().encode()
            state[f"page-{number}.png"] = page.screenshot(timeout=SCREENSHOT_MS)
        except Error as error:  # a crashed page must not hide why the test failed
            state[f"page-{number}.txt"] = str(error).encode()
    return state


def _write(folder: Path, state: Mapping[str, bytes]) -> None:
    for name, content in state.items():
        (folder / name).write_bytes(content)


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

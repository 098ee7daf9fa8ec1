"""Helpers of the page's tests: the browser, the stack in this process, the page, and a log."""

import asyncio
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import ConsoleMessage, Dialog, Locator, Page, expect
from support.artifacts import Log, on_failure
from support.e2e_clients import PATIENCE, script, skip_or_fail
from support.stacks import LONG_ANSWERS
from support.threads import in_a_thread

from local.gateway.authorization import RefusedError
from local.page import serving
from local.stack import Stack

expect.set_options(timeout=PATIENCE * 1000)
REQUESTS = 100_000  # a daily quota that no test reaches by asking
MODULES = Path(__file__).parents[1] / "web" / "node_modules"
UNPACK = "import('@sparticuz/chromium').then((each) => each.default.executablePath())"


@dataclass
class Served:
    """A running stack and its page, in a thread of their own."""

    stack: Stack
    page: str
    loop: asyncio.AbstractEventLoop

    @property
    def dynamodb(self) -> str:
        """The URL of the stack's DynamoDB."""
        assert self.stack._backends is not None
        return self.stack._backends.dynamodb.url

    def call(self, function: Callable[[], Any]) -> Any:
        """Call a function in the stack's thread."""

        async def call() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(PATIENCE)

    def drop(self) -> None:
        """Abort every connection, as a network failure does: without a close frame."""

        def cut() -> None:
            for each in list(self.stack.gateway._sockets.values()):
                each.abort()

        self.call(cut)


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute of the stack within a `with` block."""
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


async def _refuse(*_: Any) -> Any:
    raise RefusedError(403)


def refusing(site: Served) -> AbstractContextManager[None]:
    """Refuse every handshake within a `with` block."""
    return replaced(site.stack.gateway, "_authorizer", _refuse)


def served(**options: Any) -> AbstractContextManager[Served]:
    """Start `Stack(**options)` and its page. Raises the error if it does not start."""
    return in_a_thread(_opened(options))


@asynccontextmanager
async def _opened(options: dict[str, Any]) -> AsyncIterator[Served]:
    environment = {**LONG_ANSWERS, **options.pop("environment", {})}
    log = Log("stack")
    stack = Stack(say=log, log=log, environment=environment, **options)
    async with AsyncExitStack() as parts:
        parts.enter_context(on_failure(log.save))
        await parts.enter_async_context(stack)
        page = await parts.enter_async_context(serving(stack.page, 0))
        yield Served(stack, page, asyncio.get_running_loop())


def executable() -> str:
    """Return the path of the browser that CHROME names, or of the one from npm.

    The latter runs on Linux on x64 only, and is unpacked once.
    """
    if named := os.environ.get("CHROME"):
        return named
    unpacked = MODULES / ".chromium"
    if not unpacked.exists():
        if (platform.system(), platform.machine()) != ("Linux", "x86_64") or not MODULES.exists():
            skip_or_fail("no browser: let CHROME name Chrome or Chromium; see tests/web")
        with tempfile.TemporaryDirectory(dir=MODULES) as folder:
            subprocess.run(
                ["node", "-e", UNPACK],
                cwd=MODULES.parent,
                env={**os.environ, "TMPDIR": folder},
                check=True,
                capture_output=True,
                timeout=4 * PATIENCE,
            )
            if not unpacked.exists():  # unless another worker was faster
                shutil.move(Path(folder) / "chromium", unpacked)
    return str(unpacked)


@dataclass
class BrowserLog:
    """Errors, warnings and dialogs of the browser. A test adds those it causes to `expected`."""

    entries: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        """Record the errors, warnings and dialogs of a page."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.entries.append(f"error: {error}"))
        page.on("dialog", self._dialog)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.entries.append(f"{message.type}: {message.text}")

    def _dialog(self, dialog: Dialog) -> None:
        self.entries.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    @property
    def unexpected(self) -> list[str]:
        return [each for each in self.entries if not any(text in each for text in self.expected)]


class Chat:
    """The page in one tab, as a user operates it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.question = page.get_by_label("Your question")
        self.answers = page.locator(".answer")
        self.notes = page.locator(".note")
        self.ended = page.locator(".foot")

    def open(self) -> "Chat":
        """Open the page, and wait until it is connected."""
        with self.page.expect_websocket():  # the notice about connecting is visible from here on
            self.page.goto(self.url)
        expect(self.page.locator("#notice")).to_be_hidden()
        expect(self.question).to_be_focused()
        return self

    def ask(self, text: str = "", /, **order: Any) -> None:
        """Send a question, or an order to the scripted model."""
        self.question.fill(text or script(**order))
        self.question.press("Enter")

    def answer_to(self, text: str = "", /, **order: Any) -> Locator:
        """Send a question or an order; return the answer once it has ended."""
        before = self.ended.count()
        self.ask(text, **order)
        self.has_ended(before + 1)
        return self.answers.last

    def has_ended(self, turns: int = 1) -> None:
        """Wait until so many turns have ended."""
        expect(self.ended).to_have_count(turns)

    def has_started(self) -> None:
        """Wait for the first text of the last answer."""
        expect(self.answers.last).not_to_be_empty()

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

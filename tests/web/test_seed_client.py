"""Covers `?format=seed`: the sample's own web client works unchanged, in a real browser."""

import re
import secrets
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, WebSocket, expect
from support.browsers import Served
from support.e2e_clients import client, script
from support.stacks import MANY

CLIENT = Path(__file__).parent / "seed" / "index.html"
PING_MS, PATIENCE_MS = 40_000, 5_000  # the client's own timers

# Records the text shown whenever it changes.
WATCH = """() => {
  window.shown = [];
  new MutationObserver(() => window.shown.push(document.querySelector("li:last-child").innerText))
    .observe(document.getElementById("log"), { childList: true, subtree: true });
}"""


class Sample:
    """The sample's client in a tab, connected."""

    def __init__(self, page: Page, site: Served) -> None:
        self.page = page
        self.session_id = secrets.token_urlsafe()
        self.sockets: list[WebSocket] = []
        page.on("websocket", self._opened)
        query = f"format=seed&session_id={self.session_id}"
        endpoint = urlencode({"endpoint": f"{site.stack.url}?{query}"})
        page.goto(f"{CLIENT.as_uri()}?{endpoint}")
        expect(page.locator("body")).to_have_attribute("data-connected", "true")
        self.completed = page.locator("li[data-status=completed]")
        self.errors = page.locator("li[data-status=error]")

    def _opened(self, socket: WebSocket) -> None:
        self.sockets.append(socket)

    def ask(self, text: str) -> None:
        question = self.page.get_by_label("Question")
        question.fill(text)
        question.press("Enter")


@pytest.fixture
def sample(page: Page, site: Served) -> Sample:
    return Sample(page, site)


def test_the_text_grows_until_it_is_complete(sample: Sample, site: Served) -> None:
    """Each frame replaces the one before, and continues its text."""
    sample.page.evaluate(WATCH)
    sample.ask(script(chunks=MANY, rate=40, text="line\n"))
    sample.page.wait_for_function("() => new Set(window.shown).size >= 5")
    with client(site.stack.url, session_id=sample.session_id) as other:
        other.send({"action": "stop"})
        expect(sample.completed).to_have_text(re.compile("^(line)+$"))

    shown = sample.page.evaluate("shown")
    assert all(after.startswith(before.rstrip("\n")) for before, after in pairwise(shown))


def test_two_questions_share_a_conversation(sample: Sample) -> None:
    """Each is answered, and the model receives the first with the second."""
    sample.page.evaluate(
        "localStorage.setItem('userId', 'somebody'); localStorage.setItem('convType', 'normal')"
    )
    sample.ask("my name is Zanzibar")
    expect(sample.completed).to_have_text(["You said: my name is Zanzibar"])
    sample.ask(script(echo=True))
    expect(sample.completed).to_have_count(2)

    expect(sample.completed.last).to_contain_text("Zanzibar")


def test_an_error_is_shown(sample: Sample) -> None:
    """By a frame with the status of an error; the next question is answered."""
    sample.ask(script(fault={"before": "AccessDeniedException"}))
    expect(sample.errors).to_have_count(1)
    expect(sample.errors).not_to_be_empty()
    sample.ask("hello")

    expect(sample.completed).to_have_text(["You said: hello"])


def test_a_ping_keeps_the_connection_open(page: Page, site: Served) -> None:
    """The client recognizes the pong, and does not reconnect."""
    page.clock.install()
    sample = Sample(page, site)
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 1)
    for pongs in (1, 2):
        page.clock.fast_forward(PING_MS)
        expect(page.locator("body")).to_have_attribute("data-pongs", str(pongs))
        page.clock.fast_forward(PATIENCE_MS)
    sample.ask("hello")
    expect(sample.completed).to_have_text(["You said: hello"])

    assert 1 == len(sample.sockets)

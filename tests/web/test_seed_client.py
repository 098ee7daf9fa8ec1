"""The sample's web client, which knows nothing of us, is served: `?format=seed`, in a browser."""

from itertools import pairwise
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, WebSocket, expect
from support.browsers import Served
from support.e2e_clients import script

CLIENT = Path(__file__).parent / "seed" / "index.html"
PING_MS, PATIENCE_MS = 40_000, 5_000  # the client's own

# Notes what is shown whenever it changes.
WATCH = """() => {
  window.shown = [];
  new MutationObserver(() => window.shown.push(document.querySelector("li:last-child").innerText))
    .observe(document.getElementById("log"), { childList: true, subtree: true });
}"""


class Sample:
    """The client in a tab, connected."""

    def __init__(self, page: Page, site: Served) -> None:
        self.page = page
        self.sockets: list[WebSocket] = []
        page.on("websocket", self._opened)
        endpoint = urlencode({"endpoint": f"{site.stack.url}?format=seed"})
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


def test_the_text_grows_and_completes(sample: Sample) -> None:
    """Each frame takes the place of the one before, and says more."""
    sample.page.evaluate(WATCH)
    sample.ask(script(chunks=40, rate=60, text="line\n"))
    expect(sample.completed).to_have_text("line" * 40)

    shown = sample.page.evaluate("shown")
    assert len(set(shown)) >= 5
    assert all(after.startswith(before.rstrip("\n")) for before, after in pairwise(shown))


def test_two_questions_in_a_row(sample: Sample) -> None:
    """Each has its answer, and the second knows of the first."""
    sample.page.evaluate(
        "localStorage.setItem('userId', 'somebody'); localStorage.setItem('convType', 'normal')"
    )
    sample.ask("my name is Zanzibar")
    expect(sample.completed).to_have_text(["You said: my name is Zanzibar"])
    sample.ask(script(echo=True))
    expect(sample.completed).to_have_count(2)

    expect(sample.completed.last).to_contain_text("Zanzibar")


def test_an_error_shows(sample: Sample) -> None:
    """As a frame of its own kind; the next question is answered."""
    sample.ask(script(fault={"before": "AccessDeniedException"}))
    expect(sample.errors).to_have_count(1)
    expect(sample.errors).not_to_be_empty()
    sample.ask("hello")

    expect(sample.completed).to_have_text(["You said: hello"])


def test_a_ping_keeps_it_open(page: Page, site: Served) -> None:
    """A pong is seen for what it is, in time: the client sees no reason to connect anew."""
    page.clock.install()
    sample = Sample(page, site)
    for pongs in (1, 2):
        page.clock.fast_forward(PING_MS)
        expect(page.locator("body")).to_have_attribute("data-pongs", str(pongs))
        page.clock.fast_forward(PATIENCE_MS)
    sample.ask("hello")
    expect(sample.completed).to_have_text(["You said: hello"])

    assert 1 == len(sample.sockets)

"""Covers web/signin.js: a person signs in at the local issuer, in a real browser, and talks."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from playwright.sync_api import Page, Request, expect
from support.browsers import MODULES, Chat, Served, Told, served

from local.page import FOLDER

TOKEN, ATTEMPT = "signin.token", "signin.attempt"
FAILED = "Failed to load resource"  # the browser's own complaint about what the issuer refuses


@pytest.fixture(scope="module")
def closed() -> Iterator[Served]:
    """The stack, and its page, for whoever has a token."""
    with served(auth="jwt") as one:
        yield one


@dataclass
class Visit:
    """A tab that nobody has signed in from, and all that it told anybody."""

    page: Page
    url: str
    urls: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", self._request)
        self.page.on("websocket", lambda socket: self.urls.append(socket.url))
        self.page.on("console", lambda message: self.said.append(message.text))

    def _request(self, request: Request) -> None:
        self.urls.append(request.url)
        self.said.append(request.headers.get("referer", ""))

    def begin(self) -> None:
        """Opens the page, which goes to the issuer."""
        self.page.goto(self.url)
        self.is_asked()

    def is_asked(self) -> None:
        """Waits until the issuer asks who it is."""
        expect(self.page.get_by_role("heading", name="Sign in")).to_be_visible()

    def answer(self, name: str = "alice") -> None:
        """Tells the issuer, which goes back to the page."""
        self.page.get_by_role("link", name=name, exact=True).click()

    def enter(self, name: str = "alice") -> Chat:
        """Comes in as somebody."""
        self.answer(name)
        return self.is_in()

    def is_in(self) -> Chat:
        """Waits until the page is connected."""
        expect(self.page.get_by_role("button", name="Sign out")).to_be_visible()
        expect(self.page.locator("#notice")).to_be_hidden()
        return Chat(self.page, self.url)

    def is_told(self, words: str) -> None:
        """Waits until the page says so; nothing of it stays in the address bar."""
        expect(self.page.locator("#notice-text")).to_have_text(f"Not connected: {words}")
        assert self.url == self.page.url

    @property
    def returned(self) -> str:
        """Where the issuer has sent the tab back to."""
        [place] = [url for url in self.urls if url.startswith(f"{self.url}?")]
        return place

    def kept(self, name: str) -> Any:
        """What the tab has noted; None where that is nothing."""
        return json.loads(
            self.page.evaluate("name => sessionStorage.getItem(name)", name) or "null"
        )

    def keep(self, name: str, value: Any) -> None:
        """Notes something else."""
        self.page.evaluate(
            "([name, value]) => sessionStorage.setItem(name, value)", [name, json.dumps(value)]
        )

    def on_return(self, program: str) -> None:
        """Has a program run in the page's place, before the page itself, with its notes `noted`."""
        self.page.add_init_script(
            f"{{ const noted = JSON.parse(sessionStorage.getItem('{ATTEMPT}'));"
            f" if (noted) {{ {program} }} }}"
        )


@pytest.fixture
def visit(page: Page, closed: Served) -> Visit:
    return Visit(page, closed.page)


@pytest.fixture
def chat(visit: Visit) -> Chat:
    """The page, with alice signed in."""
    visit.begin()
    return visit.enter()


# -- signing in ------------------------------------------------------------------------------------


def test_a_person_signs_in_and_talks(visit: Visit) -> None:
    """At the issuer, and from then on in the page, whose address is as it was."""
    visit.begin()
    chat = visit.enter()

    assert "You said: hello" == chat.asked("hello").inner_text()
    assert visit.url == visit.page.url
    assert "alice" == visit.page.get_by_role("button", name="Sign out").get_attribute("title")


def test_the_token_is_the_tabs_alone(visit: Visit, chat: Chat) -> None:
    """It is in no address, no message, no cookie, and nothing that outlives the tab."""
    chat.asked("hello")
    token = visit.kept(TOKEN)["token"]
    signature = token.rpartition(".")[2]
    lasting = visit.page.evaluate("JSON.stringify(localStorage) + document.cookie")

    assert any(url.startswith("ws:") for url in visit.urls)
    assert not [each for each in [*visit.urls, *visit.said, lasting] if signature in each]
    assert not visit.page.context.cookies()


def test_the_code_is_gone_before_anything_else(visit: Visit) -> None:
    """When the page first asks for anything of the issuer's, its address has no code any more."""
    visit.begin()
    visit.on_return(
        "const asked = fetch; window.addresses = [];"
        " window.fetch = (...all) => {"
        " if (!String(all[0]).endsWith('config.json')) addresses.push(location.href);"
        " return asked(...all); };"
    )
    visit.enter()
    code = parse_qs(urlsplit(visit.returned).query)["code"][0]

    assert {visit.url} == set(visit.page.evaluate("addresses"))
    assert [visit.returned] == [url for url in visit.urls if code in url]
    assert not [each for each in visit.said if code in each]


def test_a_reload_asks_nobody(visit: Visit, chat: Chat) -> None:
    """The tab still knows who it is, and what was said."""
    chat.asked("hello")
    before = len(visit.urls)
    visit.page.reload()
    visit.is_in()

    expect(chat.answers.last).to_have_text("You said: hello")
    assert not [url for url in visit.urls[before:] if "/authorize" in url]


def test_an_access_token(visit: Visit) -> None:
    """Where the deployment says so, that is what the page brings; it has no nonce."""
    visit.page.route(
        "**/config.json",
        lambda route: route.fulfill(json={**route.fetch().json(), "token": "access_token"}),
    )
    visit.begin()
    chat = visit.enter()
    claims = jwt.decode(visit.kept(TOKEN)["token"], options={"verify_signature": False})

    assert "You said: hello" == chat.asked("hello").inner_text()
    assert "nonce" not in claims


def test_signing_out(visit: Visit, chat: Chat) -> None:
    """Forgets all but the theme, and has the issuer ask who it is, whomever it knows."""
    chat.button("Dark or light").click()
    chat.ask(chunks=2000, rate=50)
    chat.begins()
    chat.question.fill("half a thought")
    chat.button("Sign out").click()
    visit.is_asked()
    asked = parse_qs(urlsplit(visit.page.url).query)
    visit.page.goto(f"{visit.url}icon.svg")  # of the page's origin, and without the page
    kept = "[...Object.keys(localStorage), ...Object.keys(sessionStorage)]"
    assert ["theme", ATTEMPT] == visit.page.evaluate(kept)
    visit.begin()
    visit.answer("bob")
    expect(chat.button("Sign out")).to_have_attribute("title", "bob")

    assert ["login"] == asked["prompt"]


# -- when it has run out ---------------------------------------------------------------------------


def test_a_token_that_has_run_out(visit: Visit, chat: Chat, closed: Served) -> None:
    """The next time that the page connects, the person signs in again, and goes on."""
    chat.asked("hello")
    visit.keep(TOKEN, {**visit.kept(TOKEN), "expiresAt": 0})
    closed.drop()
    visit.is_asked()
    visit.enter()

    expect(chat.answers).to_have_text(["You said: hello"])
    assert "You said: again" == chat.asked("again").inner_text()


def test_a_token_for_something_else(visit: Visit, chat: Chat) -> None:
    """What was signed in to at this address before is nothing to this deployment."""
    visit.keep(TOKEN, {**visit.kept(TOKEN), "purpose": "another"})
    chat.page.reload()

    visit.is_asked()


# -- what goes wrong -------------------------------------------------------------------------------


def test_nobody_signs_in(visit: Visit) -> None:
    """The issuer's reason is told, and the person may try again."""
    visit.begin()
    visit.answer("Cancel")
    visit.is_told("the issuer did not sign you in: sign-in cancelled.")
    visit.page.get_by_role("button", name="Connect").click()

    visit.is_asked()


def test_a_return_that_was_not_asked_for(visit: Visit, closed: Served) -> None:
    """Somebody else's code signs nobody in: its state is not this tab's."""
    visit.begin()
    visit.page.goto(f"{visit.url}?code=theirs&state=theirs")
    visit.is_told("this sign-in was not begun here, or was used already.")

    assert not [url for url in visit.urls if url == f"{closed.stack.page['issuer']}/token"]
    assert visit.kept(TOKEN) is None


def test_a_return_that_was_used(visit: Visit, chat: Chat) -> None:
    """Its address, from a history or a log, is of no use."""
    del chat
    visit.page.goto(visit.returned)

    visit.is_told("this sign-in was not begun here, or was used already.")


def test_a_code_that_was_used(visit: Visit, told: Told) -> None:
    """Even with all that the tab knew of it, the issuer takes it once."""
    told.expected.append(FAILED)
    visit.begin()
    visit.on_return("sessionStorage.copy = JSON.stringify(noted);")
    visit.enter()
    visit.keep(TOKEN, None)
    visit.keep(ATTEMPT, visit.kept("copy"))
    visit.page.goto(visit.returned)

    visit.is_told("the issuer did not take this sign-in: invalid grant.")


@pytest.mark.parametrize(
    ("noted", "words"),
    [
        ("nonce", "the issuer's answer is not as it should be."),
        ("verifier", "the issuer did not take this sign-in: invalid grant."),
    ],
)
def test_another_attempts_code(visit: Visit, told: Told, noted: str, words: str) -> None:
    """A code that was made for another attempt has its nonce and its challenge."""
    told.expected.append(FAILED)
    visit.begin()
    visit.on_return(
        f"noted.{noted} = 'x'.repeat(43);"
        f" sessionStorage.setItem('{ATTEMPT}', JSON.stringify(noted));"
    )
    visit.answer()
    visit.is_told(words)

    assert visit.kept(TOKEN) is None


def test_an_issuer_that_is_not_there(visit: Visit, told: Told, closed: Served) -> None:
    """The page says that it cannot be reached, and tries again, by itself or at once."""
    told.expected.append(FAILED)
    issuer = closed.stack.page["issuer"]
    visit.page.route("**/.well-known/*", lambda route: route.abort())
    visit.page.goto(visit.url)
    notice = visit.page.locator("#notice-text")
    words = f"Not connected: {issuer} cannot be reached from this page. Trying again in"
    expect(notice).to_contain_text(words)
    with visit.page.expect_request("**/.well-known/*"):  # by itself
        pass
    expect(notice).to_contain_text(words)
    visit.page.unroute_all()
    visit.page.evaluate("dispatchEvent(new Event('online'))")

    visit.is_asked()


def test_coming_back_without_signing_in(visit: Visit) -> None:
    """By the browser's own button, the page that waits is there again, and says so."""
    visit.page.route("**/authorize?*", lambda route: route.abort("aborted"))
    with visit.page.expect_request("**/authorize?*"):
        visit.page.goto(visit.url)
    visit.page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")

    visit.is_told("you have not signed in.")


@pytest.mark.parametrize(
    ("vendored", "original"),
    [("oauth4webapi.js", "build/index.js"), ("oauth4webapi.LICENSE.txt", "LICENSE.md")],
)
def test_the_library_is_what_npm_has(vendored: str, original: str) -> None:
    """Byte for byte the file of the package that tests/web/package-lock.json pins."""
    package = MODULES / "oauth4webapi"
    assert (package / original).read_bytes() == (FOLDER / "vendor" / vendored).read_bytes()

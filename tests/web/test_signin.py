"""Covers web/signin.js: signing in at the local issuer, in a real browser."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from playwright.sync_api import Page, Request, expect
from support.browsers import MODULES, BrowserLog, Chat, Served, served
from support.stacks import MANY

from local.page import FOLDER

TOKEN, ATTEMPT = "signin.token", "signin.attempt"
FAILED = "Failed to load resource"  # the browser's own report of a response with an error


@pytest.fixture(scope="module")
def closed() -> Iterator[Served]:
    """The stack with JWT authentication, and its page."""
    with served(auth="jwt") as one:
        yield one


@dataclass
class Visit:
    """A tab without a sign-in, and everything that it has disclosed."""

    page: Page
    url: str
    urls: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("request", self._request)
        self.page.on("websocket", lambda socket: self.urls.append(socket.url))
        self.page.on("console", lambda message: self.texts.append(message.text))

    def _request(self, request: Request) -> None:
        self.urls.append(request.url)
        self.texts.append(request.headers.get("referer", ""))

    def open(self) -> None:
        """Open the page, which redirects to the issuer."""
        self.page.goto(self.url)
        self.is_at_issuer()

    def is_at_issuer(self) -> None:
        """Wait until the issuer shows its sign-in page."""
        expect(self.page.get_by_role("heading", name="Sign in")).to_be_visible()

    def choose(self, name: str = "alice") -> None:
        """Sign in at the issuer, which redirects to the page."""
        self.page.get_by_role("link", name=name, exact=True).click()

    def sign_in(self, name: str = "alice") -> Chat:
        """Sign in, and wait until the page is connected."""
        self.choose(name)
        return self.is_connected()

    def is_connected(self) -> Chat:
        """Wait until the page is connected."""
        expect(self.page.get_by_role("button", name="Sign out")).to_be_visible()
        expect(self.page.locator("#notice")).to_be_hidden()
        return Chat(self.page, self.url)

    def shows_error(self, error: str) -> None:
        """Wait until the page shows the error; the address bar contains nothing of it."""
        expect(self.page.locator("#notice-text")).to_contain_text(f"Not connected: {error}")
        assert self.url == self.page.url

    @property
    def redirect(self) -> str:
        """The URL that the issuer redirected the tab to."""
        [redirect] = [url for url in self.urls if url.startswith(f"{self.url}?")]
        return redirect

    def stored(self, name: str) -> Any:
        """Return a value that the tab has stored; None if there is none."""
        return json.loads(
            self.page.evaluate("name => sessionStorage.getItem(name)", name) or "null"
        )

    def store(self, name: str, value: Any) -> None:
        """Store another value."""
        self.page.evaluate(
            "([name, value]) => sessionStorage.setItem(name, value)", [name, json.dumps(value)]
        )

    def before_redirect_is_handled(self, program: str) -> None:
        """Run a script before the page's own, with the stored attempt as `attempt`."""
        self.page.add_init_script(
            f"{{ const attempt = JSON.parse(sessionStorage.getItem('{ATTEMPT}'));"
            f" if (attempt) {{ {program} }} }}"
        )


@pytest.fixture
def visit(page: Page, closed: Served) -> Visit:
    return Visit(page, closed.page)


@pytest.fixture
def chat(visit: Visit) -> Chat:
    """The page, with alice signed in."""
    visit.open()
    return visit.sign_in()


# -- signing in ------------------------------------------------------------------------------------


def test_signing_in_connects_the_page(visit: Visit) -> None:
    """Its address is afterwards as it was, and the button to sign out has the user's name."""
    visit.open()
    chat = visit.sign_in()

    assert "You said: hello" == chat.answer_to("hello").inner_text()
    assert visit.url == visit.page.url
    assert "alice" == visit.page.get_by_role("button", name="Sign out").get_attribute("title")


def test_the_token_stays_in_the_tab(visit: Visit, chat: Chat) -> None:
    """It is in no URL, no message, no cookie, and nothing that outlives the tab."""
    chat.answer_to("hello")
    token = visit.stored(TOKEN)["token"]
    signature = token.rpartition(".")[2]
    lasting = visit.page.evaluate("JSON.stringify(localStorage) + document.cookie")

    assert any(url.startswith("ws:") for url in visit.urls)
    assert not [each for each in [*visit.urls, *visit.texts, lasting] if signature in each]
    assert not visit.page.context.cookies()


def test_the_code_is_removed_from_the_url_first(visit: Visit) -> None:
    """Before the page sends its first request to the issuer."""
    visit.open()
    visit.before_redirect_is_handled(
        "const original = fetch; window.addresses = [];"
        " window.fetch = (...all) => {"
        " if (!String(all[0]).endsWith('config.json')) addresses.push(location.href);"
        " return original(...all); };"
    )
    visit.sign_in()
    code = parse_qs(urlsplit(visit.redirect).query)["code"][0]

    assert {visit.url} == set(visit.page.evaluate("addresses"))
    assert [visit.redirect] == [url for url in visit.urls if code in url]
    assert not [each for each in visit.texts if code in each]


def test_a_reload_needs_no_sign_in(visit: Visit, chat: Chat) -> None:
    """The tab still has its token, and its conversation."""
    chat.answer_to("hello")
    before = len(visit.urls)
    visit.page.reload()
    visit.is_connected()

    expect(chat.answers.last).to_have_text("You said: hello")
    assert not [url for url in visit.urls[before:] if "/authorize" in url]


def test_the_page_can_use_an_access_token(visit: Visit) -> None:
    """If config.json says so; it has no nonce."""
    visit.page.route(
        "**/config.json",
        lambda route: route.fulfill(json={**route.fetch().json(), "token": "access_token"}),
    )
    visit.open()
    chat = visit.sign_in()
    claims = jwt.decode(visit.stored(TOKEN)["token"], options={"verify_signature": False})

    assert "You said: hello" == chat.answer_to("hello").inner_text()
    assert "nonce" not in claims


def test_signing_out_deletes_everything_stored(visit: Visit, chat: Chat) -> None:
    """Except the theme; the issuer prompts again, even if it has a session."""
    chat.button("Switch between dark and light").click()
    chat.ask(chunks=MANY, rate=50)
    chat.has_started()
    chat.question.fill("a draft")
    chat.button("Sign out").click()
    visit.is_at_issuer()
    query = parse_qs(urlsplit(visit.page.url).query)
    visit.page.goto(f"{visit.url}icon.svg")  # the page's origin, without the page
    keys = "[...Object.keys(localStorage), ...Object.keys(sessionStorage)]"
    assert ["theme", ATTEMPT] == visit.page.evaluate(keys)
    visit.open()
    visit.choose("bob")
    expect(chat.button("Sign out")).to_have_attribute("title", "bob")

    assert ["login"] == query["prompt"]


def test_an_issuers_own_session_ends_where_its_configuration_says(visit: Visit) -> None:
    """As Cognito's, which ignores a request for another sign-in; it redirects to the page."""
    url = f"{visit.url}logout?client_id=x"
    visit.page.route(
        "**/config.json",
        lambda route: route.fulfill(json={**route.fetch().json(), "logout_url": url}),
    )
    visit.page.route(
        "**/logout?*", lambda route: route.fulfill(status=302, headers={"Location": visit.url})
    )
    visit.open()
    visit.sign_in()
    with visit.page.expect_request(url):
        visit.page.get_by_role("button", name="Sign out").click()
    visit.is_at_issuer()

    assert visit.stored(TOKEN) is None


# -- expiry ----------------------------------------------------------------------------------------


def test_an_expired_token_is_replaced(visit: Visit, chat: Chat, closed: Served) -> None:
    """When the page connects the next time, the user signs in again and continues."""
    chat.answer_to("hello")
    visit.store(TOKEN, {**visit.stored(TOKEN), "expiresAt": 0})
    closed.drop()
    visit.is_at_issuer()
    visit.sign_in()

    expect(chat.answers).to_have_text(["You said: hello"])
    assert "You said: again" == chat.answer_to("again").inner_text()


def test_another_deployments_token_is_not_used(visit: Visit, chat: Chat) -> None:
    """Even if both are served at the same address."""
    visit.store(TOKEN, {**visit.stored(TOKEN), "purpose": "another"})
    chat.page.reload()

    visit.is_at_issuer()


# -- errors ----------------------------------------------------------------------------------------


def test_a_refused_sign_in_can_be_repeated(visit: Visit) -> None:
    """The page shows the issuer's reason, and a button."""
    visit.open()
    visit.choose("Cancel")
    visit.shows_error("the issuer refused the sign-in: ")
    visit.page.get_by_role("button", name="Connect").click()

    visit.is_at_issuer()


def test_a_response_to_no_request_is_rejected(visit: Visit, closed: Served) -> None:
    """Another user's code is not redeemed: its state is not this tab's."""
    visit.open()
    visit.page.goto(f"{visit.url}?code=theirs&state=theirs")
    visit.shows_error("this sign-in was not started in this tab, or was already completed.")

    assert not [url for url in visit.urls if url == f"{closed.stack.page['issuer']}/token"]
    assert visit.stored(TOKEN) is None


@pytest.mark.usefixtures("chat")
def test_a_completed_response_is_rejected(visit: Visit) -> None:
    """Its URL, from a browser's history or a log, cannot be used again."""
    visit.page.goto(visit.redirect)

    visit.shows_error("this sign-in was not started in this tab, or was already completed.")


def test_a_code_can_be_redeemed_once(visit: Visit, browser_log: BrowserLog) -> None:
    """Even with the attempt's stored values."""
    browser_log.expected.append(FAILED)
    visit.open()
    visit.before_redirect_is_handled("sessionStorage.copy = JSON.stringify(attempt);")
    visit.sign_in()
    visit.store(TOKEN, None)
    visit.store(ATTEMPT, visit.stored("copy"))
    visit.page.goto(visit.redirect)

    visit.shows_error("the issuer rejected the sign-in code: ")


@pytest.mark.parametrize(
    ("member", "error"),
    [
        ("nonce", "the issuer returned an invalid response."),
        ("verifier", "the issuer rejected the sign-in code: "),
    ],
)
def test_another_attempts_code_is_rejected(
    visit: Visit, browser_log: BrowserLog, member: str, error: str
) -> None:
    """A code is bound to the nonce and the challenge of its attempt."""
    browser_log.expected.append(FAILED)
    visit.open()
    visit.before_redirect_is_handled(
        f"attempt.{member} = 'x'.repeat(43);"
        f" sessionStorage.setItem('{ATTEMPT}', JSON.stringify(attempt));"
    )
    visit.choose()
    visit.shows_error(error)

    assert visit.stored(TOKEN) is None


def test_an_unreachable_issuer_is_retried(
    visit: Visit, browser_log: BrowserLog, closed: Served
) -> None:
    """Automatically, and at once when the network is back."""
    browser_log.expected.append(FAILED)
    issuer = closed.stack.page["issuer"]
    visit.page.route("**/.well-known/*", lambda route: route.abort())
    visit.page.goto(visit.url)
    notice = visit.page.locator("#notice-text")
    error = f"Not connected: {issuer} cannot be reached from this page. Reconnecting in"
    expect(notice).to_contain_text(error)
    with visit.page.expect_request("**/.well-known/*"):  # automatically
        pass
    expect(notice).to_contain_text(error)
    visit.page.unroute_all()
    visit.page.evaluate("dispatchEvent(new Event('online'))")

    visit.is_at_issuer()


def test_going_back_without_signing_in(visit: Visit) -> None:
    """The browser's back button shows the waiting page again, which reports it."""
    visit.page.route("**/authorize?*", lambda route: route.abort("aborted"))
    with visit.page.expect_request("**/authorize?*"):
        visit.page.goto(visit.url)
    visit.page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")

    visit.shows_error("you are not signed in.")


@pytest.mark.parametrize(
    ("vendored", "original"),
    [("oauth4webapi.js", "build/index.js"), ("oauth4webapi.LICENSE.txt", "LICENSE.md")],
)
def test_vendored_files_equal_the_npm_package(vendored: str, original: str) -> None:
    """Byte for byte, in the version of tests/web/package-lock.json."""
    package = MODULES / "oauth4webapi"
    assert (package / original).read_bytes() == (FOLDER / "vendor" / vendored).read_bytes()

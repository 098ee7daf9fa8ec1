"""Covers the terminal client's sign-in at an issuer: tokens, where they are stored, renewal."""

import json
import queue
import stat
import time
import webbrowser
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from support.sign_ins import PATIENCE, browser_of
from support.threads import in_a_thread

from bedrock_chat import issuer, sign_in, token_file
from bedrock_chat.issuer import Attempt, Client, Endpoints, SignInError, Tokens
from bedrock_chat.json_requests import UnreachableError
from bedrock_chat.sign_in import SignIn
from bedrock_chat.token_file import TokenFile
from local.auth.issuer import Issuer, run_issuer

SERVER = "wss://chat.example/live"


@pytest.fixture(scope="module")
def local() -> Iterator[Issuer]:
    with in_a_thread(run_issuer("chat", ["alice", "bob"])) as running:
        yield running


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@dataclass
class User:
    """A user's terminal, and the browser beside it."""

    client: Client
    lines: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)

    def sign_in(self, server: str = SERVER) -> SignIn:
        file = TokenFile.of(server, self.client)
        return SignIn(self.client, file, self.lines.append, ports=(0,))

    def store(self, **values: Any) -> None:
        file = TokenFile.of(SERVER, self.client)
        stored = file.read()
        assert stored
        file.write(replace(stored, **values))

    def stored(self) -> Tokens | None:
        return TokenFile.of(SERVER, self.client).read()


@pytest.fixture
def alice(local: Issuer, monkeypatch: pytest.MonkeyPatch) -> User:
    user = User(Client(issuer=local.url, client_id="chat"))
    monkeypatch.setattr(sign_in, "open_browser", browser_of("alice", user.opened))
    return user


def claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


# -- signing in ------------------------------------------------------------------------------------


def test_signing_in_gives_the_users_token(alice: User) -> None:
    """The URL is printed, in case that no browser opens; it contains no verifier."""
    signing = alice.sign_in()
    signing.ensure()
    [url] = alice.opened
    query = parse_qs(urlsplit(url).query)

    assert "alice" == claims(signing.token())["sub"]
    assert [f"Sign in with your browser. If it does not open: {url}"] == alice.lines
    assert ["S256"] == query["code_challenge_method"]
    assert "code_verifier" not in query


def test_the_next_run_uses_the_stored_token(alice: User) -> None:
    """Without a browser."""
    first = alice.sign_in()
    first.ensure()
    second = alice.sign_in()
    second.ensure()

    assert first.token() == second.token()
    assert 1 == len(alice.opened)


def test_another_server_does_not_get_the_stored_token(alice: User) -> None:
    """Even if its web page names the same issuer and client."""
    alice.sign_in().ensure()
    other = alice.sign_in("wss://elsewhere.example/")
    with pytest.raises(SignInError, match="not signed in"):
        other.token()


def test_an_expired_token_is_renewed_without_a_browser(alice: User) -> None:
    """By the refresh token, which is kept: the issuer returns no other."""
    alice.sign_in().ensure()
    before = alice.stored()
    alice.store(expires_at=time.time() + sign_in.MARGIN_SECONDS - 1, token="old")
    signing = alice.sign_in()
    signing.ensure()
    after = alice.stored()

    assert "alice" == claims(signing.token())["sub"]
    assert before
    assert after
    assert (before.refresh_token, signing.token()) == (after.refresh_token, after.token)
    assert 1 == len(alice.opened)


@pytest.mark.parametrize("refresh_token", ["", "revoked"])
def test_without_a_valid_refresh_token_the_user_signs_in_again(
    alice: User, refresh_token: str
) -> None:
    """At the start of the client; during a conversation it is an error."""
    alice.sign_in().ensure()
    alice.store(expires_at=0, refresh_token=refresh_token)
    with pytest.raises(SignInError):
        alice.sign_in().token()
    signing = alice.sign_in()
    signing.ensure()

    assert "alice" == claims(signing.token())["sub"]
    assert 2 == len(alice.opened)


def test_a_token_that_the_server_accepted_is_not_stale(alice: User) -> None:
    """Only a stored one may be, until then: its key may have been replaced."""
    first = alice.sign_in()
    first.ensure()
    second = alice.sign_in()
    second.ensure()
    before = second.may_be_stale
    second.accepted()

    assert (False, True, False) == (first.may_be_stale, before, second.may_be_stale)


def test_a_cancelled_sign_in_is_reported(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the issuer's reason; nothing is stored."""
    monkeypatch.setattr(sign_in, "open_browser", browser_of("Cancel", []))
    with pytest.raises(SignInError, match="refused the sign-in: sign-in cancelled"):
        alice.sign_in().ensure()

    assert alice.stored() is None


def test_an_access_token_can_be_sent(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the server accepts that one."""
    received = {
        "access_token": jwt.encode({"exp": 9e9, "sub": "access"}, "k" * 32),
        "id_token": "x",
    }
    monkeypatch.setattr(issuer, "request", lambda *_: (200, received))
    client = replace(alice.client, kind="access_token")
    tokens = issuer.redeem(client, Endpoints("https://a", "https://t"), Attempt("http://r"), "code")

    assert ("access", 9e9) == (claims(tokens.token)["sub"], tokens.expires_at)


@pytest.mark.parametrize(
    ("variables", "found", "opens"),
    [
        ({}, webbrowser.BackgroundBrowser("firefox"), True),
        ({}, webbrowser.GenericBrowser("lynx"), False),
        ({"BROWSER": "lynx"}, webbrowser.GenericBrowser("lynx"), True),
        ({}, None, False),
    ],
    ids=["a window", "in the terminal", "as BROWSER says", "none"],
)
def test_a_browser_that_would_take_over_the_terminal_is_not_opened(
    monkeypatch: pytest.MonkeyPatch,
    variables: Mapping[str, str],
    found: webbrowser.BaseBrowser | None,
    opens: bool,
) -> None:
    """Unless the user chose it. The printed URL can always be opened by hand."""
    opened: queue.Queue[str] = queue.Queue()

    def get() -> webbrowser.BaseBrowser:
        if found is None:
            raise webbrowser.Error
        monkeypatch.setattr(found, "open", opened.put)
        return found

    monkeypatch.delenv("BROWSER", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(webbrowser, "get", get)
    sign_in.open_browser("https://issuer.example")

    assert not opens or "https://issuer.example" == opened.get(timeout=PATIENCE)
    assert opened.empty()


# -- the issuer ------------------------------------------------------------------------------------


def test_the_challenge_is_the_standards() -> None:
    """RFC 7636, appendix B."""
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" == issuer.challenge(verifier)


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"issuer": "https://other.example"}, "identifies itself as another issuer"),
        ({"authorization_endpoint": "file:///etc/passwd"}, "no https:// endpoints"),
        ({"authorization_endpoint": None}, "no https:// endpoints"),
        ({"token_endpoint": "http://issuer.example/token"}, "no https:// endpoints"),
    ],
)
def test_an_unusable_issuer_is_refused(
    monkeypatch: pytest.MonkeyPatch, document: Mapping[str, Any], error: str
) -> None:
    """Before a browser opens."""
    valid = {
        "issuer": "https://issuer.example",
        "authorization_endpoint": "https://issuer.example/authorize",
        "token_endpoint": "https://issuer.example/token",
    }
    monkeypatch.setattr(issuer, "document", lambda _: {**valid, **document})
    with pytest.raises(SignInError, match=error):
        issuer.discover("https://issuer.example")


@pytest.mark.parametrize(
    ("status", "received", "error", "message"),
    [
        (400, {"error": "invalid_grant"}, SignInError, "rejected the sign-in: invalid grant."),
        (403, {}, SignInError, "rejected the sign-in: status 403."),
        (503, {}, UnreachableError, "https://t returned status 503."),
        (200, {"id_token": "opaque"}, SignInError, "no id_token that is a JWT with an expiry."),
        (200, {"id_token": jwt.encode({}, "k" * 32)}, SignInError, "a JWT with an expiry."),
        (200, {"access_token": "a.b.c"}, SignInError, "no id_token that is a JWT"),
        (200, {"id_token": "a.!.c\n"}, SignInError, "no id_token that is a JWT"),
        (200, {"id_token": "a.YWJj.c"}, SignInError, "no id_token that is a JWT"),
    ],
)
def test_an_unusable_answer_is_reported_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    received: Mapping[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    """Which has nothing of the code, and of what was received only the error."""
    monkeypatch.setattr(issuer, "request", lambda *_: (status, received))
    client = Client(issuer="https://issuer.example", client_id="chat")
    with pytest.raises(error) as caught:
        issuer.redeem(client, Endpoints("https://a", "https://t"), Attempt("http://r"), "secret")

    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


# -- the file --------------------------------------------------------------------------------------


def test_only_the_user_can_read_the_file(alice: User) -> None:
    """From the first moment: it replaces another in one step."""
    alice.sign_in().ensure()
    alice.store(token="another")
    [path] = token_file.folder().iterdir()

    assert (0o600, 0o700) == tuple(
        stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)
    )
    assert "another" == json.loads(path.read_text())["token"]


def test_tokens_are_in_no_representation(alice: User) -> None:
    """So that no log and no traceback has one."""
    alice.sign_in().ensure()
    stored = alice.stored()
    assert stored
    assert not [each for each in (stored.token, stored.refresh_token) if each in repr(stored)]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"token": 1, "expires_at": "x"}', "\xff"])
def test_an_unreadable_file_is_as_none(alice: User, content: str) -> None:
    """The user signs in again, and the file is replaced."""
    file = TokenFile.of(SERVER, alice.client)
    file.path.parent.mkdir(parents=True)
    file.path.write_text(content, "latin-1")
    before = file.read()
    alice.sign_in().ensure()

    assert before is None
    assert file.read() is not None


def test_a_folder_that_cannot_be_written_is_ignored(alice: User, tmp_path: Path) -> None:
    """The token is then kept in memory only."""
    (tmp_path / "bedrock-chat").write_text("a file")
    signing = alice.sign_in()
    signing.ensure()

    assert "alice" == claims(signing.token())["sub"]
    assert alice.stored() is None


def test_signing_out_deletes_every_file(alice: User) -> None:
    """And nothing else."""
    alice.sign_in().ensure()
    alice.sign_in("wss://elsewhere.example/").ensure()
    (token_file.folder().parent / "history").write_text("typed")

    assert [2, 0] == [token_file.delete_all(), token_file.delete_all()]
    assert ["history", "sign-in"] == sorted(
        path.name for path in token_file.folder().parent.iterdir()
    )

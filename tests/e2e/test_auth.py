"""Authentication: the whole local stack with `AUTH=iam` and `AUTH=jwt`, and clients that try."""

import re
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from support import stacks
from support.artifacts import Log
from support.e2e_clients import PATIENCE, Client, Frame, text, wscat
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from deploy.url import presigned, with_query
from local.auth.modes import user
from local.auth.sigv4 import User
from local.aws.account import REGION
from local.stack import Backends, Stack


@dataclass(frozen=True)
class SecuredStack:
    """A stack with `AUTH`, and credentials for it."""

    auth: str
    stack: Stack
    log: Log

    @property
    def url(self) -> str:
        return self.stack.url

    def url_for(self, name: str, **query: str) -> str:
        """A URL with valid credentials of this user."""
        if self.auth == "iam":
            return presigned(self.url, user(name).credentials, REGION, query)
        return with_query(self.url, {**query, "token": self.token(name)})

    def token(self, name: str, **claims: str) -> str:
        """A token, from the URL that `make run` prints."""
        hints = "\n".join(self.stack.hints)
        found = re.search(r"^tokens for anybody: curl (\S+)/bob$", hints, re.MULTILINE)
        assert found is not None
        place = f"{found[1]}/{name}?{urlencode(claims)}"
        with urllib.request.urlopen(place, timeout=PATIENCE) as response:
            return str(response.read().decode().strip())

    def hint(self) -> str:
        """The first line that explains how to connect."""
        return next(line for line in self.stack.hints if line.startswith("connect as alice: "))


def secured(auth: str, services: Backends) -> Iterator[SecuredStack]:
    with stacks.serving(auth=auth, services=services) as (stack, log):
        yield SecuredStack(auth, stack, log)


@pytest.fixture(scope="module")
def iam(services: Backends) -> Iterator[SecuredStack]:
    yield from secured("iam", services)


@pytest.fixture(scope="module")
def jwt(services: Backends) -> Iterator[SecuredStack]:
    yield from secured("jwt", services)


@pytest.fixture(params=["iam", "jwt"])
def closed(request: pytest.FixtureRequest) -> SecuredStack:
    """Each of the stacks."""
    chosen: SecuredStack = request.getfixturevalue(request.param)
    return chosen


@contextmanager
def connected(url: str, subprotocols: Sequence[str] | None = None) -> Iterator[Client]:
    offered = [Subprotocol(each) for each in subprotocols] if subprotocols else None
    with connect(url, subprotocols=offered, max_size=None, open_timeout=PATIENCE) as socket:
        yield Client(socket, "events")


def handshake_status(url: str, subprotocols: Sequence[str] | None = None) -> int:
    """The HTTP status that the handshake ends with instead of an upgrade."""
    with pytest.raises(InvalidStatus) as caught, connected(url, subprotocols):
        pass
    return caught.value.response.status_code


# -- who may connect -------------------------------------------------------------------------------


def test_valid_credentials_connect(closed: SecuredStack) -> None:
    """And get answers, as without authentication."""
    with connected(closed.url_for("alice")) as alice:
        assert "You said: hello" == text(alice.say("hello"))


def test_a_token_may_be_a_subprotocol(jwt: SecuredStack) -> None:
    """As browsers send it; the handshake's response does not contain it."""
    token = jwt.token("alice")
    with connected(jwt.url, ["chat.v1", f"bearer.{token}"]) as alice:
        assert "You said: hello" == text(alice.say("hello"))
        assert "chat.v1" == alice.socket.subprotocol
        assert alice.socket.response is not None
        assert token not in str(alice.socket.response.headers)


def test_the_printed_commands_connect(iam: SecuredStack, jwt: SecuredStack) -> None:
    """The URL of the one, the token of the other."""
    _, url, _ = iam.hint().split("'")
    assert "You said: hello" == "".join(wscat(url, ("hello", "You said: hello")))

    _, url, protocols, token, _ = jwt.hint().split("'")
    assert f"{jwt.url}?format=text" == url
    assert "-s chat.v1 -s" == protocols.strip()
    with connected(jwt.url, ["chat.v1", token]) as alice:
        assert "You said: hello" == text(alice.say("hello"))


def iam_url(
    who: User, stack: SecuredStack, query: Mapping[str, str], *, region: str = REGION, ago: int = 0
) -> str:
    """A URL that was signed some seconds ago, for a minute."""
    at = datetime.now(UTC) - timedelta(seconds=ago)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("botocore.auth.get_current_datetime", lambda: at)
        return presigned(stack.url, who.credentials, region, query, 60)


WRONG_SECRET = User("arn:aws:iam::123456789012:user/alice", "LOCALALICE", "no idea")
SIGNED: Mapping[str, Callable[[SecuredStack], str]] = {
    "unsigned": lambda stack: f"{stack.url}?format=text",
    "expired": lambda stack: iam_url(user("alice"), stack, {}, ago=61),
    "of tomorrow": lambda stack: iam_url(user("alice"), stack, {}, ago=-86_400),
    "another session": lambda stack: iam_url(user("alice"), stack, {"session_id": "mine"}).replace(
        "mine", "hers"
    ),
    "a parameter more": lambda stack: stack.url_for("alice") + "&session_id=hers",
    "a parameter less": lambda stack: stack.url_for("alice", a="b").replace("a=b&", ""),
    "another's key": lambda stack: stack.url_for("alice").replace("LOCALALICE", "LOCALBOB"),
    "a wrong secret": lambda stack: iam_url(WRONG_SECRET, stack, {}),
    "an unknown key": lambda stack: iam_url(User("", "LOCALEVE", "local-eve"), stack, {}),
    "another Region": lambda stack: iam_url(user("alice"), stack, {}, region="eu-west-1"),
    "another path": lambda stack: stack.url_for("alice").replace("?", "/other?"),
}


@pytest.mark.parametrize("how", SIGNED)
def test_iam_refuses_what_is_not_signed_so(iam: SecuredStack, how: str) -> None:
    """Unsigned, expired, or tampered with: 403, and no upgrade."""
    assert 403 == handshake_status(SIGNED[how](iam))


def forged(token: str) -> str:
    """Other claims under the same signature."""
    header, claims, signature = token.split(".")
    return f"{header}.{claims[:-4]}{'AAAA' if claims[-4:] != 'AAAA' else 'BBBB'}.{signature}"


TOKENS: Mapping[str, Callable[[SecuredStack], str]] = {
    "none": lambda _: "",
    "expired": lambda stack: stack.token("alice", seconds="-60"),
    "tampered": lambda stack: forged(stack.token("alice")),
    "another issuer": lambda stack: stack.token("alice", iss="https://id.example"),
    "another audience": lambda stack: stack.token("alice", aud="another"),
    "nonsense": lambda _: "x.y.z",
}


@pytest.mark.parametrize("how", TOKENS)
def test_the_authorizer_refuses_any_other_token(jwt: SecuredStack, how: str) -> None:
    """No token, an invalid one, or one for another audience: 403, however it is sent."""
    token = TOKENS[how](jwt)

    assert 403 == handshake_status(with_query(jwt.url, {"token": token} if token else {}))
    assert 403 == handshake_status(jwt.url, ["chat.v1", *([f"bearer.{token}"] if token else [])])


def test_two_tokens_are_refused(jwt: SecuredStack) -> None:
    """It would be unclear whose connection it is."""
    url = with_query(jwt.url, {"token": jwt.token("alice")})
    assert 403 == handshake_status(url, [f"bearer.{jwt.token('bob')}"])


def test_jwt_ignores_an_iam_signature(jwt: SecuredStack) -> None:
    """A stack with tokens accepts no signature."""
    assert 403 == handshake_status(presigned(jwt.url, user("alice").credentials, REGION))


def test_tokens_are_not_logged(jwt: SecuredStack, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the token nor its subject, by the authorizer, the function or the gateway."""
    caplog.set_level("INFO")
    token = jwt.token("carol-secret")
    with connected(with_query(jwt.url, {"token": token})) as carol:
        carol.say("hello")
    with connected(jwt.url, ["chat.v1", f"bearer.{token}"]) as carol:
        carol.say("hello")
    assert 403 == handshake_status(with_query(jwt.url, {"token": f"{token}x"}))
    log = "\n".join([*jwt.log.lines, caplog.text])

    assert '"event": "authorizer.allowed"' in log
    assert '"event": "authorizer.refused"' in log
    assert "carol-secret" not in log
    assert not [part for part in token.split(".")[1:] if part in log]


# -- who may use a session -------------------------------------------------------------------------

# Every action with another user's session. A new action is added here.
ATTEMPTS: Mapping[str, Frame] = {
    "history": {"action": "history"},
    "chat": {"action": "chat", "body": "go on"},
    "a bare body": {"body": "go on"},
    "parts": {"body": "go on", "part": 1, "parts": 1, "request_id": "r"},
    "continue": {"continue": True},
    "stop": {"action": "stop"},
    "resume": {"action": "resume", "request_id": "r"},
    "clear": {"action": "clear"},
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize("joined", [True, False], ids=["joined", "named in the frame"])
def test_a_session_belongs_to_its_principal(
    closed: SecuredStack, attempt: str, *, joined: bool
) -> None:
    """No other one reads, continues, stops or clears it, by joining it or naming it in a frame."""
    with connected(closed.url_for("alice")) as alice:
        session_id = alice.say("my name is Zanzibar")[0]["session_id"]
        query = {"session_id": session_id} if joined else {}
        with connected(closed.url_for("bob", **query)) as bob:
            frame = ATTEMPTS[attempt] | ({} if joined else {"session_id": session_id})
            frames = bob.say(frame)
        turns = alice.say({"action": "history"})[0]["turns"]

    assert ["error"] == [frame["type"] for frame in frames]
    assert "unauthorized" == frames[0]["code"]
    assert "Zanzibar" not in str(frames)
    assert ["my name is Zanzibar"] == [turn["user"] for turn in turns]


def test_a_session_outlives_the_connection(closed: SecuredStack) -> None:
    """Its principal resumes it with another signature or token."""
    with connected(closed.url_for("alice")) as alice:
        session_id = alice.say("my name is Zanzibar")[0]["session_id"]
    with connected(closed.url_for("alice", session_id=session_id)) as again:
        assert "Zanzibar" in text(again.script(echo=True))
        assert 2 == again.say({"action": "clear"})[-1]["cleared"]

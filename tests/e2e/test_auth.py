"""Who may talk: the whole local stack, closed as a deployment is, and clients who try the door."""

import re
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from support.e2e_clients import PATIENCE, Frame, Person, running, text, wscat
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from deploy.url import presigned, with_query
from local.auth.modes import user
from local.auth.sigv4 import User
from local.aws.account import REGION


@dataclass(frozen=True)
class House:
    """A stack with `AUTH`, and keys to it."""

    auth: str
    url: str
    log: Path

    def url_for(self, name: str, **query: str) -> str:
        """Where somebody connects who is let in."""
        if self.auth == "iam":
            return presigned(self.url, user(name).credentials, REGION, query)
        return with_query(self.url, {**query, "token": self.token(name)})

    def token(self, name: str, **claims: str) -> str:
        """As a person gets one, by the line that `make run` has printed."""
        found = re.search(
            r"tokens for anybody: curl (\S+)/bob$", self.log.read_text(), re.MULTILINE
        )
        assert found is not None
        place = f"{found[1]}/{name}?{urlencode(claims)}"
        with urllib.request.urlopen(place, timeout=PATIENCE) as response:
            return str(response.read().decode().strip())

    def hint(self) -> str:
        """The first line that says how to come in."""
        lines = self.log.read_text().splitlines()
        return next(line for line in lines if line.startswith("connect as alice: "))


def house(auth: str, folder: Path) -> Iterator[House]:
    log = folder / "log"
    with running(log, AUTH=auth) as (url, _):
        yield House(auth, url, log)


@pytest.fixture(scope="module")
def iam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    yield from house("iam", tmp_path_factory.mktemp("iam"))


@pytest.fixture(scope="module")
def jwt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    yield from house("jwt", tmp_path_factory.mktemp("jwt"))


@pytest.fixture(params=["iam", "jwt"])
def closed(request: pytest.FixtureRequest) -> House:
    """Each of the houses that ask."""
    chosen: House = request.getfixturevalue(request.param)
    return chosen


@contextmanager
def visit(url: str, subprotocols: Sequence[str] | None = None) -> Iterator[Person]:
    offered = [Subprotocol(each) for each in subprotocols] if subprotocols else None
    with connect(url, subprotocols=offered, max_size=None, open_timeout=PATIENCE) as socket:
        yield Person(socket, "events")


def status(url: str, subprotocols: Sequence[str] | None = None) -> int:
    """The HTTP status that the handshake ends with instead of an upgrade."""
    with pytest.raises(InvalidStatus) as caught, visit(url, subprotocols):
        pass
    return caught.value.response.status_code


# -- the door --------------------------------------------------------------------------------------


def test_a_person_comes_in(closed: House) -> None:
    """And talks, as where nobody is asked."""
    with visit(closed.url_for("alice")) as alice:
        assert "You said: hello" == text(alice.say("hello"))


def test_a_token_as_a_subprotocol(jwt: House) -> None:
    """As browsers bring it; the answer to the handshake does not have it."""
    token = jwt.token("alice")
    with visit(jwt.url, ["chat.v1", f"bearer.{token}"]) as alice:
        assert "You said: hello" == text(alice.say("hello"))
        assert "chat.v1" == alice.socket.subprotocol
        assert alice.socket.response is not None
        assert token not in str(alice.socket.response.headers)


def test_what_make_run_has_printed(iam: House, jwt: House) -> None:
    """Both lines can be pasted: the URL of the one, the token of the other."""
    _, url, _ = iam.hint().split("'")
    assert "You said: hello" in "\n".join(wscat(url, "hello"))

    _, url, protocols, token, _ = jwt.hint().split("'")
    assert f"{jwt.url}?format=text" == url
    assert "-s chat.v1 -s" == protocols.strip()
    with visit(jwt.url, ["chat.v1", token]) as alice:
        assert "You said: hello" == text(alice.say("hello"))


def iam_url(
    who: User, house: House, query: Mapping[str, str], *, region: str = REGION, ago: int = 0
) -> str:
    """A URL that was signed some seconds ago, for a minute."""
    at = datetime.now(UTC) - timedelta(seconds=ago)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("botocore.auth.get_current_datetime", lambda: at)
        return presigned(house.url, who.credentials, region, query, 60)


STRANGER = User("arn:aws:iam::123456789012:user/alice", "LOCALALICE", "no idea")
SIGNED: Mapping[str, Callable[[House], str]] = {
    "unsigned": lambda house: f"{house.url}?format=text",
    "expired": lambda house: iam_url(user("alice"), house, {}, ago=61),
    "of tomorrow": lambda house: iam_url(user("alice"), house, {}, ago=-86_400),
    "another session": lambda house: iam_url(user("alice"), house, {"session_id": "mine"}).replace(
        "mine", "hers"
    ),
    "a parameter more": lambda house: house.url_for("alice") + "&session_id=hers",
    "a parameter less": lambda house: house.url_for("alice", a="b").replace("a=b&", ""),
    "another's key": lambda house: house.url_for("alice").replace("LOCALALICE", "LOCALBOB"),
    "a wrong secret": lambda house: iam_url(STRANGER, house, {}),
    "an unknown key": lambda house: iam_url(User("", "LOCALEVE", "local-eve"), house, {}),
    "another Region": lambda house: iam_url(user("alice"), house, {}, region="eu-west-1"),
    "another path": lambda house: house.url_for("alice").replace("?", "/other?"),
}


@pytest.mark.parametrize("how", SIGNED)
def test_whom_iam_turns_away(iam: House, how: str) -> None:
    """Unsigned, expired, or tampered with: 403, and no upgrade."""
    assert 403 == status(SIGNED[how](iam))


def forged(token: str) -> str:
    """Other claims under the same signature."""
    header, claims, signature = token.split(".")
    return f"{header}.{claims[:-4]}{'AAAA' if claims[-4:] != 'AAAA' else 'BBBB'}.{signature}"


TOKENS: Mapping[str, Callable[[House], str]] = {
    "none": lambda _: "",
    "expired": lambda house: house.token("alice", seconds="-60"),
    "tampered": lambda house: forged(house.token("alice")),
    "another issuer": lambda house: house.token("alice", iss="https://id.example"),
    "another audience": lambda house: house.token("alice", aud="another"),
    "nonsense": lambda _: "x.y.z",
}


@pytest.mark.parametrize("how", TOKENS)
def test_whom_the_authorizer_turns_away(jwt: House, how: str) -> None:
    """No token, a bad one, or one for somebody else: 403, however it comes."""
    token = TOKENS[how](jwt)

    assert 403 == status(with_query(jwt.url, {"token": token} if token else {}))
    assert 403 == status(jwt.url, ["chat.v1", *([f"bearer.{token}"] if token else [])])


def test_two_tokens(jwt: House) -> None:
    """Whose should count? Neither's."""
    url = with_query(jwt.url, {"token": jwt.token("alice")})
    assert 403 == status(url, [f"bearer.{jwt.token('bob')}"])


def test_an_iam_signature_opens_no_other_door(jwt: House) -> None:
    """A house that asks for tokens takes no signature."""
    assert 403 == status(presigned(jwt.url, user("alice").credentials, REGION))


def test_tokens_are_not_logged(jwt: House) -> None:
    """Neither the token nor whose it is, by the authorizer, the function or the gateway."""
    token = jwt.token("carol-secret")
    with visit(with_query(jwt.url, {"token": token})) as carol:
        carol.say("hello")
    with visit(jwt.url, ["chat.v1", f"bearer.{token}"]) as carol:
        carol.say("hello")
    assert 403 == status(with_query(jwt.url, {"token": f"{token}x"}))
    written = jwt.log.read_text()

    assert '"event": "authorizer.allowed"' in written
    assert '"event": "authorizer.refused"' in written
    assert "carol-secret" not in written
    assert not [part for part in token.split(".")[1:] if part in written]


# -- whose session it is ---------------------------------------------------------------------------

# What somebody may try with another's session. An action that comes to be is added here, in a line.
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
def test_a_session_is_its_principals(closed: House, attempt: str, *, joined: bool) -> None:
    """Nobody else reads, continues, stops or clears it, by joining it or naming it in a frame."""
    with visit(closed.url_for("alice")) as alice:
        session_id = alice.say("my name is Zanzibar")[0]["session_id"]
        query = {"session_id": session_id} if joined else {}
        with visit(closed.url_for("bob", **query)) as bob:
            frame = ATTEMPTS[attempt] | ({} if joined else {"session_id": session_id})
            frames = bob.say(frame)
        told = alice.say({"action": "history"})[0]["turns"]

    assert ["error"] == [frame["type"] for frame in frames]
    assert "unauthorized" == frames[0]["code"]
    assert "Zanzibar" not in str(frames)
    assert ["my name is Zanzibar"] == [turn["user"] for turn in told]


def test_a_session_outlives_the_connection(closed: House) -> None:
    """Its principal comes back to it, by another signature or token of theirs."""
    with visit(closed.url_for("alice")) as alice:
        session_id = alice.say("my name is Zanzibar")[0]["session_id"]
    with visit(closed.url_for("alice", session_id=session_id)) as again:
        assert "Zanzibar" in text(again.script(echo=True))
        assert 2 == again.say({"action": "clear"})[-1]["cleared"]

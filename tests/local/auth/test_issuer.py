"""Covers local/auth/issuer.py and local/auth/entry.py: what they publish, and that it opens the door."""

import asyncio
import html
import json
import re
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import jwt
import pytest

from authorizer import Authorizer, Keys, RefusedError
from local.auth.entry import AUDIENCE, ENTRIES, PEOPLE, Auth, Entry
from local.auth.issuer import Issuer, issuing
from local.lambda_runtime.function import InitFailedError

SRC = Path(__file__).parents[3] / "src"
URL = "ws://127.0.0.1:3001"


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return str(response.read().decode())


def with_issuer(look: Callable[[Issuer], Any], people: Sequence[str] = ()) -> Any:
    """What comes of looking at an issuer, from a thread, as from another process."""

    async def scenario() -> Any:
        async with issuing("chat", people) as issuer:
            return await asyncio.to_thread(look, issuer)

    return asyncio.run(scenario())


def subject(issuer: Issuer, token: str) -> str:
    """Whom the authorizer takes the token's bearer for."""
    return Authorizer(issuer.url, ["chat"], Keys(issuer.url)).subject(token)


def refused(issuer: Issuer, token: str) -> str:
    with pytest.raises(RefusedError) as caught:
        subject(issuer, token)
    return caught.value.code


def test_its_tokens_are_taken() -> None:
    """Those that it makes here, and those that it hands out to anybody who asks."""

    def look(issuer: Issuer) -> list[str]:
        tokens = [issuer.token("alice"), get(f"{issuer.url}/token/bob%20%231").strip()]
        return [subject(issuer, token) for token in tokens]

    assert ["alice", "bob #1"] == with_issuer(look)


@pytest.mark.parametrize(
    ("claims", "code"),
    [({"seconds": -60}, "expired"), ({"aud": "x"}, "audience"), ({"iss": "x"}, "issuer")],
)
def test_bad_tokens_on_demand(claims: dict[str, Any], code: str) -> None:
    """It makes those that must be refused, for tests."""

    def look(issuer: Issuer) -> list[str]:
        asked = get(f"{issuer.url}/token/alice?{urlencode(claims)}").strip()
        return [refused(issuer, token) for token in (issuer.token("alice", **claims), asked)]

    assert [code, code] == with_issuer(look)


def test_any_claim() -> None:
    """Whatever it is called; a lifetime that is no number makes no token."""

    def look(issuer: Issuer) -> tuple[str, int]:
        token = get(f"{issuer.url}/token/alice?name=Alice&self=x").strip()
        claims = jwt.decode(token, options={"verify_signature": False})
        return claims["name"], asks(f"{issuer.url}/token/alice?seconds=x")[0]

    assert ("Alice", 400) == with_issuer(look)


def test_what_it_publishes() -> None:
    """Its name, the place of its keys, and of the key the public half alone."""

    def look(issuer: Issuer) -> tuple[str, Any, Any]:
        discovery = json.loads(get(f"{issuer.url}/.well-known/openid-configuration"))
        return issuer.url, discovery, json.loads(get(discovery["jwks_uri"]))

    url, discovery, keys = with_issuer(look)
    [key] = keys["keys"]

    assert url == discovery["issuer"]
    assert {"kty", "crv", "x", "y", "kid", "alg", "use"} == set(key)


def test_two_issuers_share_nothing() -> None:
    """Each start makes a key of its own."""
    first, second = Issuer("chat"), Issuer("chat")

    assert first._private.private_numbers() != second._private.private_numbers()
    assert "private" not in repr(first)


# -- signing in ------------------------------------------------------------------------------------

# RFC 7636, appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
PAGE = "http://127.0.0.1:3002/"
ASKED = {
    "response_type": "code",
    "client_id": "chat",
    "redirect_uri": PAGE,
    "scope": "openid",
    "state": "s&1",
    "nonce": "n1",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}
REDEEMED = {
    "grant_type": "authorization_code",
    "client_id": "chat",
    "redirect_uri": PAGE,
    "code_verifier": VERIFIER,
}


class Stays(urllib.request.HTTPRedirectHandler):
    """Does not go where it is sent."""

    def redirect_request(self, *_: Any) -> None:
        return None


def asks(place: str, form: dict[str, str] | None = None, **headers: str) -> tuple[int, str, Any]:
    """The status, the body, and the headers of the answer, whatever it is."""
    data = urlencode(form).encode() if form is not None else None
    request = urllib.request.Request(place, data, headers)
    opener = urllib.request.build_opener(Stays)
    try:
        response = opener.open(request, timeout=10)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        return response.status, response.read().decode(), response.headers


def authorized(issuer: Issuer, **other: str | None) -> tuple[int, str, Any]:
    asked = {**ASKED, "person": "alice", **other}
    given = {name: value for name, value in asked.items() if value is not None}
    return asks(f"{issuer.url}/authorize?{urlencode(given)}")


def sent_back(answer: tuple[int, str, Any]) -> dict[str, str]:
    """What a person is sent back to the page with."""
    status, _, headers = answer
    place, _, query = headers["Location"].partition("?")
    assert (302, PAGE) == (status, place)
    return dict(parse_qsl(query))


def redeemed(issuer: Issuer, code: str, **other: str) -> tuple[int, Any]:
    status, body, _ = asks(f"{issuer.url}/token", {**REDEEMED, "code": code, **other})
    return status, json.loads(body)


def test_a_person_signs_in() -> None:
    """By a code, for a token that the authorizer takes, and that has the page's nonce."""

    def look(issuer: Issuer) -> tuple[dict[str, str], str, Any]:
        back = sent_back(authorized(issuer))
        status, tokens = redeemed(issuer, back.pop("code"))
        assert 200 == status
        claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
        assert "alice" == subject(issuer, tokens["access_token"])
        return back, subject(issuer, tokens["id_token"]), claims["nonce"]

    assert ({"state": "s&1"}, "alice", "n1") == with_issuer(look)


def test_who_are_you() -> None:
    """Whoever comes is asked, as a list of people, and nobody; each link is the request again."""

    def look(issuer: Issuer) -> list[str]:
        _, page, _ = asks(f"{issuer.url}/authorize?{urlencode(ASKED)}")
        assert ">&lt;bob&gt;</a>" in page
        links = [html.unescape(link) for link in re.findall(r'<a href="([^"]*)"', page)]
        answers = [sent_back(asks(f"{issuer.url}/authorize{link}")) for link in links]
        return [",".join(sorted(each)) for each in answers]

    both, nobody = "code,state", "error,error_description,state"
    assert [both, both, nobody] == with_issuer(look, ["alice", "<bob>"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"code_verifier": "E" * 43},
        {"redirect_uri": f"{PAGE}other"},
        {"client_id": "another"},
        {"code": "guessed"},
    ],
    ids=lambda wrong: str(*wrong),
)
def test_a_code_is_its_pages(wrong: dict[str, str]) -> None:
    """Without the verifier, from another page or client, it is worth nothing; and is used up."""

    def look(issuer: Issuer) -> list[Any]:
        code = sent_back(authorized(issuer))["code"]
        return [redeemed(issuer, **{"code": code, **wrong}), redeemed(issuer, code)[0]]

    refused, again = with_issuer(look)
    assert (400, {"error": "invalid_grant"}) == refused
    assert (200 if "code" in wrong else 400) == again


def test_a_code_is_good_once() -> None:
    """Whoever has seen it comes too late."""

    def look(issuer: Issuer) -> list[int]:
        code = sent_back(authorized(issuer))["code"]
        return [redeemed(issuer, code)[0] for _ in range(2)]

    assert [200, 400] == with_issuer(look)


def test_a_code_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once its time is over it is refused."""
    monkeypatch.setattr("local.auth.issuer.CODE_SECONDS", -1)

    def look(issuer: Issuer) -> int:
        return redeemed(issuer, sent_back(authorized(issuer))["code"])[0]

    assert 400 == with_issuer(look)


@pytest.mark.parametrize(
    ("other", "error"),
    [
        ({"response_type": "token"}, "invalid_request"),
        ({"scope": "email"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"person": ""}, "access_denied"),
    ],
)
def test_a_request_that_gets_no_code(other: dict[str, str | None], error: str) -> None:
    """The page hears why."""

    def look(issuer: Issuer) -> dict[str, str]:
        return sent_back(authorized(issuer, **other))

    back = with_issuer(look)
    assert (error, "s&1") == (back["error"], back["state"])
    assert "code" not in back


@pytest.mark.parametrize(
    "other",
    [
        {"redirect_uri": "https://elsewhere.example/"},
        {"redirect_uri": "http://127.0.0.1.elsewhere.example/"},
        {"redirect_uri": None},
        {"client_id": "another"},
    ],
)
def test_nobody_is_sent_elsewhere(other: dict[str, str | None]) -> None:
    """Not with a code, not with an error: neither to another machine, nor for another client."""

    def look(issuer: Issuer) -> tuple[int, str | None]:
        status, _, headers = authorized(issuer, **other)
        return status, headers["Location"]

    assert (400, None) == with_issuer(look)


def test_only_codes_are_redeemed() -> None:
    """It knows no passwords, and no refresh tokens."""

    def look(issuer: Issuer) -> Any:
        return redeemed(issuer, "", grant_type="refresh_token")

    assert (400, {"error": "unsupported_grant_type"}) == with_issuer(look)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [("http://127.0.0.1:3002", "http://127.0.0.1:3002"), ("http://127.0.0.1.example", None)],
)
def test_which_pages_may_read(origin: str, allowed: str | None) -> None:
    """Those of this machine: where it is, its keys, and what it says of a code."""

    def look(issuer: Issuer) -> set[str | None]:
        places = [f"{issuer.url}/.well-known/openid-configuration", f"{issuer.url}/keys"]
        answers = [
            *(asks(place, Origin=origin) for place in places),
            asks(f"{issuer.url}/token", {}, Origin=origin),
        ]
        return {headers["Access-Control-Allow-Origin"] for _, _, headers in answers}

    assert {allowed} == with_issuer(look)


def entered(auth: Auth, look: Callable[[Entry], Awaitable[Any]], code: Path = SRC) -> Any:
    async def scenario() -> Any:
        async with ENTRIES[auth](code, lambda _: None) as entry:
            return await look(entry)

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("auth", "starts"),
    [
        ("none", [f"talk to it: npx wscat -c '{URL}?format=text'"]),
        (
            "iam",
            [
                *(
                    f"talk to it as {name}: npx wscat -c '{URL}?format=text&X-Amz-"
                    for name in PEOPLE
                ),
                f"for the page, as alice: {URL}?X-Amz-",
            ],
        ),
        (
            "jwt",
            [
                f"talk to it as alice: npx wscat -c '{URL}?format=text' -s chat.v1 -s 'bearer.ey",
                "tokens for anybody: curl http://127.0.0.1:",
            ],
        ),
    ],
)
def test_how_a_person_comes_in(auth: Auth, starts: list[str]) -> None:
    """Each way says so, in lines to paste."""

    async def look(entry: Entry) -> list[str]:
        return entry.hints(URL)

    hints = entered(auth, look)
    assert starts == [hint[: len(start)] for hint, start in zip(hints, starts, strict=True)]


def test_an_authorizer_that_does_not_start(tmp_path: Path) -> None:
    """Is known before anybody connects, and nothing is left running."""
    (tmp_path / "authorizer.py").write_text("import nothing_of_that_name")

    async def look(_: Entry) -> None:
        raise AssertionError

    with pytest.raises(InitFailedError, match="nothing_of_that_name"):
        entered("jwt", look, tmp_path)


def test_the_audience_is_the_authorizers() -> None:
    """The issuer of the local stack names the audience that its authorizer asks for."""

    async def look(entry: Entry) -> str:
        return str(entry.hints(URL)[0].partition("bearer.")[2].removesuffix("'"))

    claims = jwt.decode(entered("jwt", look), options={"verify_signature": False})
    assert AUDIENCE == claims["aud"]

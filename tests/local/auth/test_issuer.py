"""Covers local/auth/issuer.py: what it publishes, its tokens, and signing in."""

import asyncio
import html
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode

import jwt
import pytest
from support.pids import PATIENCE

from authorizer import Authorizer, Keys, RefusedError
from local.auth.issuer import Issuer, run_issuer


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE) as response:
        return str(response.read().decode())


def with_issuer(use: Callable[[Issuer], Any], users: Sequence[str] = ()) -> Any:
    """Returns what `use` returns for an issuer, in a thread, as from another process."""

    async def scenario() -> Any:
        async with run_issuer("chat", users) as issuer:
            return await asyncio.to_thread(use, issuer)

    return asyncio.run(scenario())


def subject(issuer: Issuer, token: str) -> str:
    """The subject for which the authorizer accepts the token."""
    return Authorizer(issuer.url, ["chat"], Keys(issuer.url)).subject(token)


def refused(issuer: Issuer, token: str) -> str:
    with pytest.raises(RefusedError) as caught:
        subject(issuer, token)
    return caught.value.code


def test_the_authorizer_accepts_the_issuers_tokens() -> None:
    """Both those made in the process and those of the token endpoint."""

    def use(issuer: Issuer) -> list[str]:
        tokens = [issuer.token("alice"), get(f"{issuer.url}/token/bob%20%231").strip()]
        return [subject(issuer, token) for token in tokens]

    assert ["alice", "bob #1"] == with_issuer(use)


@pytest.mark.parametrize(
    ("claims", "code"),
    [({"seconds": -60}, "expired"), ({"aud": "x"}, "audience"), ({"iss": "x"}, "issuer")],
)
def test_query_parameters_make_invalid_tokens(claims: dict[str, Any], code: str) -> None:
    """An expired token, or another audience or issuer, for tests of refusals."""

    def use(issuer: Issuer) -> list[str]:
        issued = get(f"{issuer.url}/token/alice?{urlencode(claims)}").strip()
        return [refused(issuer, token) for token in (issuer.token("alice", **claims), issued)]

    assert [code, code] == with_issuer(use)


def test_a_query_parameter_becomes_a_claim() -> None:
    """Whatever its name is; a lifetime that is not a number gives 400 and no token."""

    def use(issuer: Issuer) -> tuple[str, int]:
        token = get(f"{issuer.url}/token/alice?name=Alice&self=x").strip()
        claims = jwt.decode(token, options={"verify_signature": False})
        return claims["name"], request(f"{issuer.url}/token/alice?seconds=x")[0]

    assert ("Alice", 400) == with_issuer(use)


def test_discovery_names_the_issuer_and_its_public_key() -> None:
    """The private half of the key is not published."""

    def use(issuer: Issuer) -> tuple[str, Any, Any]:
        discovery = json.loads(get(f"{issuer.url}/.well-known/openid-configuration"))
        return issuer.url, discovery, json.loads(get(discovery["jwks_uri"]))

    url, discovery, keys = with_issuer(use)
    [key] = keys["keys"]

    assert url == discovery["issuer"]
    assert {"kty", "crv", "x", "y", "kid", "alg", "use"} == set(key)


def test_each_issuer_has_its_own_key() -> None:
    """The key is generated at each start, and is not in the issuer's representation."""
    first, second = Issuer("chat"), Issuer("chat")

    assert first._private.private_numbers() != second._private.private_numbers()
    assert "private" not in repr(first)


# -- signing in ------------------------------------------------------------------------------------

# RFC 7636, appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
PAGE = "http://127.0.0.1:3002/"
AUTHORIZATION = {
    "response_type": "code",
    "client_id": "chat",
    "redirect_uri": PAGE,
    "scope": "openid",
    "state": "s&1",
    "nonce": "n1",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}
TOKEN_REQUEST = {
    "grant_type": "authorization_code",
    "client_id": "chat",
    "redirect_uri": PAGE,
    "code_verifier": VERIFIER,
}


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Does not follow redirects."""

    def redirect_request(self, *_: Any) -> None:
        return None


def request(url: str, form: dict[str, str] | None = None, **headers: str) -> tuple[int, str, Any]:
    """Returns the status, the body and the headers of the response, whatever the status."""
    data = urlencode(form).encode() if form is not None else None
    sent = urllib.request.Request(url, data, headers)
    opener = urllib.request.build_opener(NoRedirect)
    try:
        response = opener.open(sent, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        return response.status, response.read().decode(), response.headers


def authorized(issuer: Issuer, **other: str | None) -> tuple[int, str, Any]:
    parameters = {**AUTHORIZATION, "user": "alice", **other}
    query = {name: value for name, value in parameters.items() if value is not None}
    return request(f"{issuer.url}/authorize?{urlencode(query)}")


def redirected(response: tuple[int, str, Any]) -> dict[str, str]:
    """The parameters of the redirect to the page."""
    status, _, headers = response
    location, _, query = headers["Location"].partition("?")
    assert (302, PAGE) == (status, location)
    return dict(parse_qsl(query))


def redeemed(issuer: Issuer, code: str, **other: str) -> tuple[int, Any]:
    status, body, _ = request(f"{issuer.url}/token", {**TOKEN_REQUEST, "code": code, **other})
    return status, json.loads(body)


def test_signing_in_gives_tokens_that_the_authorizer_accepts() -> None:
    """By the authorization code flow; the id token has the page's nonce."""

    def use(issuer: Issuer) -> tuple[dict[str, str], str, Any]:
        parameters = redirected(authorized(issuer))
        status, tokens = redeemed(issuer, parameters.pop("code"))
        assert 200 == status
        claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
        assert "alice" == subject(issuer, tokens["access_token"])
        return parameters, subject(issuer, tokens["id_token"]), claims["nonce"]

    assert ({"state": "s&1"}, "alice", "n1") == with_issuer(use)


def test_the_sign_in_page_offers_each_user_and_to_cancel() -> None:
    """Each link repeats the request with a user's name; names are escaped."""

    def use(issuer: Issuer) -> list[str]:
        _, page, _ = request(f"{issuer.url}/authorize?{urlencode(AUTHORIZATION)}")
        assert ">&lt;bob&gt;</a>" in page
        links = [html.unescape(link) for link in re.findall(r'<a href="([^"]*)"', page)]
        redirects = [redirected(request(f"{issuer.url}/authorize{link}")) for link in links]
        return [",".join(sorted(each)) for each in redirects]

    user, cancel = "code,state", "error,error_description,state"
    assert [user, user, cancel] == with_issuer(use, ["alice", "<bob>"])


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
def test_a_code_is_useless_without_its_verifier_client_and_redirect_uri(
    wrong: dict[str, str],
) -> None:
    """A failed attempt uses the code up; a guessed code does not use up another."""

    def use(issuer: Issuer) -> list[Any]:
        code = redirected(authorized(issuer))["code"]
        return [redeemed(issuer, **{"code": code, **wrong}), redeemed(issuer, code)[0]]

    refused, again = with_issuer(use)
    assert (400, {"error": "invalid_grant"}) == refused
    assert (200 if "code" in wrong else 400) == again


def test_a_code_is_valid_once() -> None:
    """The second request with the same code is refused."""

    def use(issuer: Issuer) -> list[int]:
        code = redirected(authorized(issuer))["code"]
        return [redeemed(issuer, code)[0] for _ in range(2)]

    assert [200, 400] == with_issuer(use)


def test_a_code_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its lifetime it is refused."""
    monkeypatch.setattr("local.auth.issuer.CODE_SECONDS", -1)

    def use(issuer: Issuer) -> int:
        return redeemed(issuer, redirected(authorized(issuer))["code"])[0]

    assert 400 == with_issuer(use)


@pytest.mark.parametrize(
    ("other", "error"),
    [
        ({"response_type": "token"}, "invalid_request"),
        ({"scope": "email"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"user": ""}, "access_denied"),
    ],
)
def test_an_invalid_request_to_sign_in_is_redirected_with_the_error(
    other: dict[str, str | None], error: str
) -> None:
    """The page receives the error code and its state, but no code."""

    def use(issuer: Issuer) -> dict[str, str]:
        return redirected(authorized(issuer, **other))

    parameters = with_issuer(use)
    assert (error, "s&1") == (parameters["error"], parameters["state"])
    assert "code" not in parameters


@pytest.mark.parametrize(
    "other",
    [
        {"redirect_uri": "https://elsewhere.example/"},
        {"redirect_uri": "http://127.0.0.1.elsewhere.example/"},
        {"redirect_uri": None},
        {"client_id": "another"},
    ],
)
def test_only_the_client_and_this_machine_are_redirected_to(other: dict[str, str | None]) -> None:
    """Not with a code and not with an error, for another host or an unknown client."""

    def use(issuer: Issuer) -> tuple[int, str | None]:
        status, _, headers = authorized(issuer, **other)
        return status, headers["Location"]

    assert (400, None) == with_issuer(use)


def test_a_refresh_token_gives_new_tokens_each_time() -> None:
    """Which the authorizer accepts, for the same user; the refresh token stays valid."""

    def use(issuer: Issuer) -> list[str]:
        _, tokens = redeemed(issuer, redirected(authorized(issuer))["code"])
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        answers = [redeemed(issuer, "", **form) for _ in range(2)]
        assert [200, 200] == [status for status, _ in answers]
        assert "refresh_token" not in answers[0][1]
        return [subject(issuer, renewed["id_token"]) for _, renewed in answers]

    assert ["alice", "alice"] == with_issuer(use)


@pytest.mark.parametrize("wrong", [{"refresh_token": "guessed"}, {"client_id": "another"}])
def test_a_refresh_token_is_useless_to_another_client(wrong: dict[str, str]) -> None:
    """As is a guessed one."""

    def use(issuer: Issuer) -> Any:
        _, tokens = redeemed(issuer, redirected(authorized(issuer))["code"])
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        return redeemed(issuer, "", **{**form, **wrong})

    assert (400, {"error": "invalid_grant"}) == with_issuer(use)


def test_other_grant_types_are_refused() -> None:
    """There are no passwords."""

    def use(issuer: Issuer) -> Any:
        return redeemed(issuer, "", grant_type="password")

    assert (400, {"error": "unsupported_grant_type"}) == with_issuer(use)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [("http://127.0.0.1:3002", "http://127.0.0.1:3002"), ("http://127.0.0.1.example", None)],
)
def test_only_pages_of_this_machine_may_read_responses(origin: str, allowed: str | None) -> None:
    """CORS covers discovery, the keys and the token endpoint."""

    def use(issuer: Issuer) -> set[str | None]:
        urls = [f"{issuer.url}/.well-known/openid-configuration", f"{issuer.url}/keys"]
        responses = [
            *(request(url, Origin=origin) for url in urls),
            request(f"{issuer.url}/token", {}, Origin=origin),
        ]
        return {headers["Access-Control-Allow-Origin"] for _, _, headers in responses}

    assert {allowed} == with_issuer(use)

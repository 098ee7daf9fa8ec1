"""Covers local/issuer.py and local/entry.py: what they publish, and that it opens the door."""

import asyncio
import json
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from authorizer import Authorizer, Keys, RefusedError
from local.entry import AUDIENCE, ENTRIES, PEOPLE, Auth, Entry
from local.issuer import Issuer, issuing
from local.lambda_runtime import InitFailedError

SRC = Path(__file__).parents[2] / "src"
URL = "ws://127.0.0.1:3001"


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return str(response.read().decode())


def with_issuer(look: Callable[[Issuer], Any]) -> Any:
    """What comes of looking at an issuer, from a thread, as from another process."""

    async def scenario() -> Any:
        async with issuing("chat") as issuer:
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

    import jwt  # noqa: PLC0415 - reads one claim, unverified

    claims = jwt.decode(entered("jwt", look), options={"verify_signature": False})
    assert AUDIENCE == claims["aud"]

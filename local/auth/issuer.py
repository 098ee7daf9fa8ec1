"""An OIDC issuer on loopback, for `make run AUTH=jwt`: signs people in, and hands out tokens.

Rules
- Loopback only: it serves there, and sends people nowhere else.
- It takes everybody for whoever they say they are, for it is a toy: `GET /token/alice`. What
  follows replaces claims: `/token/alice?aud=nobody` and `?seconds=-60` are refused.
- A page signs people in by the code flow, as anywhere: PKCE with S256 (RFC 7636), and a code that
  is good once, for a minute, and for the redirect URI that was named first (RFC 6749, 4.1).
- Its key is made anew at each start, so what it has signed is worth nothing to anybody else.

What it does not know: passwords, consent, sessions, refresh tokens; all that makes a real one.
"""

import base64
import contextlib
import hashlib
import html
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

HOST = "127.0.0.1"
ALGORITHM, KEY_ID = "ES256", "local"
TOKEN_SECONDS = 3600
CODE_SECONDS = 60

# Of this machine, on whatever port (RFC 8252, 7.3).
ORIGIN = re.compile(r"http://(127\.0\.0\.1|localhost)(:\d+)?")
REDIRECT_URI = re.compile(ORIGIN.pattern + r"/[^?#]*")

CHOICE = """<!doctype html>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,"><title>Sign in</title>
<style>body {{ max-width: 26rem; margin: 4rem auto; font: 1rem/2 system-ui }}</style>
<h1>Who are you?</h1>
<p>This issuer is a part of the local stack. It takes your word for it.</p>
<ul>{people}</ul>
<p><a href="?{nobody}">Nobody</a></p>
"""


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, slots=True)
class Grant:
    """What a code stands for: who was signed in, and what it takes to have their token."""

    name: str
    redirect_uri: str
    challenge: str
    nonce: str | None
    until: float


@dataclass(slots=True)
class Issuer:
    """One issuer. `url` names it, in its tokens too; it is known once it serves.

    `audience` is whom its tokens are for, and the one client that it knows; `people` are offered to
    whoever signs in.
    """

    audience: str
    people: Sequence[str] = ()
    url: str = ""
    _private: ec.EllipticCurvePrivateKey = field(default_factory=_key, repr=False)
    _grants: dict[str, Grant] = field(default_factory=dict, repr=False)

    def token(self, name: str, /, seconds: int = TOKEN_SECONDS, **claims: Any) -> str:
        """A token for this person. `claims` replace its own."""
        now = int(time.time())
        own = {
            "iss": self.url,
            "sub": name,
            "aud": self.audience,
            "iat": now,
            "exp": now + seconds,
        }
        return jwt.encode({**own, **claims}, self._private, ALGORITHM, {"kid": KEY_ID})

    def app(self) -> web.Application:
        """What it serves: OpenID Connect Discovery, its key, tokens, and signing in."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/.well-known/openid-configuration", self._discovery),
                web.get("/keys", self._keys),
                web.get("/token/{name}", self._hand_out),
                web.get("/authorize", self._authorize),
                web.post("/token", self._redeem),
            ]
        )
        app.on_response_prepare.append(_readable)
        return app

    async def _discovery(self, _: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "scopes_supported": ["openid"],
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
                "token_endpoint_auth_methods_supported": ["none"],
                "code_challenge_methods_supported": ["S256"],
            }
        )

    async def _keys(self, _: web.Request) -> web.Response:
        public = ECAlgorithm.to_jwk(self._private.public_key(), as_dict=True)
        return web.json_response(
            {"keys": [{**public, "kid": KEY_ID, "alg": ALGORITHM, "use": "sig"}]}
        )

    async def _hand_out(self, request: web.Request) -> web.Response:
        claims: dict[str, Any] = dict(request.query)
        try:
            seconds = int(claims.pop("seconds", TOKEN_SECONDS))
        except ValueError:
            return web.Response(status=400, text="seconds is no whole number.\n")
        return web.Response(text=self.token(request.match_info["name"], seconds, **claims) + "\n")

    async def _authorize(self, request: web.Request) -> web.Response:
        """Asks who it is, and sends them back with a code; whom it does not know, nowhere."""
        asked = request.query
        back = asked.get("redirect_uri", "")
        if asked.get("client_id") != self.audience or not REDIRECT_URI.fullmatch(back):
            return web.Response(
                status=400, text="No such client, or no way back to this machine.\n"
            )
        if wrong := _wrong(asked):
            return _back(asked, error="invalid_request", error_description=wrong)
        if "person" not in asked:
            return web.Response(text=self._choice(asked), content_type="text/html")
        if not asked["person"]:
            return _back(asked, error="access_denied", error_description="nobody signed in")
        code = secrets.token_urlsafe()
        self._grants[code] = Grant(
            asked["person"],
            back,
            asked["code_challenge"],
            asked.get("nonce"),
            time.monotonic() + CODE_SECONDS,
        )
        return _back(asked, code=code)

    def _choice(self, asked: Mapping[str, str]) -> str:
        """The page that asks; each answer is the same request, with a name."""

        def link(name: str) -> str:
            return html.escape(urlencode({**asked, "person": name}))

        people = "".join(
            f'<li><a href="?{link(name)}">{html.escape(name)}</a></li>' for name in self.people
        )
        return CHOICE.format(people=people, nobody=link(""))

    async def _redeem(self, request: web.Request) -> web.Response:
        """Tokens for a code, once."""
        told: Mapping[str, Any] = await request.post()
        if told.get("grant_type") != "authorization_code":
            return _refusal("unsupported_grant_type")
        # Gone with the first attempt, whatever becomes of it.
        grant = self._grants.pop(str(told.get("code")), None)
        if (
            grant is None
            or time.monotonic() > grant.until
            or told.get("client_id") != self.audience
            or told.get("redirect_uri") != grant.redirect_uri
            or challenge(str(told.get("code_verifier"))) != grant.challenge
        ):
            return _refusal("invalid_grant")
        nonce: dict[str, Any] = {} if grant.nonce is None else {"nonce": grant.nonce}
        return web.json_response(
            {
                "access_token": self.token(grant.name),
                "id_token": self.token(grant.name, **nonce),
                "token_type": "Bearer",
                "expires_in": TOKEN_SECONDS,
            },
            headers={"Cache-Control": "no-store"},
        )


def challenge(verifier: str) -> str:
    """What is shown of a verifier beforehand: RFC 7636, 4.2."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _wrong(asked: Mapping[str, str]) -> str:
    """What a request to sign in lacks; nothing where it is as it should be."""
    if asked.get("response_type") != "code":
        return "response_type is not code"
    if "openid" not in asked.get("scope", "").split():
        return "scope has no openid"
    if asked.get("code_challenge_method") != "S256" or not asked.get("code_challenge"):
        return "there is no code_challenge by S256"
    return ""


def _back(asked: Mapping[str, str], **told: str) -> web.Response:
    """Sends them back to where they came from, with this."""
    state = {"state": asked["state"]} if "state" in asked else {}
    place = f"{asked['redirect_uri']}?{urlencode({**told, **state})}"
    return web.Response(status=302, headers={"Location": place})


def _refusal(error: str) -> web.Response:
    return web.json_response({"error": error}, status=400)


async def _readable(request: web.Request, response: web.StreamResponse) -> None:
    """Pages of this machine may read what is answered."""
    origin = request.headers.get("Origin", "")
    if ORIGIN.fullmatch(origin):
        response.headers.update({"Access-Control-Allow-Origin": origin, "Vary": "Origin"})


@contextlib.asynccontextmanager
async def issuing(audience: str, people: Sequence[str] = ()) -> AsyncIterator[Issuer]:
    """An issuer that serves on a free port."""
    issuer = Issuer(audience, people)
    runner = web.AppRunner(issuer.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        issuer.url = f"http://{HOST}:{runner.addresses[0][1]}"
        yield issuer
    finally:
        await runner.cleanup()

"""An OIDC issuer on loopback, for `make run AUTH=jwt`: signs users in and issues tokens.

Rules
- Loopback only: it serves there, and redirects nowhere else.
- It does not authenticate: `GET /token/alice` returns a token of alice to any client. Query
  parameters replace claims, so that it also issues invalid tokens: `?aud=other` has the wrong
  audience, and `?seconds=-60` is expired.
- A page and the terminal client sign users in by the authorization code flow: PKCE with S256 (RFC
  7636), and a code that is valid once, for a minute, and for the redirect URI of its request (RFC
  6749, 4.1).
- Whatever the scope, a code also gives a refresh token, which stays the same when it is used, as at
  Cognito.
- Its key is generated at each start, so its tokens are of no use anywhere else.

What it does not know: passwords, consent, sessions.
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

from local.loopback import serving

ALGORITHM, KEY_ID = "ES256", "local"
TOKEN_SECONDS = 3600
CODE_SECONDS = 60

# Of this machine, with any port (RFC 8252, 7.3).
ORIGIN = re.compile(r"http://(127\.0\.0\.1|localhost)(:\d+)?")
REDIRECT_URI = re.compile(ORIGIN.pattern + r"/[^?#]*")

SIGN_IN_PAGE = """<!doctype html>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,"><title>Sign in</title>
<style>body {{ max-width: 26rem; margin: 4rem auto; font: 1rem/2 system-ui }}</style>
<h1>Sign in</h1>
<p>This issuer is a part of the local stack. It asks for no password: choose a user.</p>
<ul>{users}</ul>
<p><a href="?{cancel}">Cancel</a></p>
"""


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, slots=True)
class Grant:
    """What an authorization code stands for. `expires_at` is on the monotonic clock, in seconds."""

    user: str
    redirect_uri: str
    challenge: str
    nonce: str | None
    expires_at: float


@dataclass(slots=True)
class Issuer:
    """One issuer. `url` is its identifier, also in its tokens; it is set once it serves.

    `audience` is the audience of its tokens and the id of its only client; the sign-in page offers
    the names in `users`.
    """

    audience: str
    users: Sequence[str] = ()
    url: str = ""
    _private: ec.EllipticCurvePrivateKey = field(default_factory=_key, repr=False)
    _grants: dict[str, Grant] = field(default_factory=dict, repr=False)
    _users_by_refresh_token: dict[str, str] = field(default_factory=dict, repr=False)

    def token(self, name: str, /, seconds: int = TOKEN_SECONDS, **claims: Any) -> str:
        """Returns a token for this user. `claims` replace its own."""
        now = int(time.time())
        defaults = {
            "iss": self.url,
            "sub": name,
            "aud": self.audience,
            "iat": now,
            "exp": now + seconds,
        }
        return jwt.encode({**defaults, **claims}, self._private, ALGORITHM, {"kid": KEY_ID})

    def app(self) -> web.Application:
        """The endpoints: discovery, keys, tokens, and the authorization code flow."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/.well-known/openid-configuration", self._discovery),
                web.get("/keys", self._keys),
                web.get("/token/{name}", self._issue),
                web.get("/authorize", self._authorize),
                web.post("/token", self._redeem),
            ]
        )
        app.on_response_prepare.append(_allow_origin)
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
                "grant_types_supported": ["authorization_code", "refresh_token"],
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

    async def _issue(self, request: web.Request) -> web.Response:
        claims: dict[str, Any] = dict(request.query)
        try:
            seconds = int(claims.pop("seconds", TOKEN_SECONDS))
        except ValueError:
            return web.Response(status=400, text="seconds must be a whole number.\n")
        return web.Response(text=self.token(request.match_info["name"], seconds, **claims) + "\n")

    async def _authorize(self, request: web.Request) -> web.Response:
        """Shows the sign-in page, then redirects with a code.

        A request with an unknown client or redirect URI is never redirected.
        """
        query = request.query
        redirect_uri = query.get("redirect_uri", "")
        if query.get("client_id") != self.audience or not REDIRECT_URI.fullmatch(redirect_uri):
            return web.Response(
                status=400, text="Unknown client_id, or a redirect_uri not of this machine.\n"
            )
        if problem := _problem(query):
            return _redirect(query, error="invalid_request", error_description=problem)
        if "user" not in query:
            return web.Response(text=self._sign_in_page(query), content_type="text/html")
        if not query["user"]:
            return _redirect(query, error="access_denied", error_description="sign-in cancelled")
        code = secrets.token_urlsafe()
        self._grants[code] = Grant(
            query["user"],
            redirect_uri,
            query["code_challenge"],
            query.get("nonce"),
            time.monotonic() + CODE_SECONDS,
        )
        return _redirect(query, code=code)

    def _sign_in_page(self, query: Mapping[str, str]) -> str:
        """The page to choose a user on; each link is the same request with a user's name."""

        def link(name: str) -> str:
            return html.escape(urlencode({**query, "user": name}))

        users = "".join(
            f'<li><a href="?{link(name)}">{html.escape(name)}</a></li>' for name in self.users
        )
        return SIGN_IN_PAGE.format(users=users, cancel=link(""))

    async def _redeem(self, request: web.Request) -> web.Response:
        """Exchanges a code for tokens, once, or a refresh token for new ones."""
        form: Mapping[str, Any] = await request.post()
        grants = {"authorization_code": self._redeem_code, "refresh_token": self._refresh}
        grant = grants.get(str(form.get("grant_type")))
        return _refusal("unsupported_grant_type") if grant is None else grant(form)

    def _redeem_code(self, form: Mapping[str, Any]) -> web.Response:
        # The first attempt uses up the code, whether it succeeds or not.
        grant = self._grants.pop(str(form.get("code")), None)
        if (
            grant is None
            or time.monotonic() > grant.expires_at
            or form.get("client_id") != self.audience
            or form.get("redirect_uri") != grant.redirect_uri
            or challenge(str(form.get("code_verifier"))) != grant.challenge
        ):
            return _refusal("invalid_grant")
        refresh_token = secrets.token_urlsafe()
        self._users_by_refresh_token[refresh_token] = grant.user
        nonce: dict[str, Any] = {} if grant.nonce is None else {"nonce": grant.nonce}
        return self._tokens(grant.user, nonce, refresh_token=refresh_token)

    def _refresh(self, form: Mapping[str, Any]) -> web.Response:
        user = self._users_by_refresh_token.get(str(form.get("refresh_token")))
        if user is None or form.get("client_id") != self.audience:
            return _refusal("invalid_grant")
        return self._tokens(user, {})

    def _tokens(self, user: str, claims: Mapping[str, Any], **more: str) -> web.Response:
        return web.json_response(
            {
                "access_token": self.token(user),
                "id_token": self.token(user, **claims),
                "token_type": "Bearer",
                "expires_in": TOKEN_SECONDS,
                **more,
            },
            headers={"Cache-Control": "no-store"},
        )


def challenge(verifier: str) -> str:
    """Returns the S256 code challenge of a verifier: RFC 7636, 4.2."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _problem(query: Mapping[str, str]) -> str:
    """What is wrong with an authorization request; empty if it is valid."""
    if query.get("response_type") != "code":
        return "response_type is not code"
    if "openid" not in query.get("scope", "").split():
        return "scope does not include openid"
    if query.get("code_challenge_method") != "S256" or not query.get("code_challenge"):
        return "there is no S256 code_challenge"
    return ""


def _redirect(query: Mapping[str, str], **parameters: str) -> web.Response:
    """Redirects to the client with these parameters, and its `state`."""
    state = {"state": query["state"]} if "state" in query else {}
    location = f"{query['redirect_uri']}?{urlencode({**parameters, **state})}"
    return web.Response(status=302, headers={"Location": location})


def _refusal(error: str) -> web.Response:
    return web.json_response({"error": error}, status=400)


async def _allow_origin(request: web.Request, response: web.StreamResponse) -> None:
    """Lets pages of this machine read the response (CORS)."""
    origin = request.headers.get("Origin", "")
    if ORIGIN.fullmatch(origin):
        response.headers.update({"Access-Control-Allow-Origin": origin, "Vary": "Origin"})


@contextlib.asynccontextmanager
async def run_issuer(audience: str, users: Sequence[str] = ()) -> AsyncIterator[Issuer]:
    """Serves an issuer on a free port."""
    issuer = Issuer(audience, users)
    async with serving(issuer.app()) as issuer.url:
        yield issuer

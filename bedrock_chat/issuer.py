"""An OpenID Connect issuer as a terminal client uses it: discovery, code and refresh grants.

Rules
- A public client: PKCE with S256 (RFC 7636) and no secret.
- The issuer's own document names its endpoints, and has to name the issuer that was asked.
- The server verifies a token's signature. Here only its expiry is read, to know when to renew it;
  so an ID token needs no nonce, which protects clients that trust its claims.

It does not know how the user gets to the issuer and back, or where tokens are stored.
"""

import base64
import hashlib
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlencode

from bedrock_chat.json_requests import Json, UnreachableError, document, is_protected, request
from bedrock_chat.sanitize import sanitize

Kind = Literal["id_token", "access_token"]

_JWT = re.compile(r"[\w-]+\.([\w-]+)\.[\w-]+", re.ASCII)


class SignInError(Exception):
    """The user is not signed in. The message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client that is registered at an issuer; `kind` is the token that the server accepts."""

    issuer: str
    client_id: str
    scope: str = "openid"
    kind: Kind = "id_token"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where an issuer signs users in, and where it issues tokens."""

    authorization: str
    token: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """The values of one attempt to sign in."""

    redirect_uri: str
    state: str = field(default_factory=secrets.token_urlsafe, repr=False)
    verifier: str = field(default_factory=secrets.token_urlsafe, repr=False)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the issuer issued. `expires_at` is Unix time, the token's own claim."""

    token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: float


def discover(issuer: str) -> Endpoints:
    """Return the issuer's endpoints. Raises UnreachableError, SignInError."""
    # OpenID Connect Discovery 1.0, 4: a terminating "/" of the issuer is removed first.
    found = document(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if found.get("issuer") != issuer:
        raise SignInError(f"{issuer} identifies itself as another issuer.")
    endpoints = [found.get(name) for name in ("authorization_endpoint", "token_endpoint")]
    authorization, token = (each if isinstance(each, str) else "" for each in endpoints)
    if not is_protected(authorization) or not is_protected(token):
        raise SignInError(f"{issuer} names no https:// endpoints to sign in at.")
    return Endpoints(authorization, token)


def challenge(verifier: str) -> str:
    """Return the S256 code challenge of a verifier: RFC 7636, 4.2."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def authorization_url(client: Client, endpoints: Endpoints, attempt: Attempt) -> str:
    """Return the URL at which the user signs in. It contains no secret."""
    query = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": attempt.redirect_uri,
        "scope": client.scope,
        "state": attempt.state,
        "code_challenge": challenge(attempt.verifier),
        "code_challenge_method": "S256",
    }
    joint = "&" if "?" in endpoints.authorization else "?"
    return f"{endpoints.authorization}{joint}{urlencode(query)}"


def redeem(client: Client, endpoints: Endpoints, attempt: Attempt, code: str) -> Tokens:
    """Exchange an attempt's code. Raises UnreachableError, SignInError."""
    form = {
        "grant_type": "authorization_code",
        "client_id": client.client_id,
        "code": code,
        "redirect_uri": attempt.redirect_uri,
        "code_verifier": attempt.verifier,
    }
    return _granted(client, endpoints, form)


def refresh(client: Client, endpoints: Endpoints, refresh_token: str) -> Tokens:
    """Exchange a refresh token, which stays valid unless a new one replaces it.

    Raises UnreachableError, SignInError.
    """
    form = {
        "grant_type": "refresh_token",
        "client_id": client.client_id,
        "refresh_token": refresh_token,
    }
    return _granted(client, endpoints, form)


def _granted(client: Client, endpoints: Endpoints, form: dict[str, str]) -> Tokens:
    status, received = request(endpoints.token, form)
    if status >= 500 or status == 429:
        raise UnreachableError(f"{endpoints.token} returned status {status}.")
    if status != 200:
        raise SignInError(f"{client.issuer} rejected the sign-in: {reason(received, status)}.")
    token = received.get(client.kind)
    expires_at = expiry(token) if isinstance(token, str) else None
    if not isinstance(token, str) or expires_at is None:
        raise SignInError(
            f"{client.issuer} returned no {client.kind} that is a JWT with an expiry."
        )
    renewal = received.get("refresh_token", form.get("refresh_token"))
    return Tokens(token, renewal if isinstance(renewal, str) else "", expires_at)


def reason(received: Json, status: int = 0) -> str:
    """Return the reason in an issuer's error: RFC 6749, 4.1.2.1 and 5.2."""
    text = received.get("error_description") or str(received.get("error", "")).replace("_", " ")
    return sanitize(str(text)).strip().rstrip(".") or f"status {status}"


def expiry(token: str) -> float | None:
    """Return the expiry that a JWT claims, as Unix time; None if it is no JWT or has none."""
    parts = _JWT.fullmatch(token)
    if parts is None:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return None
    claim = claims.get("exp") if isinstance(claims, dict) else None
    return float(claim) if isinstance(claim, int | float) else None

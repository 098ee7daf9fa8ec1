"""The Lambda authorizer of `$connect`: allows callers with a valid token of the OIDC issuer.

Rules
- The token does not decide how it is verified: the key decides the algorithm, the issuer the key,
  the deployment the issuer.
- Fail closed: while the issuer's keys are unavailable, no new connection is allowed.
- Invalid tokens cause no load on the issuer: it is called at most once in `REFETCH_SECONDS`.
- One log line for each event, with a reason; never the token or any of its claims.

API Gateway's reaction (Developer Guide, "Use API Gateway Lambda authorizers"): a policy that allows
continues the handshake, one that denies is 403, an error is 500. An error with the text
"Unauthorized" would be 401; but Lambda counts it as an error of the function and logs its stack
trace, so that anyone without a token could set off the operator's alarm.
"""

import functools
import json
import os
import re
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

import jwt

import log

# The asymmetric algorithms of RFC 7518 and RFC 8037: the verifier holds no key that signs. Each key
# accepts only its own. ES256K is left out: no issuer is known to sign with it.
ALGORITHMS = frozenset(
    f"{family}{bits}" for family in ("RS", "PS", "ES") for bits in (256, 384, 512)
) | {"EdDSA"}

LEEWAY_SECONDS = 30  # how far the issuer's clock may be from ours
KEEP_SECONDS = 300  # how long keys are cached: a revoked key is accepted so long
REFETCH_SECONDS = 10  # the least time between two requests to the issuer
FETCH_TIMEOUT_SECONDS = 3
MAX_DOCUMENT_BYTES = 256 * 1024
MAX_TOKEN_BYTES = 8 * 1024  # a longer one is refused without parsing it
# With a `sub` of the greatest length, a principal then fits DynamoDB's shorter kind of key: 1,024
# bytes.
MAX_ISSUER_BYTES = 512
# OpenID Connect Core, 2: at most 255 ASCII characters. Printable, for logs.
SUBJECT = re.compile(r"[ -~]{1,255}")

PROTOCOL = "sec-websocket-protocol"
BEARER = "bearer."
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

Json = dict[str, Any]


class SettingsError(Exception):
    """A setting is missing or unusable. The message names the environment variable."""


class RefusedError(Exception):
    """The caller is denied. `code` is the reason in the log."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class UnavailableError(Exception):
    """The issuer's keys cannot be fetched. The message says why."""


def lambda_handler(event: Json, _context: object) -> Json:
    """Lambda's entry point: a policy that allows or denies the caller."""
    return _authorizer().answer(event)


@functools.cache
def _authorizer() -> "Authorizer":
    return Authorizer.of(os.environ)


# -- the issuer ------------------------------------------------------------------------------------


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would lead away from the host that the deployment trusts."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def fetch(url: str) -> Json:
    """Fetches a JSON object of at most MAX_DOCUMENT_BYTES. Raises UnavailableError."""
    if not _trusted(url):
        raise UnavailableError("not https")
    try:
        with _OPENER.open(url, timeout=FETCH_TIMEOUT_SECONDS) as response:
            text = response.read(MAX_DOCUMENT_BYTES + 1)
    except (OSError, HTTPException) as error:
        raise UnavailableError(type(error).__name__) from None
    if len(text) > MAX_DOCUMENT_BYTES:
        raise UnavailableError("document too long")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise UnavailableError("no JSON object")
    return document


def _trusted(url: object) -> bool:
    """Whether the response cannot be altered on its way: TLS, or this host itself."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
    except ValueError:
        return False
    return (parts.scheme == "https" and bool(parts.hostname)) or (
        parts.scheme == "http" and parts.hostname in LOOPBACK
    )


class Keys:
    """An issuer's public keys, by their id and algorithm, fetched when they are needed.

    By the wall's clock: Lambda freezes an environment between events, and does not say whether
    another clock runs meanwhile.
    """

    def __init__(self, issuer: str, clock: Callable[[], float] = time.time) -> None:
        self._issuer = issuer
        self._clock = clock
        self._keys: Mapping[tuple[str, str], jwt.PyJWK] = {}
        self._fetched_at = self._asked_at = float("-inf")
        self._failure = ""

    def find(self, kid: str, algorithm: str) -> jwt.PyJWK:
        """Raises RefusedError if the issuer has no such key, UnavailableError if unknown."""
        now = self._clock()
        key = self._kept(kid, algorithm, now)
        if key is None and now - self._asked_at >= REFETCH_SECONDS:
            self._fetch(now)
            key = self._kept(kid, algorithm, now)
        if key is not None:
            return key
        if self._failure:
            raise UnavailableError(self._failure)
        raise RefusedError("unknown_key")

    def _kept(self, kid: str, algorithm: str, now: float) -> jwt.PyJWK | None:
        fresh = now - self._fetched_at < KEEP_SECONDS
        return self._keys.get((kid, algorithm)) if fresh else None

    def _fetch(self, now: float) -> None:
        self._asked_at = now
        try:
            # OpenID Connect Discovery 1.0, 4: a terminating "/" of the issuer is removed first.
            place = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
            discovery = fetch(place)
            if discovery.get("issuer") != self._issuer:
                raise UnavailableError("discovery names another issuer")  # noqa: TRY301
            rows = fetch(discovery.get("jwks_uri", "")).get("keys")
        except UnavailableError as error:
            self._failure = str(error)
            return
        self._keys = dict(_usable(rows if isinstance(rows, list) else []))
        self._failure, self._fetched_at = "", now


def _usable(rows: Iterable[Any]) -> Iterable[tuple[tuple[str, str], jwt.PyJWK]]:
    """The keys that may verify a token; a key set may have others, and unreadable ones."""
    for row in rows:
        try:
            key = jwt.PyJWK(row)
        except (jwt.PyJWTError, AttributeError, KeyError, TypeError, ValueError):
            continue
        if key.public_key_use in (None, "sig") and isinstance(key.key_id, str):
            yield (key.key_id, key.algorithm_name), key


# -- the token -------------------------------------------------------------------------------------

# PyJWT's exceptions, in the order in which they are matched, and the reason in the log.
REASONS: Mapping[type[jwt.PyJWTError], str] = {
    jwt.ExpiredSignatureError: "expired",
    jwt.ImmatureSignatureError: "not_yet_valid",
    jwt.InvalidSignatureError: "signature",
    jwt.InvalidIssuerError: "issuer",
    jwt.MissingRequiredClaimError: "claim_missing",
}


class Authorizer:
    """What one deployment requires of a token."""

    def __init__(self, issuer: str, audiences: Iterable[str], keys: Keys) -> None:
        self._issuer = issuer
        self._audiences = frozenset(audiences)
        self._keys = keys

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Authorizer":
        """Raises SettingsError."""
        issuer = environment.get("JWT_ISSUER", "")
        if not _trusted(issuer) or {"#", "?"} & set(issuer) or len(issuer) > MAX_ISSUER_BYTES:
            raise SettingsError("JWT_ISSUER must be an https URL without a query or a fragment")
        try:
            audiences = json.loads(environment.get("JWT_AUDIENCE", ""))
        except ValueError:
            audiences = None
        if not isinstance(audiences, list) or not audiences or not all(map(_is_text, audiences)):
            raise SettingsError('JWT_AUDIENCE must be a JSON list of texts, such as ["my-app"]')
        return cls(issuer, audiences, Keys(issuer))

    def answer(self, event: Json) -> Json:
        """The policy for one event. Raises where the keys are unavailable: see the module."""
        meta = event.get("requestContext", {})
        ids = {"connection_id": meta.get("connectionId"), "event_id": meta.get("requestId")}
        try:
            principal = f"{self._issuer}#{self.subject(token_in(event))}"
        except UnavailableError as error:
            log.write("ERROR", "authorizer.unavailable", **ids, reason=str(error))
            raise Exception("Unavailable") from None  # noqa: TRY002 - for Lambda
        except RefusedError as error:
            log.write("INFO", "authorizer.refused", **ids, reason=error.code)
            return _policy("Deny", "nobody", event)
        log.write("INFO", "authorizer.allowed", **ids)
        return _policy("Allow", principal, event)

    def subject(self, token: str) -> str:
        """The token's subject, verified. Raises RefusedError or UnavailableError."""
        try:
            header = jwt.get_unverified_header(token)
            kid, algorithm = header.get("kid"), header.get("alg")
            if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
                raise RefusedError("algorithm")
            if kid is None:
                raise RefusedError("unknown_key")
            claims = jwt.decode(
                token,
                self._keys.find(kid, algorithm),
                algorithms=[algorithm],
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={
                    "require": ["exp", "iss"],
                    "verify_aud": False,  # below
                    "verify_sub": False,  # below
                    "enforce_minimum_key_length": True,
                },
            )
        except jwt.PyJWTError as error:
            raise RefusedError(_reason(error)) from None
        if not self._audiences & _audiences(claims):
            raise RefusedError("audience")
        subject = claims.get("sub")
        if not isinstance(subject, str) or not SUBJECT.fullmatch(subject):
            raise RefusedError("subject")
        return subject


def _audiences(claims: Json) -> frozenset[str]:
    """The token's audiences.

    `client_id` counts only where there is no `aud`, as in API Gateway's own JWT authorizer for
    HTTP APIs: Cognito's access tokens are so.
    """
    named = claims.get("aud", claims.get("client_id"))
    return frozenset(filter(_is_text, named if isinstance(named, list) else [named]))


def _reason(error: jwt.PyJWTError) -> str:
    return next((code for kind, code in REASONS.items() if isinstance(error, kind)), "malformed")


def token_in(event: Json) -> str:
    """The one token of a handshake, from its subprotocols or its query. Raises RefusedError.

    A browser cannot set headers on a WebSocket, so a token travels as the subprotocol
    `bearer.<token>`, beside one that the function accepts; or in the query.
    """
    offered = [
        protocol.strip()
        for name, values in _values(event, "multiValueHeaders", "headers")
        if name.lower() == PROTOCOL
        for value in values
        for protocol in value.split(",")
    ]
    tokens = {each.removeprefix(BEARER) for each in offered if each.startswith(BEARER)}
    for name, values in _values(event, "multiValueQueryStringParameters", "queryStringParameters"):
        if name == "token":
            tokens.update(values)
    if len(tokens) != 1:
        raise RefusedError("two_tokens" if tokens else "no_token")
    token = tokens.pop()
    if len(token) > MAX_TOKEN_BYTES:
        raise RefusedError("too_long")
    return token


def _values(event: Json, many: str, single: str) -> Iterable[tuple[str, list[str]]]:
    """Headers or parameters, each with all the values that the event has."""
    if event.get(many):
        yield from event[many].items()
    else:
        yield from ((name, [value]) for name, value in (event.get(single) or {}).items())


def _policy(effect: str, principal: str, event: Json) -> Json:
    statement = {
        "Action": "execute-api:Invoke",
        "Effect": effect,
        "Resource": event["methodArn"],
    }
    return {
        "principalId": principal,
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
    }


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)

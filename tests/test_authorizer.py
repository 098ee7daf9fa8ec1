"""Covers src/authorizer.py, with real keys and an issuer on loopback HTTP."""

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

import authorizer
from authorizer import (
    ALGORITHMS,
    KEEP_SECONDS,
    LEEWAY_SECONDS,
    MAX_DOCUMENT_BYTES,
    MAX_TOKEN_BYTES,
    REFETCH_SECONDS,
    Authorizer,
    Keys,
    SettingsError,
)

ARN = "arn:aws:execute-api:us-east-1:123456789012:abc/live/$connect"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SMALL_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
PRIVATE: dict[str, Any] = {
    **{algorithm: RSA for algorithm in ALGORITHMS if algorithm[:2] in ("RS", "PS")},
    **{algorithm: ec.generate_private_key(curve) for algorithm, curve in CURVES.items()},
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
PEM = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def jwk(private: Any, kid: str, **members: str) -> dict[str, Any]:
    """Returns a key as an issuer publishes it."""
    public = private.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        published = RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        published = ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        published = OKPAlgorithm.to_jwk(public, as_dict=True)
    return {**published, "kid": kid, **members}


class Issuer:
    """An OIDC issuer on loopback. Its documents can be changed; `requests` has the requested paths.

    A document is an object, bytes, or a status.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.requests: list[str] = []
        self.keys: list[Any] = [jwk(RSA, "one", alg="RS256", use="sig")]
        self.documents: dict[str, Any] = {}

    def document(self, path: str) -> Any:
        self.requests.append(path)
        published = {
            "/.well-known/openid-configuration": {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
            },
            "/keys": {"keys": self.keys},
            **self.documents,
        }
        return published.get(path, 404)

    def token(self, algorithm: str = "RS256", kid: str | None = "one", **claims: Any) -> str:
        """Returns a valid token, except for the claims given here; a claim of None is left out."""
        now = int(time.time())
        all_claims = {"iss": self.url, "sub": "alice", "aud": "chat", "iat": now, "exp": now + 600}
        all_claims |= claims
        payload = {name: value for name, value in all_claims.items() if value is not None}
        headers = {"kid": kid} if kid else {}
        return jwt.encode(payload, PRIVATE[algorithm], algorithm, headers)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = loopback_issuer.document(self.path)
            status = document if isinstance(document, int) else 200
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        loopback_issuer = Issuer(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield loopback_issuer
        server.shutdown()
        thread.join()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jwt_authorizer(issuer: Issuer, clock: Clock) -> Authorizer:
    return Authorizer(issuer.url, ["chat", "other-chat"], Keys(issuer.url, clock))


# As deeply nested as the length of a token allows.
NESTED = base64.urlsafe_b64encode(b"[" * 6000).decode()


def connect_event(*, query: Any = None, headers: Any = None, **members: Any) -> dict[str, Any]:
    """Returns the event of a REQUEST authorizer."""
    return {
        "type": "REQUEST",
        "methodArn": ARN,
        "headers": {"Host": "abc.example", **(headers or {})},
        "queryStringParameters": query or {},
        "requestContext": {"connectionId": "c=", "requestId": "r="},
        **members,
    }


def event_with(token: str, name: str = "Sec-WebSocket-Protocol") -> dict[str, Any]:
    return connect_event(headers={name: f"chat.v1, bearer.{token}"})


def effect(policy: dict[str, Any]) -> str:
    return str(policy["policyDocument"]["Statement"][0]["Effect"])


def assert_unavailable(jwt_authorizer: Authorizer, event: dict[str, Any]) -> None:
    """The authorizer raises an error without a cause, which Lambda would log."""
    with pytest.raises(Exception, match=r"^Unavailable$") as caught:
        jwt_authorizer.answer(event)
    assert Exception is caught.type
    assert caught.value.__suppress_context__
    assert None is caught.value.__cause__


def assert_denied(jwt_authorizer: Authorizer, event: dict[str, Any]) -> None:
    """The policy denies, without a principal."""
    policy = jwt_authorizer.answer(event)
    assert ("Deny", "nobody") == (effect(policy), policy["principalId"])


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def refusal(
    jwt_authorizer: Authorizer,
    token: str,
    capsys: pytest.CaptureFixture[str],
    verify: Callable[[Authorizer, dict[str, Any]], None] = assert_denied,
) -> str:
    """Checks that the token is refused, and returns the reason in the log."""
    verify(jwt_authorizer, event_with(token))
    (line,) = logged(capsys)
    assert {"timestamp", "level", "event", "connection_id", "event_id", "reason"} == set(line)
    return str(line["reason"])


# -- accepted tokens -------------------------------------------------------------------------------


def test_a_valid_token_allows_this_connection_for_its_subject(
    jwt_authorizer: Authorizer, issuer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log has one line, without the subject."""
    policy = jwt_authorizer.answer(event_with(issuer.token()))

    statement = {"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": ARN}
    assert {
        "principalId": f"{issuer.url}#alice",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
    } == policy
    (line,) = logged(capsys)
    assert {"timestamp", "level", "event", "connection_id", "event_id"} == set(line)
    assert ("authorizer.allowed", "c=", "r=") == (
        line["event"],
        line["connection_id"],
        line["event_id"],
    )


@pytest.mark.parametrize(
    "carry",
    [
        event_with,
        lambda token: event_with(token, "sec-websocket-protocol"),
        lambda token: event_with(token, "SEC-WEBSOCKET-PROTOCOL"),
        lambda token: connect_event(query={"token": token}),
        lambda token: connect_event(multiValueQueryStringParameters={"token": [token, token]}),
        lambda token: connect_event(
            multiValueHeaders={"Sec-WebSocket-Protocol": ["chat.v1", f"bearer.{token}"]},
            headers={"Sec-WebSocket-Protocol": f"bearer.{token}"},
        ),
        lambda token: event_with(token) | {"queryStringParameters": {"token": token}},
        lambda token: event_with(token) | {"queryStringParameters": None},
    ],
    ids=["protocol", "lower", "upper", "query", "query twice", "two lines", "both", "no query"],
)
def test_a_token_is_read_from_the_subprotocol_or_the_query(
    jwt_authorizer: Authorizer, issuer: Issuer, carry: Callable[[str], dict[str, Any]]
) -> None:
    """With a header name in any case, on one line or several, or in both places."""
    assert "Allow" == effect(jwt_authorizer.answer(carry(issuer.token())))


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (connect_event(), "no_token"),
        (connect_event(headers={"Sec-WebSocket-Protocol": "chat.v1"}), "no_token"),
        (connect_event(headers={"Authorization": "Bearer x.y.z"}), "no_token"),
        (connect_event(query={"Token": "x.y.z"}), "no_token"),
        (event_with("x.y.z") | {"queryStringParameters": {"token": "a.b.c"}}, "two_tokens"),
        (
            connect_event(multiValueQueryStringParameters={"token": ["x.y.z", "a.b.c"]}),
            "two_tokens",
        ),
        (event_with("x" * (MAX_TOKEN_BYTES + 1)), "too_long"),
        (event_with("x" * MAX_TOKEN_BYTES), "malformed"),
        (event_with(""), "malformed"),
        (event_with("x.y.z"), "malformed"),
        (event_with(f"{NESTED}.e30.AA"), "malformed"),
        (connect_event(query={"token": "e30.e30.☃"}), "malformed"),
    ],
)
def test_a_missing_ambiguous_or_malformed_token_is_refused(
    jwt_authorizer: Authorizer,
    issuer: Issuer,
    event: dict[str, Any],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a request to the issuer."""
    assert_denied(jwt_authorizer, event)
    assert [reason] == [line["reason"] for line in logged(capsys)]
    assert [] == issuer.requests


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_each_supported_algorithm_is_accepted(
    jwt_authorizer: Authorizer, issuer: Issuer, algorithm: str
) -> None:
    issuer.keys = [jwk(PRIVATE[algorithm], "one", alg=algorithm)]

    assert "Allow" == effect(jwt_authorizer.answer(event_with(issuer.token(algorithm))))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "ES512", "EdDSA"])
def test_a_key_without_an_algorithm_has_that_of_its_type(
    jwt_authorizer: Authorizer, issuer: Issuer, algorithm: str
) -> None:
    """An RSA key's is RS256."""
    issuer.keys = [jwk(PRIVATE[algorithm], "one")]

    assert "Allow" == effect(jwt_authorizer.answer(event_with(issuer.token(algorithm))))


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": -LEEWAY_SECONDS + 20},
        {"nbf": LEEWAY_SECONDS},
        {"iat": LEEWAY_SECONDS},
        {"iat": None},
        {"aud": ["elsewhere", "other-chat"]},
        {"aud": None, "client_id": "chat", "token_use": "access"},
        {"sub": "s" * 255},
        {"sub": "auth0|1 #2"},
    ],
    ids=lambda claims: "+".join(f"{name}={str(value)[:9]}" for name, value in claims.items()),
)
def test_sufficient_claims_are_accepted(
    jwt_authorizer: Authorizer, issuer: Issuer, claims: dict[str, Any]
) -> None:
    """Clocks may differ by the leeway; one matching audience suffices; Cognito has a client id."""
    now = int(time.time())
    absolute: dict[str, Any] = {
        name: v + now if isinstance(v, int) else v for name, v in claims.items()
    }
    policy = jwt_authorizer.answer(event_with(issuer.token(**absolute)))

    assert "Allow" == effect(policy)
    assert f"{issuer.url}#{claims.get('sub', 'alice')}" == policy["principalId"]


# -- refused tokens --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "reason"),
    [
        ({"exp": -LEEWAY_SECONDS - 1}, "expired"),
        ({"nbf": LEEWAY_SECONDS + 60}, "not_yet_valid"),
        ({"iat": LEEWAY_SECONDS + 60}, "not_yet_valid"),
    ],
)
def test_a_token_outside_its_validity_is_refused(
    jwt_authorizer: Authorizer,
    issuer: Issuer,
    offset: dict[str, int],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """If it has expired or is not yet valid by more than the leeway."""
    claims: dict[str, Any] = {name: int(time.time()) + s for name, s in offset.items()}

    assert reason == refusal(jwt_authorizer, issuer.token(**claims), capsys)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "http://127.0.0.1:1"}, "issuer"),
        ({"iss": None}, "claim_missing"),
        ({"exp": None}, "claim_missing"),
        ({"exp": "soon"}, "malformed"),
        ({"exp": []}, "malformed"),
        ({"exp": float("inf")}, "malformed"),
        ({"iat": {}}, "malformed"),
    ],
)
def test_another_issuer_or_invalid_times_are_refused(
    jwt_authorizer: Authorizer,
    issuer: Issuer,
    claims: dict[str, Any],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A token must be of the configured issuer and must expire."""
    assert reason == refusal(jwt_authorizer, issuer.token(**claims), capsys)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "elsewhere"}, "audience"),
        ({"aud": []}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": {"chat": 1}}, "audience"),
        ({"aud": "elsewhere", "client_id": "chat"}, "audience"),
        ({"aud": None, "client_id": "elsewhere"}, "audience"),
        ({"aud": None, "azp": "chat"}, "audience"),
        ({"sub": None}, "subject"),
        ({"sub": ""}, "subject"),
        ({"sub": "s" * 256}, "subject"),
        ({"sub": "a\nb"}, "subject"),
        ({"sub": "ä"}, "subject"),
    ],
)
def test_another_audience_or_an_invalid_subject_is_refused(
    jwt_authorizer: Authorizer,
    issuer: Issuer,
    claims: dict[str, Any],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With a policy that denies, which is 403, although the signature is valid."""
    assert_denied(jwt_authorizer, event_with(issuer.token(**claims)))

    assert [reason] == [line["reason"] for line in logged(capsys)]


def test_a_subject_that_is_no_text_is_refused(jwt_authorizer: Authorizer, issuer: Issuer) -> None:
    token = jwt.api_jws.encode(
        json.dumps({"iss": issuer.url, "aud": "chat", "sub": 7, "exp": time.time() + 60}).encode(),
        RSA,
        "RS256",
        {"kid": "one"},
    )

    assert "Deny" == effect(jwt_authorizer.answer(event_with(token)))


def handmade_token(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    """Returns a token that a JWT library would refuse to create."""
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def claims_of(issuer: Issuer) -> dict[str, Any]:
    return {"iss": issuer.url, "sub": "mallory", "aud": "chat", "exp": int(time.time()) + 600}


@pytest.mark.parametrize(
    "name", ["none", "None", "nOnE", "", "HS256", "ES256K", None, 7, ["RS256"], {}]
)
def test_an_unsupported_algorithm_is_refused_without_a_key_lookup(
    jwt_authorizer: Authorizer, issuer: Issuer, name: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """`none` in any case, a symmetric algorithm, or no algorithm."""
    token = handmade_token({"alg": name, "kid": "one"}, claims_of(issuer))

    assert refusal(jwt_authorizer, token, capsys) in ("algorithm", "malformed")
    assert [] == issuer.requests


def test_the_public_key_is_no_symmetric_key(
    jwt_authorizer: Authorizer, issuer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Algorithm confusion: HS256 with the published key as the secret is refused."""
    import hashlib  # noqa: PLC0415 - for this attack alone
    import hmac  # noqa: PLC0415 - as above

    for secret in (PEM, json.dumps(issuer.keys[0]).encode()):
        unsigned = handmade_token({"alg": "HS256", "kid": "one"}, claims_of(issuer)).rstrip(".")
        digest = hmac.new(secret, unsigned.encode(), hashlib.sha256).digest()
        signature = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

        assert "algorithm" == refusal(jwt_authorizer, f"{unsigned}.{signature}", capsys)


def test_a_published_symmetric_key_verifies_nothing(
    jwt_authorizer: Authorizer, issuer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Anyone can read a secret that an issuer publishes."""
    secret = b"s" * 32
    issuer.keys.append({"kty": "oct", "kid": "two", "k": base64.b64encode(secret).decode()})
    token = jwt.encode(claims_of(issuer), secret, "HS256", {"kid": "two"})

    assert "algorithm" == refusal(jwt_authorizer, token, capsys)


@pytest.mark.parametrize(
    ("published", "signed"),
    [
        (jwk(RSA, "one", alg="RS256"), "RS512"),
        (jwk(RSA, "one", alg="RS256"), "PS256"),
        (jwk(RSA, "one"), "RS384"),
        (jwk(RSA, "one", alg="RS256"), "ES256"),
        (jwk(RSA, "one", alg="RS256", use="enc"), "RS256"),
        (jwk(RSA, "another", alg="RS256"), "RS256"),
        ({k: v for k, v in jwk(RSA, "one").items() if k != "kid"}, "RS256"),
        (jwk(RSA, "one", alg="HS256"), "RS256"),
    ],
)
def test_a_key_verifies_only_its_own_algorithm_use_and_id(
    jwt_authorizer: Authorizer,
    issuer: Issuer,
    published: dict[str, Any],
    signed: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    issuer.keys = [published]

    assert "unknown_key" == refusal(jwt_authorizer, issuer.token(signed), capsys)


def test_a_token_without_a_key_id_is_refused(
    jwt_authorizer: Authorizer, issuer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not verified with any key."""
    assert "unknown_key" == refusal(jwt_authorizer, issuer.token(kid=None), capsys)


def test_a_key_in_the_token_is_ignored(
    jwt_authorizer: Authorizer, issuer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its `jwk` is not used, and its `jku` is not fetched."""
    headers = {"kid": "mine", "jwk": jwk(OTHER_RSA, "mine"), "jku": f"{issuer.url}/mine"}
    issuer.documents["/mine"] = {"keys": [jwk(OTHER_RSA, "mine")]}
    token = jwt.encode(claims_of(issuer), OTHER_RSA, "RS256", headers)

    assert "unknown_key" == refusal(jwt_authorizer, token, capsys)
    assert "/mine" not in issuer.requests


@pytest.mark.parametrize("forged", [OTHER_RSA, "tampered"])
def test_a_forged_signature_is_refused(
    jwt_authorizer: Authorizer, issuer: Issuer, forged: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another key with the issuer's key id, or other claims with a valid signature."""
    if forged == "tampered":
        header, _, signature = issuer.token().split(".")
        claims = handmade_token({}, claims_of(issuer)).split(".")[1]
        token = f"{header}.{claims}.{signature}"
    else:
        token = jwt.encode(claims_of(issuer), forged, "RS256", {"kid": "one"})

    assert "signature" == refusal(jwt_authorizer, token, capsys)


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_key_that_is_too_short_is_refused(
    jwt_authorizer: Authorizer, issuer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    """An RSA key of 1,024 bits verifies nothing."""
    issuer.keys = [jwk(SMALL_RSA, "one", alg="RS256")]
    token = jwt.encode(claims_of(issuer), SMALL_RSA, "RS256", {"kid": "one"})

    assert "malformed" == refusal(jwt_authorizer, token, capsys)


# -- the issuer's keys -----------------------------------------------------------------------------


def test_keys_are_cached_for_keep_seconds(
    jwt_authorizer: Authorizer, issuer: Issuer, clock: Clock
) -> None:
    for _ in range(3):
        jwt_authorizer.answer(event_with(issuer.token()))
    assert ["/.well-known/openid-configuration", "/keys"] == issuer.requests

    clock.now += KEEP_SECONDS
    jwt_authorizer.answer(event_with(issuer.token()))
    assert 4 == len(issuer.requests)


def test_a_new_key_is_fetched_for_the_first_token_that_names_it(
    jwt_authorizer: Authorizer, issuer: Issuer, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """At most once in `REFETCH_SECONDS`; keys that the issuer removed are no longer accepted."""
    jwt_authorizer.answer(event_with(issuer.token()))
    issuer.keys = [jwk(PRIVATE["ES256"], "two", alg="ES256")]
    token = issuer.token("ES256", "two")
    capsys.readouterr()

    assert "unknown_key" == refusal(jwt_authorizer, token, capsys)  # fetched a moment ago
    clock.now += REFETCH_SECONDS
    assert "Allow" == effect(jwt_authorizer.answer(event_with(token)))
    capsys.readouterr()
    assert "unknown_key" == refusal(
        jwt_authorizer, issuer.token(), capsys
    )  # the old key is removed


def test_a_withdrawn_key_is_accepted_until_the_cache_expires(
    jwt_authorizer: Authorizer, issuer: Issuer, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    jwt_authorizer.answer(event_with(issuer.token()))
    issuer.keys = [jwk(OTHER_RSA, "two", alg="RS256")]
    clock.now += KEEP_SECONDS - 1
    assert "Allow" == effect(jwt_authorizer.answer(event_with(issuer.token())))
    capsys.readouterr()

    clock.now += 1
    assert "unknown_key" == refusal(jwt_authorizer, issuer.token(), capsys)


def test_unknown_key_ids_cause_few_requests_to_the_issuer(
    jwt_authorizer: Authorizer, issuer: Issuer, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keys are fetched at most once in `REFETCH_SECONDS`."""
    for i in range(50):
        refusal(jwt_authorizer, issuer.token(kid=f"made-up-{i}"), capsys)
    assert 2 == len(issuer.requests)

    clock.now += REFETCH_SECONDS
    for i in range(50):
        refusal(jwt_authorizer, issuer.token(kid=f"made-up-{i}"), capsys)
    assert 4 == len(issuer.requests)


def test_unusable_keys_in_a_set_are_ignored(jwt_authorizer: Authorizer, issuer: Issuer) -> None:
    """The usable keys work, also if two have the same id."""
    issuer.keys = [
        None,
        7,
        "key",
        [],
        {},
        {"kid": "one"},
        {"kty": "RSA", "kid": "one"},
        {"kty": "RSA", "kid": "one", "n": "!", "e": "AQAB"},
        {"kty": "RSA", "kid": "one", "n": 5, "e": []},
        {"kty": "EC", "kid": "one", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "kid": "one", "crv": "P-999", "x": "AA", "y": "AA"},
        {"kty": "OKP", "kid": "one", "crv": "X25519", "x": "AA"},
        {"kty": "AKP", "kid": "one", "alg": "ML-DSA-44", "pub": "AA"},
        {"kty": ["RSA"], "kid": "one", "alg": ["RS256"]},
        jwk(RSA, "one") | {"kid": {"one": 1}},
        jwk(PRIVATE["ES256"], "one"),
        jwk(RSA, "one"),
    ]

    assert "Allow" == effect(jwt_authorizer.answer(event_with(issuer.token())))
    assert "Allow" == effect(jwt_authorizer.answer(event_with(issuer.token("ES256"))))


DISCOVERY = "/.well-known/openid-configuration"


@pytest.mark.parametrize(
    ("documents", "reason"),
    [
        ({DISCOVERY: 500}, "HTTPError"),
        ({DISCOVERY: 404}, "HTTPError"),
        ({DISCOVERY: 302}, "HTTPError"),
        ({DISCOVERY: b"<html>"}, "no JSON object"),
        ({DISCOVERY: b"[" * 100_000}, "no JSON object"),
        ({DISCOVERY: b"\xff"}, "no JSON object"),
        ({DISCOVERY: []}, "no JSON object"),
        ({DISCOVERY: b" " * (MAX_DOCUMENT_BYTES + 1)}, "document too long"),
        ({DISCOVERY: {}}, "discovery names another issuer"),
        ({DISCOVERY: {"issuer": "http://127.0.0.1:1"}}, "discovery names another issuer"),
        ({"/keys": 503}, "HTTPError"),
        ({"/keys": b""}, "no JSON object"),
    ],
)
def test_without_the_issuers_keys_the_answer_is_an_error(
    jwt_authorizer: Authorizer,
    issuer: Issuer,
    documents: dict[str, Any],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """If the issuer returns no keys, or a discovery document of another issuer: 500."""
    issuer.documents |= documents

    assert reason == refusal(jwt_authorizer, issuer.token(), capsys, assert_unavailable)
    assert "/elsewhere" not in issuer.requests  # a redirect is not followed


@pytest.mark.parametrize(
    "url",
    ["http://example.invalid/keys", "file:///etc/hosts", "keys", "http://[/", None, 7, ""],
)
def test_keys_are_fetched_only_over_https_or_loopback(
    jwt_authorizer: Authorizer, issuer: Issuer, url: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    issuer.documents[DISCOVERY] = {"issuer": issuer.url, "jwks_uri": url}

    assert "not https" == refusal(jwt_authorizer, issuer.token(), capsys, assert_unavailable)


@pytest.mark.parametrize("keys", [None, {}, "keys", []])
def test_a_set_without_keys_refuses_every_token(
    jwt_authorizer: Authorizer, issuer: Issuer, keys: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The issuer is available and has no keys."""
    issuer.documents["/keys"] = {"keys": keys}

    assert "unknown_key" == refusal(jwt_authorizer, issuer.token(), capsys)


def test_an_unavailable_issuer_gets_few_requests_and_recovers(
    jwt_authorizer: Authorizer, issuer: Issuer, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cached keys remain valid meanwhile."""
    issuer.documents[DISCOVERY] = 503
    for _ in range(20):
        refusal(jwt_authorizer, issuer.token(), capsys, assert_unavailable)
    assert 1 == len(issuer.requests)

    clock.now += REFETCH_SECONDS
    del issuer.documents[DISCOVERY]
    assert "Allow" == effect(jwt_authorizer.answer(event_with(issuer.token())))
    capsys.readouterr()
    assert "unknown_key" == refusal(jwt_authorizer, issuer.token(kid="two"), capsys)

    issuer.documents[DISCOVERY] = 503
    clock.now += REFETCH_SECONDS
    capsys.readouterr()
    # It is unknown whether the issuer has such a key.
    assert "HTTPError" == refusal(
        jwt_authorizer, issuer.token(kid="two"), capsys, assert_unavailable
    )
    assert "Allow" == effect(jwt_authorizer.answer(event_with(issuer.token())))


def test_an_unreachable_issuer_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """With status 500; the log has the type of the error only."""
    unreachable = Issuer(1)
    jwt_authorizer = Authorizer(unreachable.url, ["chat"], Keys(unreachable.url))

    assert "URLError" == refusal(jwt_authorizer, unreachable.token(), capsys, assert_unavailable)


def test_an_issuer_that_ends_with_a_slash_is_supported(issuer: Issuer) -> None:
    """The URL of its discovery document has one slash; its identifier keeps its own."""
    url = f"{issuer.url}/pool/"
    jwt_authorizer = Authorizer(url, ["chat"], Keys(url))
    issuer.documents[f"/pool{DISCOVERY}"] = {"issuer": url, "jwks_uri": f"{issuer.url}/keys"}

    assert f"{url}#alice" == jwt_authorizer.answer(event_with(issuer.token(iss=url)))["principalId"]


# -- the log and the settings ----------------------------------------------------------------------


def test_nothing_of_the_token_is_logged(
    jwt_authorizer: Authorizer, issuer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether it is accepted or refused."""
    valid = issuer.token(sub="subject-secret")
    for token in (valid, issuer.token(aud="audience-secret"), valid[:-9], f"x{valid}"):
        with contextlib.suppress(Exception):
            jwt_authorizer.answer(event_with(token))
    output = capsys.readouterr()

    assert 4 == len(output.out.splitlines())
    assert "" == output.err
    assert "secret" not in output.out
    assert not [part for part in valid.split(".") if part[:12] in output.out]


def test_lambda_handler_reads_the_settings_at_the_first_event_and_caches_the_keys(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JWT_ISSUER", issuer.url)
    monkeypatch.setenv("JWT_AUDIENCE", '["chat"]')
    authorizer._authorizer.cache_clear()
    for _ in range(2):
        policy = authorizer.lambda_handler(event_with(issuer.token()), None)
        assert f"{issuer.url}#alice" == policy["principalId"]
    authorizer._authorizer.cache_clear()

    assert 2 == len(issuer.requests)


@pytest.mark.parametrize(
    ("issuer_url", "audience", "variable"),
    [
        ("", '["chat"]', "JWT_ISSUER"),
        ("http://id.example", '["chat"]', "JWT_ISSUER"),
        ("https://", '["chat"]', "JWT_ISSUER"),
        ("https://id.example/#x", '["chat"]', "JWT_ISSUER"),
        ("https://id.example/?x", '["chat"]', "JWT_ISSUER"),
        ("https://id.example/" + "x" * 512, '["chat"]', "JWT_ISSUER"),
        ("https://[", '["chat"]', "JWT_ISSUER"),
        ("https://id.example", "", "JWT_AUDIENCE"),
        ("https://id.example", "[]", "JWT_AUDIENCE"),
        ("https://id.example", '"chat"', "JWT_AUDIENCE"),
        ("https://id.example", '[""]', "JWT_AUDIENCE"),
        ("https://id.example", "[1]", "JWT_AUDIENCE"),
    ],
)
def test_invalid_settings_are_rejected_by_name(
    issuer_url: str, audience: str, variable: str
) -> None:
    """An issuer without TLS, or no audience, does not disable authentication."""
    with pytest.raises(SettingsError, match=variable):
        Authorizer.of({"JWT_ISSUER": issuer_url, "JWT_AUDIENCE": audience})


@pytest.mark.parametrize(
    "url",
    ["https://id.example", "https://id.example/pool", "http://localhost:8080", "http://[::1]:1"],
)
def test_an_https_issuer_or_one_on_loopback_is_accepted(url: str) -> None:
    Authorizer.of({"JWT_ISSUER": url, "JWT_AUDIENCE": '["a", "b"]'})

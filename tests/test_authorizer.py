"""Covers src/authorizer.py, with real keys and an issuer that answers over loopback HTTP."""

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


def jwk(private: Any, kid: str, **more: str) -> dict[str, Any]:
    """What an issuer publishes of a key."""
    public = private.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        published = RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        published = ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        published = OKPAlgorithm.to_jwk(public, as_dict=True)
    return {**published, "kid": kid, **more}


class Issuer:
    """An OIDC issuer on loopback: what it publishes can be changed, and what it is asked is kept.

    A document is an object, bytes, or a status.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.asked: list[str] = []
        self.keys: list[Any] = [jwk(RSA, "one", alg="RS256", use="sig")]
        self.documents: dict[str, Any] = {}

    def document(self, path: str) -> Any:
        self.asked.append(path)
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
        """A good token, but for what is asked for; a claim of None is left out."""
        now = int(time.time())
        said = {"iss": self.url, "sub": "alice", "aud": "chat", "iat": now, "exp": now + 600}
        said |= claims
        payload = {name: value for name, value in said.items() if value is not None}
        headers = {"kid": kid} if kid else {}
        return jwt.encode(payload, PRIVATE[algorithm], algorithm, headers)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = one.document(self.path)
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
        one = Issuer(server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield one
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
def gate(issuer: Issuer, clock: Clock) -> Authorizer:
    return Authorizer(issuer.url, ["chat", "other-chat"], Keys(issuer.url, clock))


# As deep as a token's length allows.
NESTED = base64.urlsafe_b64encode(b"[" * 6000).decode()


def knock(*, query: Any = None, headers: Any = None, **more: Any) -> dict[str, Any]:
    """A REQUEST authorizer's event."""
    return {
        "type": "REQUEST",
        "methodArn": ARN,
        "headers": {"Host": "abc.example", **(headers or {})},
        "queryStringParameters": query or {},
        "requestContext": {"connectionId": "c=", "requestId": "r="},
        **more,
    }


def offering(token: str, name: str = "Sec-WebSocket-Protocol") -> dict[str, Any]:
    return knock(headers={name: f"chat.v1, bearer.{token}"})


def effect(policy: dict[str, Any]) -> str:
    return str(policy["policyDocument"]["Statement"][0]["Effect"])


def unavailable(gate: Authorizer, event: dict[str, Any]) -> None:
    """The gateway gets an error, and Lambda's log nothing of what it came of."""
    with pytest.raises(Exception, match=r"^Unavailable$") as caught:
        gate.answer(event)
    assert Exception is caught.type
    assert caught.value.__suppress_context__
    assert None is caught.value.__cause__


def denied(gate: Authorizer, event: dict[str, Any]) -> None:
    """The gateway gets a policy that denies, for nobody."""
    policy = gate.answer(event)
    assert ("Deny", "nobody") == (effect(policy), policy["principalId"])


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def refused(
    gate: Authorizer,
    token: str,
    capsys: pytest.CaptureFixture[str],
    answer: Callable[[Authorizer, dict[str, Any]], None] = denied,
) -> str:
    """Refuses the token with that answer, and gives the one reason in the log."""
    answer(gate, offering(token))
    (line,) = logged(capsys)
    assert {"timestamp", "level", "event", "connection_id", "event_id", "reason"} == set(line)
    return str(line["reason"])


# -- who comes in ----------------------------------------------------------------------------------


def test_the_policy(gate: Authorizer, issuer: Issuer, capsys: pytest.CaptureFixture[str]) -> None:
    """Allows this one connection, for the issuer's subject; the log says so and no more."""
    policy = gate.answer(offering(issuer.token()))

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
        offering,
        lambda token: offering(token, "sec-websocket-protocol"),
        lambda token: offering(token, "SEC-WEBSOCKET-PROTOCOL"),
        lambda token: knock(query={"token": token}),
        lambda token: knock(multiValueQueryStringParameters={"token": [token, token]}),
        lambda token: knock(
            multiValueHeaders={"Sec-WebSocket-Protocol": ["chat.v1", f"bearer.{token}"]},
            headers={"Sec-WebSocket-Protocol": f"bearer.{token}"},
        ),
        lambda token: offering(token) | {"queryStringParameters": {"token": token}},
        lambda token: offering(token) | {"queryStringParameters": None},
    ],
    ids=["protocol", "lower", "upper", "query", "query twice", "two lines", "both", "no query"],
)
def test_how_a_token_travels(
    gate: Authorizer, issuer: Issuer, carry: Callable[[str], dict[str, Any]]
) -> None:
    """As a subprotocol, whatever the header's letters and lines, or in the query, or in both."""
    assert "Allow" == effect(gate.answer(carry(issuer.token())))


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (knock(), "no_token"),
        (knock(headers={"Sec-WebSocket-Protocol": "chat.v1"}), "no_token"),
        (knock(headers={"Authorization": "Bearer x.y.z"}), "no_token"),
        (knock(query={"Token": "x.y.z"}), "no_token"),
        (offering("x.y.z") | {"queryStringParameters": {"token": "a.b.c"}}, "two_tokens"),
        (knock(multiValueQueryStringParameters={"token": ["x.y.z", "a.b.c"]}), "two_tokens"),
        (offering("x" * (MAX_TOKEN_BYTES + 1)), "too_long"),
        (offering("x" * MAX_TOKEN_BYTES), "malformed"),
        (offering(""), "malformed"),
        (offering("x.y.z"), "malformed"),
        (offering(f"{NESTED}.e30.AA"), "malformed"),
        (knock(query={"token": "e30.e30.☃"}), "malformed"),
    ],
)
def test_no_token(
    gate: Authorizer,
    issuer: Issuer,
    event: dict[str, Any],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """None, two, or what is none: refused, and the issuer hears nothing of it."""
    denied(gate, event)
    assert [reason] == [line["reason"] for line in logged(capsys)]
    assert [] == issuer.asked


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_algorithm(gate: Authorizer, issuer: Issuer, algorithm: str) -> None:
    """Each of those that we name works."""
    issuer.keys = [jwk(PRIVATE[algorithm], "one", alg=algorithm)]

    assert "Allow" == effect(gate.answer(offering(issuer.token(algorithm))))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "ES512", "EdDSA"])
def test_a_key_that_names_no_algorithm(gate: Authorizer, issuer: Issuer, algorithm: str) -> None:
    """Its kind tells; an RSA key's is RS256."""
    issuer.keys = [jwk(PRIVATE[algorithm], "one")]

    assert "Allow" == effect(gate.answer(offering(issuer.token(algorithm))))


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
def test_claims_that_do(gate: Authorizer, issuer: Issuer, claims: dict[str, Any]) -> None:
    """Clocks may differ a little; one audience of several is enough; Cognito's client id counts."""
    now = int(time.time())
    said: dict[str, Any] = {
        name: v + now if isinstance(v, int) else v for name, v in claims.items()
    }
    policy = gate.answer(offering(issuer.token(**said)))

    assert "Allow" == effect(policy)
    assert f"{issuer.url}#{claims.get('sub', 'alice')}" == policy["principalId"]


# -- who does not ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "reason"),
    [
        ({"exp": -LEEWAY_SECONDS - 1}, "expired"),
        ({"nbf": LEEWAY_SECONDS + 60}, "not_yet_valid"),
        ({"iat": LEEWAY_SECONDS + 60}, "not_yet_valid"),
    ],
)
def test_the_wrong_time(
    gate: Authorizer,
    issuer: Issuer,
    offset: dict[str, int],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Past the leeway, a token of yesterday or of tomorrow is refused."""
    claims: dict[str, Any] = {name: int(time.time()) + s for name, s in offset.items()}

    assert reason == refused(gate, issuer.token(**claims), capsys)


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
def test_the_wrong_claims(
    gate: Authorizer,
    issuer: Issuer,
    claims: dict[str, Any],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The issuer must be ours, and a token must end."""
    assert reason == refused(gate, issuer.token(**claims), capsys)


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
def test_a_genuine_token_that_is_not_for_us(
    gate: Authorizer,
    issuer: Issuer,
    claims: dict[str, Any],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Another audience, or a subject that cannot be told apart: a policy that denies, for 403."""
    denied(gate, offering(issuer.token(**claims)))

    assert [reason] == [line["reason"] for line in logged(capsys)]


def test_a_subject_that_is_no_text(gate: Authorizer, issuer: Issuer) -> None:
    """A number is no subject: 403."""
    token = jwt.api_jws.encode(
        json.dumps({"iss": issuer.url, "aud": "chat", "sub": 7, "exp": time.time() + 60}).encode(),
        RSA,
        "RS256",
        {"kid": "one"},
    )

    assert "Deny" == effect(gate.answer(offering(token)))


def by_hand(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    """A token that no library would make."""
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def claims_of(issuer: Issuer) -> dict[str, Any]:
    return {"iss": issuer.url, "sub": "mallory", "aud": "chat", "exp": int(time.time()) + 600}


@pytest.mark.parametrize(
    "name", ["none", "None", "nOnE", "", "HS256", "ES256K", None, 7, ["RS256"], {}]
)
def test_an_algorithm_that_is_none_of_ours(
    gate: Authorizer, issuer: Issuer, name: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """`none` in any letters, a symmetric one, none at all: refused before a key is looked for."""
    token = by_hand({"alg": name, "kid": "one"}, claims_of(issuer))

    assert refused(gate, token, capsys) in ("algorithm", "malformed")
    assert [] == issuer.asked


def test_algorithm_confusion(
    gate: Authorizer, issuer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    """What everybody can read of the issuer, its public key, signs nothing."""
    import hashlib  # noqa: PLC0415 - for this attack alone
    import hmac  # noqa: PLC0415 - as above

    for secret in (PEM, json.dumps(issuer.keys[0]).encode()):
        unsigned = by_hand({"alg": "HS256", "kid": "one"}, claims_of(issuer)).rstrip(".")
        digest = hmac.new(secret, unsigned.encode(), hashlib.sha256).digest()
        signature = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

        assert "algorithm" == refused(gate, f"{unsigned}.{signature}", capsys)


def test_a_symmetric_key_is_no_key(
    gate: Authorizer, issuer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    """An issuer that publishes a secret has published it to everybody."""
    secret = b"s" * 32
    issuer.keys.append({"kty": "oct", "kid": "two", "k": base64.b64encode(secret).decode()})
    token = jwt.encode(claims_of(issuer), secret, "HS256", {"kid": "two"})

    assert "algorithm" == refused(gate, token, capsys)


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
def test_a_key_is_for_what_it_says(
    gate: Authorizer,
    issuer: Issuer,
    published: dict[str, Any],
    signed: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its own algorithm, its own use, its own name."""
    issuer.keys = [published]

    assert "unknown_key" == refused(gate, issuer.token(signed), capsys)


def test_a_token_that_names_no_key(
    gate: Authorizer, issuer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is not tried against any."""
    assert "unknown_key" == refused(gate, issuer.token(kid=None), capsys)


def test_a_key_in_the_token(
    gate: Authorizer, issuer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key, or the place of one, that the token brings along is not looked at."""
    headers = {"kid": "mine", "jwk": jwk(OTHER_RSA, "mine"), "jku": f"{issuer.url}/mine"}
    issuer.documents["/mine"] = {"keys": [jwk(OTHER_RSA, "mine")]}
    token = jwt.encode(claims_of(issuer), OTHER_RSA, "RS256", headers)

    assert "unknown_key" == refused(gate, token, capsys)
    assert "/mine" not in issuer.asked


@pytest.mark.parametrize("forged", [OTHER_RSA, "tampered"])
def test_a_forged_signature(
    gate: Authorizer, issuer: Issuer, forged: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another's key under the issuer's key id, or other claims under a genuine signature."""
    if forged == "tampered":
        header, _, signature = issuer.token().split(".")
        claims = by_hand({}, claims_of(issuer)).split(".")[1]
        token = f"{header}.{claims}.{signature}"
    else:
        token = jwt.encode(claims_of(issuer), forged, "RS256", {"kid": "one"})

    assert "signature" == refused(gate, token, capsys)


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_key_that_is_too_short(
    gate: Authorizer, issuer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    """An RSA key of 1,024 bits verifies nothing."""
    issuer.keys = [jwk(SMALL_RSA, "one", alg="RS256")]
    token = jwt.encode(claims_of(issuer), SMALL_RSA, "RS256", {"kid": "one"})

    assert "malformed" == refused(gate, token, capsys)


# -- the issuer's keys -----------------------------------------------------------------------------


def test_keys_are_kept(gate: Authorizer, issuer: Issuer, clock: Clock) -> None:
    """The issuer is asked once, and again when the keys have grown old."""
    for _ in range(3):
        gate.answer(offering(issuer.token()))
    assert ["/.well-known/openid-configuration", "/keys"] == issuer.asked

    clock.now += KEEP_SECONDS
    gate.answer(offering(issuer.token()))
    assert 4 == len(issuer.asked)


def test_a_new_key(
    gate: Authorizer, issuer: Issuer, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """The issuer rotates: its new key is fetched when the first token names it."""
    gate.answer(offering(issuer.token()))
    issuer.keys = [jwk(PRIVATE["ES256"], "two", alg="ES256")]
    token = issuer.token("ES256", "two")
    capsys.readouterr()

    assert "unknown_key" == refused(gate, token, capsys)  # asked a moment ago
    clock.now += REFETCH_SECONDS
    assert "Allow" == effect(gate.answer(offering(token)))
    capsys.readouterr()
    assert "unknown_key" == refused(gate, issuer.token(), capsys)  # the old one went with it


def test_a_key_that_is_withdrawn(
    gate: Authorizer, issuer: Issuer, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is trusted for as long as keys are kept, and no longer."""
    gate.answer(offering(issuer.token()))
    issuer.keys = [jwk(OTHER_RSA, "two", alg="RS256")]
    clock.now += KEEP_SECONDS - 1
    assert "Allow" == effect(gate.answer(offering(issuer.token())))
    capsys.readouterr()

    clock.now += 1
    assert "unknown_key" == refused(gate, issuer.token(), capsys)


def test_strangers_do_not_make_us_hammer_the_issuer(
    gate: Authorizer, issuer: Issuer, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """However many unknown keys are named, the issuer is asked once in a while."""
    for i in range(50):
        refused(gate, issuer.token(kid=f"made-up-{i}"), capsys)
    assert 2 == len(issuer.asked)

    clock.now += REFETCH_SECONDS
    for i in range(50):
        refused(gate, issuer.token(kid=f"made-up-{i}"), capsys)
    assert 4 == len(issuer.asked)


def test_keys_that_are_none_of_ours(gate: Authorizer, issuer: Issuer) -> None:
    """A set may hold what we cannot read; the others of it work, two of one name too."""
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

    assert "Allow" == effect(gate.answer(offering(issuer.token())))
    assert "Allow" == effect(gate.answer(offering(issuer.token("ES256"))))


DISCOVERY = "/.well-known/openid-configuration"


@pytest.mark.parametrize(
    ("said", "reason"),
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
def test_no_keys_no_entry(
    gate: Authorizer,
    issuer: Issuer,
    said: dict[str, Any],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where the issuer does not say its keys, or lies about who it is, the answer is 500."""
    issuer.documents |= said

    assert reason == refused(gate, issuer.token(), capsys, unavailable)
    assert "/elsewhere" not in issuer.asked  # a redirect is not followed


@pytest.mark.parametrize(
    "place",
    ["http://example.invalid/keys", "file:///etc/hosts", "keys", "http://[/", None, 7, ""],
)
def test_keys_from_an_untrusted_place(
    gate: Authorizer, issuer: Issuer, place: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keys come over https, or from this machine."""
    issuer.documents[DISCOVERY] = {"issuer": issuer.url, "jwks_uri": place}

    assert "not https" == refused(gate, issuer.token(), capsys, unavailable)


@pytest.mark.parametrize("keys", [None, {}, "keys", []])
def test_a_set_without_keys(
    gate: Authorizer, issuer: Issuer, keys: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The issuer has said that it has none."""
    issuer.documents["/keys"] = {"keys": keys}

    assert "unknown_key" == refused(gate, issuer.token(), capsys)


def test_an_issuer_that_is_down_is_not_hammered_either(
    gate: Authorizer, issuer: Issuer, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is asked once in a while; known keys go on working meanwhile, and it may come back."""
    issuer.documents[DISCOVERY] = 503
    for _ in range(20):
        refused(gate, issuer.token(), capsys, unavailable)
    assert 1 == len(issuer.asked)

    clock.now += REFETCH_SECONDS
    del issuer.documents[DISCOVERY]
    assert "Allow" == effect(gate.answer(offering(issuer.token())))
    capsys.readouterr()
    assert "unknown_key" == refused(gate, issuer.token(kid="two"), capsys)

    issuer.documents[DISCOVERY] = 503
    clock.now += REFETCH_SECONDS
    capsys.readouterr()
    # Whether the issuer has such a key, nobody can say.
    assert "HTTPError" == refused(gate, issuer.token(kid="two"), capsys, unavailable)
    assert "Allow" == effect(gate.answer(offering(issuer.token())))


def test_an_issuer_that_cannot_be_reached(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing listens there: 500, and the log says what failed and not how."""
    nowhere = Issuer(1)
    gate = Authorizer(nowhere.url, ["chat"], Keys(nowhere.url))

    assert "URLError" == refused(gate, nowhere.token(), capsys, unavailable)


def test_an_issuer_that_ends_with_a_slash(issuer: Issuer) -> None:
    """Its discovery document lies behind one slash, and its name keeps its own."""
    own = f"{issuer.url}/pool/"
    gate = Authorizer(own, ["chat"], Keys(own))
    issuer.documents[f"/pool{DISCOVERY}"] = {"issuer": own, "jwks_uri": f"{issuer.url}/keys"}

    assert f"{own}#alice" == gate.answer(offering(issuer.token(iss=own)))["principalId"]


# -- the log and the settings ----------------------------------------------------------------------


def test_nothing_of_the_token_is_logged(
    gate: Authorizer, issuer: Issuer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Let in or not, neither the token nor a claim of it is in any line."""
    good = issuer.token(sub="subject-secret")
    for token in (good, issuer.token(aud="audience-secret"), good[:-9], f"x{good}"):
        with contextlib.suppress(Exception):
            gate.answer(offering(token))
    written = capsys.readouterr()

    assert 4 == len(written.out.splitlines())
    assert "" == written.err
    assert "secret" not in written.out
    assert not [part for part in good.split(".") if part[:12] in written.out]


def test_lambda_handler(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads the settings once, when the first event comes, and keeps the keys."""
    monkeypatch.setenv("JWT_ISSUER", issuer.url)
    monkeypatch.setenv("JWT_AUDIENCE", '["chat"]')
    authorizer._authorizer.cache_clear()
    for _ in range(2):
        policy = authorizer.lambda_handler(offering(issuer.token()), None)
        assert f"{issuer.url}#alice" == policy["principalId"]
    authorizer._authorizer.cache_clear()

    assert 2 == len(issuer.asked)


@pytest.mark.parametrize(
    ("issuer_url", "audience", "named"),
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
def test_settings_that_will_not_do(issuer_url: str, audience: str, named: str) -> None:
    """An issuer without TLS, or no audience, is an error by name; not everybody's way in."""
    with pytest.raises(SettingsError, match=named):
        Authorizer.of({"JWT_ISSUER": issuer_url, "JWT_AUDIENCE": audience})


@pytest.mark.parametrize(
    "url",
    ["https://id.example", "https://id.example/pool", "http://localhost:8080", "http://[::1]:1"],
)
def test_settings_that_do(url: str) -> None:
    """An https issuer, or one on this machine."""
    Authorizer.of({"JWT_ISSUER": url, "JWT_AUDIENCE": '["a", "b"]'})

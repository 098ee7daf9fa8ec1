"""Covers local/auth/sigv4.py: requests are signed by botocore, then modified in every way."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from hypothesis import given
from hypothesis import strategies as st

from local.auth.sigv4 import MAX_EXPIRES_SECONDS, SignatureError, User, verify

REGION = "us-east-1"
HOST = "abc123.execute-api.us-east-1.amazonaws.com"
ALICE = User("arn:aws:iam::123456789012:user/alice", "AKALICE", "secret of alice")
BOB = User("arn:aws:sts::123456789012:assumed-role/r/bob", "AKBOB", "secret of bob", "token/+=")
USERS = {user.access_key: user for user in (ALICE, BOB)}

Headers = list[tuple[str, str]]


def now() -> datetime:
    return datetime.now(UTC)


def presigned(
    user: User = ALICE,
    *,
    path: str = "/live",
    expires: int = 60,
    service: str = "execute-api",
    region: str = REGION,
    method: str = "GET",
    query: Mapping[str, str] | None = None,
) -> str:
    """Returns the request target of a URL that the user signed."""
    text = f"?{urlencode(query, quote_via=quote)}" if query else ""
    request = AWSRequest(method=method, url=f"https://{HOST}{path}{text}")
    SigV4QueryAuth(user.credentials, service, region, expires).add_auth(request)
    parts = urlsplit(str(request.url))
    return f"{parts.path}?{parts.query}"


def by_hand(
    query: Mapping[str, str] | None = None, headers: Headers | None = None, date: str = ""
) -> str:
    """Signs as Alice, by the specification and without botocore, with or without a lifetime.

    IAM User Guide, "Create a signed AWS API request".
    """

    def mac(key: bytes, text: str) -> bytes:
        return hmac.new(key, text.encode(), hashlib.sha256).digest()

    sent = [(name.lower(), value) for name, value in headers or [("Host", HOST)]]
    names = ";".join(sorted(dict(sent)))
    date = date or f"{now():%Y%m%dT%H%M%SZ}"
    scope = f"{date[:8]}/{REGION}/execute-api/aws4_request"
    parameters = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{ALICE.access_key}/{scope}",
        "X-Amz-Date": date,
        "X-Amz-SignedHeaders": names,
        **(query or {}),
    }
    pairs = sorted(
        f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in parameters.items()
    )
    canonical = ["GET", "/live", "&".join(pairs)]
    canonical += [f"{name}:{value}" for name, value in sorted(sent)]
    canonical += ["", names, hashlib.sha256(b"").hexdigest()]
    hashed = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
    key = f"AWS4{ALICE.secret_key}".encode()
    for part in scope.split("/"):
        key = mac(key, part)
    signature = mac(key, f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashed}").hex()
    return f"/live?{'&'.join(pairs)}&X-Amz-Signature={signature}"


def signed(user: User = ALICE, target: str = "/live?format=text", **more: str) -> Headers:
    """Returns the headers of a request that the user signed."""
    request = AWSRequest(method="GET", url=f"https://{HOST}{target}", headers=more)
    SigV4Auth(user.credentials, "execute-api", REGION).add_auth(request)
    return [("Host", HOST), *request.headers.items()]


def check(target: str, headers: Headers | None = None, at: datetime | None = None) -> User:
    return verify(target, headers or [("Host", HOST)], USERS, REGION, at or now())


def refused(target: str, headers: Headers | None = None, at: datetime | None = None) -> str:
    with pytest.raises(SignatureError) as caught:
        check(target, headers, at)
    return str(caught.value)


@pytest.mark.parametrize("user", USERS.values(), ids=USERS)
@pytest.mark.parametrize(
    "query",
    [
        {},
        {"format": "text"},
        {"session_id": "a b+c/d=&é~*'()!☃"},
        {"a": "", "B": "1", "b": "2", "%": "%25", "z": "X-Amz-Date"},
    ],
    ids=["none", "one", "characters", "several"],
)
def test_the_user_that_signed_is_identified(user: User, query: dict[str, str]) -> None:
    """By the access key, for any query, with a session token and without."""
    assert user == check(presigned(user, query=query))
    assert user == check("/?a=b", signed(user, "/?a=b"))


@pytest.mark.parametrize("path", ["/", "/live", "/live/", "/a%20b", "/a/../live", "/%7Ea"])
def test_any_path_can_be_signed(path: str) -> None:
    """Paths are verified as received, encoded or not."""
    assert ALICE == check(presigned(path=path))


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda name: not name.startswith("X-Amz-")),
        st.text(max_size=12),
        max_size=4,
    )
)
def test_any_query_can_be_signed(query: dict[str, str]) -> None:
    """Arbitrary text in names and values, as clients encode it."""
    assert ALICE == check(presigned(query=query))


def query_of(target: str) -> list[tuple[str, str]]:
    return parse_qsl(target.partition("?")[2], keep_blank_values=True)


def target_of(pairs: list[tuple[str, str]], path: str = "/live") -> str:
    return f"{path}?{urlencode(pairs, quote_via=quote)}"


def test_another_order_of_the_query_is_the_same_request() -> None:
    """A proxy may sort the parameters, or write a space as `+`."""
    target = presigned(query={"session_id": "a b"})
    assert ALICE == check(target_of(query_of(target)[::-1]))
    assert ALICE == check(target.replace("a%20b", "a+b"))


@pytest.mark.parametrize(
    "name", [name for name, _ in query_of(presigned(BOB, query={"format": "text"}))]
)
@pytest.mark.parametrize("how", ["changed", "removed", "twice", "empty", "renamed"])
def test_a_change_to_any_parameter_is_refused(name: str, how: str) -> None:
    """Changed, removed, duplicated, emptied or renamed."""
    pairs = query_of(presigned(BOB, query={"format": "text"}))
    i = [key for key, _ in pairs].index(name)
    value = pairs[i][1]
    last = "1" if value[-1] != "1" else "2"
    pairs[i : i + 1] = {
        "changed": [(name, value[:-1] + last)],
        "removed": [],
        "twice": [(name, value), (name, value)],
        "empty": [(name, "")],
        "renamed": [(name.swapcase(), value)],
    }[how]

    refused(target_of(pairs))


@pytest.mark.parametrize(
    ("extra", "path"),
    [([("a", "b")], "/live"), ([("X-Amz-Extra", "b")], "/live"), ([], "/other"), ([], "/live/x")],
)
def test_an_added_parameter_or_another_path_is_refused(
    extra: list[tuple[str, str]], path: str
) -> None:
    """The signature covers the complete query and the path."""
    assert "signature" == refused(target_of(query_of(presigned()) + extra, path))


@pytest.mark.parametrize(
    "headers",
    [
        [("Host", "other.example")],
        [("Host", HOST), ("Host", HOST)],
        [("Host", "")],
        [("Origin", "x")],
        [("Host", HOST), ("X-Amz-Thing", "1")],
    ],
)
def test_another_host_or_an_unsigned_x_amz_header_is_refused(headers: Headers) -> None:
    """A URL is valid for one host, and no header of AWS's may be unsigned."""
    refused(presigned(), headers)


def test_a_signature_without_the_host_is_refused() -> None:
    """Even if the signature itself is correct."""
    target = presigned().replace("SignedHeaders=host", "SignedHeaders=origin")
    assert "a header is not signed" == refused(target, [("Host", HOST), ("Origin", "x")])


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"service": "iot"}, "signed for another day, Region or service"),
        ({"region": "eu-west-1"}, "signed for another day, Region or service"),
        ({"method": "POST"}, "signature"),
        ({"user": User(ALICE.arn, "AKALICE", "another")}, "signature"),
        ({"user": User(ALICE.arn, "AKNOBODY", "x")}, "unknown access key"),
        ({"user": User(ALICE.arn, "AKALICE", ALICE.secret_key, "token")}, "session token"),
        ({"user": User(BOB.arn, "AKBOB", BOB.secret_key)}, "session token"),
        ({"user": User(BOB.arn, "AKBOB", BOB.secret_key, "another")}, "session token"),
        ({"expires": 0}, "lifetime"),
        ({"expires": MAX_EXPIRES_SECONDS + 1}, "lifetime"),
        ({"expires": 10**7}, "algorithm or lifetime"),
        ({"expires": -1}, "algorithm or lifetime"),
    ],
)
def test_another_service_region_method_user_or_lifetime_is_refused(
    more: dict[str, Any], reason: str
) -> None:
    """Each with its reason, for the log."""
    assert reason == refused(presigned(**more))


@pytest.mark.parametrize(
    ("seconds", "good"), [(-300, True), (-301, False), (0, True), (60, True), (61, False)]
)
def test_a_url_is_valid_until_it_expires(seconds: int, good: bool) -> None:
    """From five minutes before it was signed, because clocks differ."""
    target = presigned(expires=60)
    signed_at = datetime.strptime(dict(query_of(target))["X-Amz-Date"], "%Y%m%dT%H%M%S%z")
    at = signed_at + timedelta(seconds=seconds)
    if good:
        assert ALICE == check(target, at=at)
    else:
        assert "expired, or not yet valid" == refused(target, at=at)


def test_without_a_lifetime_a_request_is_valid_for_five_minutes() -> None:
    """A URL without X-Amz-Expires, and signed headers."""
    for target, headers in [(by_hand(), None), ("/live?format=text", signed())]:
        assert ALICE == check(target, headers, now() + timedelta(minutes=4))
        for minutes in (6, -6):
            at = now() + timedelta(minutes=minutes)
            assert "expired, or not yet valid" == refused(target, headers, at)


def test_a_signature_made_from_the_specification_is_accepted() -> None:
    """It is computed without botocore, over arbitrary text."""
    assert ALICE == check(by_hand({"X-Amz-Expires": "60", "q": "a b+c/=&é☃~'*"}))


def test_a_change_to_any_signed_header_is_refused() -> None:
    """Any header may be signed; others may be added."""
    target = "/live?format=text"
    headers = signed(BOB, target, **{"X-Thing": "a  b", "Origin": "https://app.example"})
    assert BOB == check(target, [*headers, ("Sec-WebSocket-Key", "unsigned")])
    for i, (name, value) in enumerate(headers):
        changed = [*headers[:i], (name, f"{value}x"), *headers[i + 1 :]]
        refused(target, changed)
        refused(target, headers[:i] + headers[i + 1 :])
    assert "signature" == refused("/live?format=texts", headers)


def test_a_signed_user_agent_is_verified() -> None:
    """Botocore itself would never sign this header."""
    headers = [("Host", HOST), ("User-Agent", "x")]
    target = by_hand(headers=headers)
    assert ALICE == check(target, headers)
    assert "signature" == refused(target, [("Host", HOST), ("User-Agent", "y")])


@pytest.mark.parametrize(
    ("target", "headers", "reason"),
    [
        ("/live", [("Host", HOST)], "not signed"),
        ("/live?x-amz-signature=1", [("Host", HOST)], "not signed"),
        (presigned(), signed(), "two signatures"),
        ("/live", [("Authorization", "Bearer x")], "authorization header"),
        ("/live", [*signed(), ("Authorization", "x")], "not signed"),
        (f"https://{HOST}{presigned()}", [("Host", HOST)], "no path"),
        ("[", [("Host", HOST)], "no path"),
        (presigned().replace("SHA256", "SHA1"), [("Host", HOST)], "algorithm or lifetime"),
        (presigned().replace("%2Faws4_request", ""), [("Host", HOST)], "signed for"),
    ],
)
def test_a_missing_doubled_or_malformed_signature_is_refused(
    target: str, headers: Headers, reason: str
) -> None:
    """Each with its reason, for the log."""
    assert refused(target, headers).startswith(reason)


@pytest.mark.parametrize("time", ["", "T9", "T250000Z", "T120000+0100"])
def test_a_signed_but_invalid_date_is_refused(time: str) -> None:
    """Even if the signature itself is correct."""
    assert "no date" == refused(by_hand(date=f"{now():%Y%m%d}{time}"))


def test_secrets_are_not_in_a_users_representation() -> None:
    """They would otherwise be in tracebacks."""
    assert "secret" not in repr(BOB)
    assert "token" not in repr(BOB)

"""Covers local/auth/sigv4.py: requests are signed by botocore, then changed in every way."""

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

from local.auth.sigv4 import MAX_EXPIRES_SECONDS, SignatureError, User, signer

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
    """The request target of a URL that the user signed."""
    text = f"?{urlencode(query, quote_via=quote)}" if query else ""
    request = AWSRequest(method=method, url=f"https://{HOST}{path}{text}")
    SigV4QueryAuth(user.credentials, service, region, expires).add_auth(request)
    parts = urlsplit(str(request.url))
    return f"{parts.path}?{parts.query}"


def by_hand(
    query: Mapping[str, str] | None = None, headers: Headers | None = None, date: str = ""
) -> str:
    """Alice's signature again, from the specification alone, with or without a lifetime.

    IAM User Guide, "Create a signed AWS API request".
    """

    def mac(key: bytes, text: str) -> bytes:
        return hmac.new(key, text.encode(), hashlib.sha256).digest()

    sent = [(name.lower(), value) for name, value in headers or [("Host", HOST)]]
    names = ";".join(sorted(dict(sent)))
    date = date or f"{now():%Y%m%dT%H%M%SZ}"
    scope = f"{date[:8]}/{REGION}/execute-api/aws4_request"
    said = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{ALICE.access_key}/{scope}",
        "X-Amz-Date": date,
        "X-Amz-SignedHeaders": names,
        **(query or {}),
    }
    pairs = sorted(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in said.items())
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
    """The headers of a request that the user signed."""
    request = AWSRequest(method="GET", url=f"https://{HOST}{target}", headers=more)
    SigV4Auth(user.credentials, "execute-api", REGION).add_auth(request)
    return [("Host", HOST), *request.headers.items()]


def check(target: str, headers: Headers | None = None, at: datetime | None = None) -> User:
    return signer(target, headers or [("Host", HOST)], USERS, REGION, at or now())


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
def test_who_signed(user: User, query: dict[str, str]) -> None:
    """Known by the access key, whatever the query, with a session token and without."""
    assert user == check(presigned(user, query=query))
    assert user == check("/?a=b", signed(user, "/?a=b"))


@pytest.mark.parametrize("path", ["/", "/live", "/live/", "/a%20b", "/a/../live", "/%7Ea"])
def test_paths(path: str) -> None:
    """As they came, encoded or not."""
    assert ALICE == check(presigned(path=path))


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8).filter(lambda name: not name.startswith("X-Amz-")),
        st.text(max_size=12),
        max_size=4,
    )
)
def test_any_query_comes_through(query: dict[str, str]) -> None:
    """Text of any kind in names and values, as clients encode it."""
    assert ALICE == check(presigned(query=query))


def parameters(target: str) -> list[tuple[str, str]]:
    return parse_qsl(target.partition("?")[2], keep_blank_values=True)


def target_of(pairs: list[tuple[str, str]], path: str = "/live") -> str:
    return f"{path}?{urlencode(pairs, quote_via=quote)}"


def test_another_order_is_the_same_request() -> None:
    """What a proxy may do: sort the parameters, or write a space as `+`."""
    target = presigned(query={"session_id": "a b"})
    assert ALICE == check(target_of(parameters(target)[::-1]))
    assert ALICE == check(target.replace("a%20b", "a+b"))


@pytest.mark.parametrize(
    "name", [name for name, _ in parameters(presigned(BOB, query={"format": "text"}))]
)
@pytest.mark.parametrize("how", ["changed", "removed", "twice", "empty", "renamed"])
def test_every_parameter_counts(name: str, how: str) -> None:
    """Changed, removed, doubled, emptied or renamed, each of them makes it nobody's."""
    pairs = parameters(presigned(BOB, query={"format": "text"}))
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
def test_nothing_may_be_added(extra: list[tuple[str, str]], path: str) -> None:
    """Not a parameter, and not a place."""
    assert "signature" == refused(target_of(parameters(presigned()) + extra, path))


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
def test_the_host_is_signed(headers: Headers) -> None:
    """A URL is good for one host; and no header of AWS's may come unsigned."""
    refused(presigned(), headers)


def test_a_signature_over_no_host() -> None:
    """Even a right one is none."""
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
def test_what_was_signed_for_another_purpose(more: dict[str, Any], reason: str) -> None:
    """Another service, Region, method, person or span: refused."""
    assert reason == refused(presigned(**more))


@pytest.mark.parametrize(
    ("seconds", "good"), [(-299, True), (-302, False), (0, True), (59, True), (63, False)]
)
def test_a_url_has_its_time(seconds: int, good: bool) -> None:
    """From five minutes before it was signed, for clocks differ, until it expires."""
    target, at = presigned(expires=60), now() + timedelta(seconds=seconds)
    if good:
        assert ALICE == check(target, at=at)
    else:
        assert "expired, or not yet valid" == refused(target, at=at)


def test_a_url_that_names_no_lifetime() -> None:
    """Lasts for five minutes, like any other signed request."""
    for target, headers in [(by_hand(), None), ("/live?format=text", signed())]:
        assert ALICE == check(target, headers, now() + timedelta(minutes=4, seconds=55))
        for minutes in (6, -6):
            at = now() + timedelta(minutes=minutes)
            assert "expired, or not yet valid" == refused(target, headers, at)


def test_the_specification_says_the_same() -> None:
    """A signature that botocore had no part in, over text of any kind."""
    assert ALICE == check(by_hand({"X-Amz-Expires": "60", "q": "a b+c/=&é☃~'*"}))


def test_headers_that_were_signed() -> None:
    """Any may be, with spaces that do not count; changed, they are another request."""
    target = "/live?format=text"
    headers = signed(BOB, target, **{"X-Thing": "a  b", "Origin": "https://app.example"})
    assert BOB == check(target, [*headers, ("Sec-WebSocket-Key", "unsigned")])
    for i, (name, value) in enumerate(headers):
        changed = [*headers[:i], (name, f"{value}x"), *headers[i + 1 :]]
        refused(target, changed)
        refused(target, headers[:i] + headers[i + 1 :])
    assert "signature" == refused("/live?format=texts", headers)


def test_a_signed_user_agent() -> None:
    """A header that botocore itself would not sign is checked where somebody did."""
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
def test_what_is_no_signature(target: str, headers: Headers, reason: str) -> None:
    """None, two, or something else: refused."""
    assert refused(target, headers).startswith(reason)


@pytest.mark.parametrize("time", ["", "T9", "T250000Z", "T120000+0100"])
def test_a_date_that_is_none(time: str) -> None:
    """Signed rightly, and still no date."""
    assert "no date" == refused(by_hand(date=f"{now():%Y%m%d}{time}"))


def test_secrets_are_not_shown() -> None:
    """Not even in a traceback's words."""
    assert "secret" not in repr(BOB)
    assert "token" not in repr(BOB)

"""Verifies AWS Signature Version 4, in the query or in the headers of a request.

Rules
- The signature is computed again, by botocore, over the request as received: the complete query,
  and the headers that were signed. Anything that is changed, added or removed after signing gives
  another signature.
- Values that only the signature protects are used after it was verified. The client does not learn
  why verification failed.

Unconfirmed for API Gateway: how long a presigned URL may be valid (here as for S3, at most a week),
and that one without X-Amz-Expires is valid for five minutes.

Source of the five minutes: IAM User Guide, "AWS Signature Version 4 for API requests", on replays.
"""

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import parse_qsl

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

SERVICE = "execute-api"
ALGORITHM = "AWS4-HMAC-SHA256"
SKEW = timedelta(minutes=5)
MAX_EXPIRES_SECONDS = 7 * 24 * 3600

_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} +Credential=([^ ,]+) *, *SignedHeaders=([^ ,]+) *, *Signature=([^ ,]+)"
)
_IN_QUERY = ("Algorithm", "Credential", "Date", "SignedHeaders", "Signature")

Pairs = Iterable[tuple[str, str]]


class SignatureError(Exception):
    """The request has no valid signature of a known user. The message is for a log only."""


@dataclass(frozen=True, slots=True)
class User:
    """A user or role session that may sign: what an account knows about an access key."""

    arn: str
    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def credentials(self) -> Credentials:
        """The credentials that the user signs with."""
        return Credentials(self.access_key, self.secret_key, self.token)


@dataclass(frozen=True, slots=True)
class _Signed:
    """The parts of a request's signature, from the query or from the headers."""

    credential: str
    date: str
    headers: str
    signature: str
    token: str | None
    lifetime: timedelta


def verify(
    target: str, headers: Pairs, users: Mapping[str, User], region: str, now: datetime
) -> User:
    """Returns the user that signed this GET request. `target` is the request target as received.

    Raises SignatureError if none of `users` (by access key) did, or for another Region or time.
    """
    path, _, text = target.partition("?")
    if not path.startswith("/"):
        raise SignatureError("no path")
    query = parse_qsl(text, keep_blank_values=True)
    sent = [(name.lower(), value) for name, value in headers]
    signed = _parse(query, sent)
    access_key, *scope = signed.credential.split("/")
    if access_key not in users:
        raise SignatureError("unknown access key")
    user = users[access_key]
    if scope != [signed.date[:8], region, SERVICE, "aws4_request"]:
        raise SignatureError("signed for another day, Region or service")
    if not _equal(signed.token or "", user.token or ""):
        raise SignatureError("session token")
    if not _equal(_expected_signature(path, query, sent, signed, user, region), signed.signature):
        raise SignatureError("signature")
    try:
        at = datetime.strptime(signed.date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise SignatureError("no date") from None
    if not at - SKEW <= now <= at + signed.lifetime:
        raise SignatureError("expired, or not yet valid")
    return user


def _parse(query: Pairs, headers: Pairs) -> _Signed:
    """Parses the signature of a request, which must be the only one."""
    in_query = [(name[6:], value) for name, value in query if name.startswith("X-Amz-")]
    in_headers = [value for name, value in headers if name == "authorization"]
    if bool(in_query) + len(in_headers) != 1:
        raise SignatureError("two signatures" if in_query else "not signed")
    return _from_query(in_query) if in_query else _from_headers(in_headers[0], headers)


def _from_query(pairs: list[tuple[str, str]]) -> _Signed:
    values = dict(pairs)
    if len(values) != len(pairs) or not values.keys() >= set(_IN_QUERY):
        raise SignatureError("parameters missing, or twice")
    expires = values.get("Expires", str(int(SKEW.total_seconds())))
    if values["Algorithm"] != ALGORITHM or not re.fullmatch(r"[0-9]{1,6}", expires):
        raise SignatureError("algorithm or lifetime")
    if not 1 <= int(expires) <= MAX_EXPIRES_SECONDS:
        raise SignatureError("lifetime")
    return _Signed(
        credential=values["Credential"],
        date=values["Date"],
        headers=values["SignedHeaders"],
        signature=values["Signature"],
        token=values.get("Security-Token"),
        lifetime=timedelta(seconds=int(expires)),
    )


def _from_headers(authorization: str, headers: Pairs) -> _Signed:
    match = _AUTHORIZATION.fullmatch(authorization.strip())
    sent = dict(headers)
    if match is None or "x-amz-date" not in sent:
        raise SignatureError("authorization header")
    return _Signed(
        credential=match[1],
        date=sent["x-amz-date"],
        headers=match[2],
        signature=match[3],
        token=sent.get("x-amz-security-token"),
        lifetime=SKEW,
    )


class _Signer(SigV4Auth):
    """Signs all headers of the request, where botocore would choose among them."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        return request.headers


def _expected_signature(  # noqa: PLR0917, PLR0913 - all that goes into a signature
    path: str, query: Pairs, sent: Pairs, signed: _Signed, user: User, region: str
) -> str:
    """Computes the signature that the request must have."""
    names = signed.headers.split(";")
    # A header that is not signed could be changed in transit: the host and all x-amz-* must be.
    required = {"host"} | {name for name, _ in sent if name.startswith("x-amz-")}
    if not required <= set(names) or len(names) != len(set(names)):
        raise SignatureError("a header is not signed")
    request = AWSRequest(
        method="GET",
        url=f"https://api{path}",
        # Pairs are accepted as well, although annotated as a mapping: a name may occur twice.
        params=cast(Any, [pair for pair in query if pair[0] != "X-Amz-Signature"]),
    )
    for name, value in sent:
        if name in names:
            request.headers.add_header(name, value)
    request.context["timestamp"] = signed.date
    signing = _Signer(user.credentials, SERVICE, region)
    text = signing.string_to_sign(request, signing.canonical_request(request))
    return str(signing.signature(text, request))


def _equal(one: str, other: str) -> bool:
    """Whether they are equal, compared in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())

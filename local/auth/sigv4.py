"""AWS Signature Version 4, as whoever is asked checks it: in the query, or in the headers.

Rules
- The signature is computed again, by botocore, over what came: all of the query, and the headers
  that were signed. What was changed, added or left out after signing gives another one.
- What only the signature protects is read after it was checked; nothing is said of why it failed.

Unconfirmed of API Gateway: how long a presigned URL may be good (here as for S3, at most a week),
and that one without X-Amz-Expires lasts five minutes.

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
    """The request is not signed by anybody known. The message is for a log, not for the client."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may sign: what an account knows of an access key."""

    arn: str
    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)

    @property
    def credentials(self) -> Credentials:
        """What the user signs with."""
        return Credentials(self.access_key, self.secret_key, self.token)


@dataclass(frozen=True, slots=True)
class _Signed:
    """What a request says of its signature, wherever it stands."""

    credential: str
    date: str
    headers: str
    signature: str
    token: str | None
    lasts: timedelta


def signer(
    target: str, headers: Pairs, users: Mapping[str, User], region: str, now: datetime
) -> User:
    """Who signed this GET request. `target` is the request target as it came.

    Raises SignatureError if nobody of `users` (by access key) did, or not for here and now.
    """
    path, _, text = target.partition("?")
    if not path.startswith("/"):
        raise SignatureError("no path")
    query = parse_qsl(text, keep_blank_values=True)
    sent = [(name.lower(), value) for name, value in headers]
    signed = _found(query, sent)
    access_key, *scope = signed.credential.split("/")
    if access_key not in users:
        raise SignatureError("unknown access key")
    user = users[access_key]
    if scope != [signed.date[:8], region, SERVICE, "aws4_request"]:
        raise SignatureError("signed for another day, Region or service")
    if not _same(signed.token or "", user.token or ""):
        raise SignatureError("session token")
    if not _same(_signature(path, query, sent, signed, user, region), signed.signature):
        raise SignatureError("signature")
    try:
        at = datetime.strptime(signed.date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise SignatureError("no date") from None
    if not at - SKEW <= now <= at + signed.lasts:
        raise SignatureError("expired, or not yet valid")
    return user


def _found(query: Pairs, headers: Pairs) -> _Signed:
    """The one signature of a request."""
    in_query = [(name[6:], value) for name, value in query if name.startswith("X-Amz-")]
    in_headers = [value for name, value in headers if name == "authorization"]
    if bool(in_query) + len(in_headers) != 1:
        raise SignatureError("two signatures" if in_query else "not signed")
    return _from_query(in_query) if in_query else _from_headers(in_headers[0], headers)


def _from_query(pairs: list[tuple[str, str]]) -> _Signed:
    said = dict(pairs)
    if len(said) != len(pairs) or not said.keys() >= set(_IN_QUERY):
        raise SignatureError("parameters missing, or twice")
    expires = said.get("Expires", str(int(SKEW.total_seconds())))
    if said["Algorithm"] != ALGORITHM or not re.fullmatch(r"[0-9]{1,6}", expires):
        raise SignatureError("algorithm or lifetime")
    if not 1 <= int(expires) <= MAX_EXPIRES_SECONDS:
        raise SignatureError("lifetime")
    return _Signed(
        credential=said["Credential"],
        date=said["Date"],
        headers=said["SignedHeaders"],
        signature=said["Signature"],
        token=said.get("Security-Token"),
        lasts=timedelta(seconds=int(expires)),
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
        lasts=SKEW,
    )


class _Again(SigV4Auth):
    """Signs what it is given, where botocore would choose among the headers."""

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        return request.headers


def _signature(  # noqa: PLR0917, PLR0913 - all that goes into a signature
    path: str, query: Pairs, sent: Pairs, signed: _Signed, user: User, region: str
) -> str:
    """What the signature has to be."""
    names = signed.headers.split(";")
    # Whoever is not named here could be changed on the way: the host always, and all of x-amz-*.
    needed = {"host"} | {name for name, _ in sent if name.startswith("x-amz-")}
    if not needed <= set(names) or len(names) != len(set(names)):
        raise SignatureError("a header is not signed")
    request = AWSRequest(
        method="GET",
        url=f"https://api{path}",
        # Pairs are taken, too, though its annotation knows mappings only: a name may come twice.
        params=cast(Any, [pair for pair in query if pair[0] != "X-Amz-Signature"]),
    )
    for name, value in sent:
        if name in names:
            request.headers.add_header(name, value)
    request.context["timestamp"] = signed.date
    signing = _Again(user.credentials, SERVICE, region)
    text = signing.string_to_sign(request, signing.canonical_request(request))
    return str(signing.signature(text, request))


def _same(one: str, other: str) -> bool:
    """Whether they are equal, in a time that does not tell how far."""
    return hmac.compare_digest(one.encode(), other.encode())

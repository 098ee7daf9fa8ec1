"""Signatures for API Gateway's IAM authorization: SigV4 in the query string, by botocore.

Rules
- Until it expires, a signed URL grants the access of the credentials that signed it.
- Credentials come from the sources that AWS's own tools use: environment, profile, SSO, role.

botocore is imported where it is used, so that a client that does not sign starts faster.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from botocore.credentials import Credentials, ReadOnlyCredentials

SERVICE = "execute-api"
# A signature without an explicit lifetime must arrive within five minutes (SigV4 documentation).
# How long API Gateway accepts one with a longer lifetime is unconfirmed.
EXPIRES_SECONDS = 300

# API Gateway quotas for WebSocket APIs: length, in characters, of the URL.
MAX_URL_CHARACTERS = 4096

_HOST = re.compile(r"wss?://[^/]+\.execute-api\.([a-z0-9-]+)\.")


class UrlError(Exception):
    """The URL cannot be signed. The message says why, and what to do."""


def presigned(
    url: str,
    credentials: "Credentials | ReadOnlyCredentials",
    region: str,
    query: Mapping[str, str] | None = None,
    expires: int = EXPIRES_SECONDS,
) -> str:
    """Return the WebSocket URL with this query, signed for `$connect`, valid for `expires` seconds.

    Raises UrlError if it is longer than API Gateway's limit.
    """
    from botocore.auth import SigV4QueryAuth  # noqa: PLC0415 - see the docstring
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415 - see the docstring

    scheme, _, rest = with_query(url, query or {}).partition("://")
    request = AWSRequest(method="GET", url=f"https://{rest}")
    SigV4QueryAuth(credentials, SERVICE, region, expires).add_auth(request)
    signed = f"{scheme}://{str(request.url).removeprefix('https://')}"
    if len(signed) > MAX_URL_CHARACTERS:
        raise UrlError(
            f"The signed URL has {len(signed)} characters; API Gateway's limit is "
            f"{MAX_URL_CHARACTERS}. It contains your session token: use a role with fewer session "
            "policies and tags."
        )
    return signed


def with_query(url: str, query: Mapping[str, str]) -> str:
    """Return the URL with this query appended."""
    return f"{url}?{urlencode(query, quote_via=quote)}" if query else url


def own_credentials(profile: str | None = None) -> "ReadOnlyCredentials":
    """Return the user's AWS credentials. Raises UrlError."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - see the docstring
    from botocore.session import Session  # noqa: PLC0415 - see the docstring

    try:
        found = Session(profile=profile).get_credentials()
        if found is None:
            raise UrlError(
                "No AWS credentials were found. Sign in (aws sso login), set a profile "
                "(AWS_PROFILE=...), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )
        return found.get_frozen_credentials()
    except (BotoCoreError, ClientError) as error:
        raise UrlError(f"Cannot use your AWS credentials: {error}") from None


def region_of(url: str) -> str:
    """Return the Region in an API's default host name. Raises UrlError for any other host name."""
    host = _HOST.match(url)
    if host is None:
        display_url = url.partition("?")[0]  # the query may contain secrets
        raise UrlError(f"{display_url} does not contain a Region: set it with --region.")
    return host[1]

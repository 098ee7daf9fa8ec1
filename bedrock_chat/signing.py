"""Signatures for API Gateway's IAM authorization: SigV4 in the query string, by botocore.

Rules
- A signed URL is as good as your own name until it expires.
- Credentials come from where AWS's tools take them: the environment, a profile, SSO, a role.

botocore is imported where it is used: who signs nothing does not wait for it.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from botocore.credentials import Credentials, ReadOnlyCredentials

SERVICE = "execute-api"
# A signature with no lifetime of its own must arrive within five minutes (docs of SigV4). How long
# API Gateway honours one that says more is unconfirmed.
EXPIRES_SECONDS = 300

# API Gateway quotas for WebSocket APIs: length, in characters, of the URL.
MAX_URL_CHARACTERS = 4096

_HOST = re.compile(r"wss?://[^/]+\.execute-api\.([a-z0-9-]+)\.")


class UrlError(Exception):
    """There is no URL to give. The message says why, and what to do."""


def presigned(
    url: str,
    credentials: "Credentials | ReadOnlyCredentials",
    region: str,
    query: Mapping[str, str] | None = None,
    expires: int = EXPIRES_SECONDS,
) -> str:
    """The WebSocket URL with this query, signed for `$connect`, good for `expires` seconds.

    Raises UrlError where it is longer than API Gateway takes.
    """
    from botocore.auth import SigV4QueryAuth  # noqa: PLC0415 - see above
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415 - see above

    scheme, _, rest = with_query(url, query or {}).partition("://")
    request = AWSRequest(method="GET", url=f"https://{rest}")
    SigV4QueryAuth(credentials, SERVICE, region, expires).add_auth(request)
    signed = f"{scheme}://{str(request.url).removeprefix('https://')}"
    if len(signed) > MAX_URL_CHARACTERS:
        raise UrlError(
            f"The signed URL has {len(signed)} characters, and API Gateway takes "
            f"{MAX_URL_CHARACTERS}: your session token is in it. Sign in by a role with fewer "
            "session policies and tags."
        )
    return signed


def with_query(url: str, query: Mapping[str, str]) -> str:
    """The URL with this query."""
    return f"{url}?{urlencode(query, quote_via=quote)}" if query else url


def own_credentials(profile: str | None = None) -> "ReadOnlyCredentials":
    """The person's credentials. Raises UrlError."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - see above
    from botocore.session import Session  # noqa: PLC0415 - see above

    try:
        found = Session(profile=profile).get_credentials()
        if found is None:
            raise UrlError(
                "There are no AWS credentials here. Sign in (aws sso login), name a profile "
                "(AWS_PROFILE=...), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            )
        return found.get_frozen_credentials()
    except (BotoCoreError, ClientError) as error:
        raise UrlError(f"Your AWS credentials cannot be used: {error}") from None


def region_of(url: str) -> str:
    """The Region that an API's own host name tells. Raises UrlError where it does not."""
    host = _HOST.match(url)
    if host is None:
        shown = url.partition("?")[0]  # what follows may be secret
        raise UrlError(f"{shown} does not tell its Region: name it with --region.")
    return host[1]

"""The URL to connect to: `python -m deploy.url`, signed with your own credentials where IAM asks.

Rules
- It prints one line to standard output, the URL; what else there is to know goes to standard error.
- A signed URL is as good as your own name until it expires: it lasts for a few minutes unless more
  is asked for. An open connection outlives it.
- Credentials come from where AWS's tools take them: the environment, a profile, SSO, a role.

Unconfirmed: how long API Gateway honours a signature. S3 documents up to a week; a signature with
no lifetime of its own must arrive within five minutes, and so that is the default here. A signature
by temporary credentials ends with them.
"""

import argparse
import os
import re
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError

from deploy.terraform import TerraformMissingError, outputs

SERVICE = "execute-api"
EXPIRES_SECONDS = 300
# Amazon S3 API reference, "Authenticating Requests: Using Query Parameters".
MAX_EXPIRES_SECONDS = 7 * 24 * 3600

# API Gateway quotas for WebSocket APIs: length, in characters, of the URL.
MAX_URL_CHARACTERS = 4096

_HOST = re.compile(r"wss?://[^/]+\.execute-api\.([a-z0-9-]+)\.")


class UrlError(Exception):
    """There is no URL to give. The message says why, and what to do."""


def presigned(
    url: str,
    credentials: Credentials | ReadOnlyCredentials,
    region: str,
    query: Mapping[str, str] | None = None,
    expires: int = EXPIRES_SECONDS,
) -> str:
    """The WebSocket URL with this query, signed for `$connect`, good for `expires` seconds."""
    scheme, _, rest = with_query(url, query or {}).partition("://")
    request = AWSRequest(method="GET", url=f"https://{rest}")
    SigV4QueryAuth(credentials, SERVICE, region, expires).add_auth(request)
    return f"{scheme}://{str(request.url).removeprefix('https://')}"


def with_query(url: str, query: Mapping[str, str]) -> str:
    """The URL with this query."""
    return f"{url}?{urlencode(query, quote_via=quote)}" if query else url


def own_credentials(profile: str | None = None) -> ReadOnlyCredentials:
    """The person's credentials. Raises UrlError."""
    from botocore.session import Session  # noqa: PLC0415 - slow, and the local stack needs it not

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


def deployment(asked: argparse.Namespace) -> tuple[str, str, str]:
    """URL, way of authentication and Region: as asked, or as Terraform knows. Raises UrlError."""
    known: Mapping[str, Any] = {}
    if not asked.url:
        try:
            known = outputs()
        except TerraformMissingError as error:
            raise UrlError(str(error)) from None
        if "websocket_url" not in known:
            raise UrlError("Nothing is deployed here yet: make deploy. Or name the API: --url.")
    url = str(asked.url or known["websocket_url"])
    host = _HOST.match(url)
    region = asked.region or known.get("region") or (host[1] if host else None)
    if not region:
        raise UrlError(f"{url} does not tell its Region: name it with --region.")
    return url, asked.auth or known.get("auth") or "iam", region


def url_for(asked: argparse.Namespace) -> str:
    """The URL that was asked for. Raises UrlError."""
    url, auth, region = deployment(asked)
    query = dict(asked.query)
    if asked.session_id:
        query["session_id"] = asked.session_id
    if auth == "iam":
        signed = presigned(url, own_credentials(asked.profile), region, query, asked.expires)
        if len(signed) > MAX_URL_CHARACTERS:
            raise UrlError(
                f"The signed URL has {len(signed)} characters, and API Gateway takes "
                f"{MAX_URL_CHARACTERS}: your session token is in it. Sign in by a role with fewer "
                "session policies and tags."
            )
        return signed
    if auth == "jwt":
        print(
            "Bring a token of your issuer's: as a subprotocol (wscat -s chat.v1 -s "
            '"bearer.$TOKEN"), or, where that cannot be, as &token= in the URL.',
            file=sys.stderr,
        )
    return with_query(url, query)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals or name.startswith("X-Amz-"):
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value")
    return name, value


def _seconds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_EXPIRES_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 1 and {MAX_EXPIRES_SECONDS}")
    return int(text)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.url", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--query", type=_pair, action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--session-id", default="", help="the session to join")
    parser.add_argument("--expires", type=_seconds, default=EXPIRES_SECONDS, help="seconds")
    parser.add_argument("--profile", default=os.environ.get("AWS_PROFILE"))
    parser.add_argument("--url", default="", help="of another API than the one deployed here")
    parser.add_argument("--auth", choices=("iam", "jwt", "none"), help="what that API asks for")
    parser.add_argument("--region", default="", help="where that API is")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Prints the URL. Returns the exit status."""
    try:
        print(url_for(arguments(given)))
    except UrlError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

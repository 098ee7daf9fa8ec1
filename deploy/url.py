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
import shlex
import sys
from collections.abc import Mapping
from typing import Any

from bedrock_chat.signing import (
    EXPIRES_SECONDS,
    UrlError,
    own_credentials,
    presigned,
    region_of,
    with_query,
)
from deploy.terraform import TerraformMissingError, outputs

__all__ = ["EXPIRES_SECONDS", "UrlError", "own_credentials", "presigned", "with_query"]

# Amazon S3 API reference, "Authenticating Requests: Using Query Parameters".
MAX_EXPIRES_SECONDS = 7 * 24 * 3600


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
    region = asked.region or known.get("region") or region_of(url)
    return url, asked.auth or known.get("auth") or "iam", region


def url_for(asked: argparse.Namespace) -> str:
    """The URL that was asked for. Raises UrlError."""
    url, auth, region = deployment(asked)
    if asked.for_chat:
        return shlex.join([url, *(["--sign", "--region", region] if auth == "iam" else [])])
    query = dict(asked.query)
    if asked.session_id:
        query["session_id"] = asked.session_id
    if auth == "iam":
        return presigned(url, own_credentials(asked.profile), region, query, asked.expires)
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
    parser.add_argument(
        "--for-chat",
        action="store_true",
        help="print what bedrock-chat takes, which signs by itself, instead of a signed URL",
    )
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

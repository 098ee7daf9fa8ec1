"""`make url`: the WebSocket URL, signed with your credentials if authentication is by IAM.

With `--for-chat` it is the arguments of `bedrock-chat`, which signs, or signs users in, by itself.

Rules
- The URL is the only line on standard output; hints and errors go to standard error.
- A signed URL gives access in your name until it expires, by default after a few minutes. An open
  connection outlives it.
- Credentials come from the environment, a profile, SSO or a role, as for the AWS CLI.

Unconfirmed: how long API Gateway accepts a signature. S3 documents up to a week. A signature
without an expiry has to arrive within five minutes, which is therefore the default. A signature
made with temporary credentials expires with them.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bedrock_chat.signing import (
    EXPIRES_SECONDS,
    UrlError,
    own_credentials,
    presigned,
    region_of,
    with_query,
)
from deploy.terraform import TOKENS, TerraformMissingError, outputs

__all__ = ["EXPIRES_SECONDS", "UrlError", "own_credentials", "presigned", "with_query"]

# Amazon S3 API reference, "Authenticating Requests: Using Query Parameters".
MAX_EXPIRES_SECONDS = 7 * 24 * 3600

SIGN_IN_OPTIONS = ("issuer", "client_id", "scope")


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where to connect, and how to authenticate.

    `sign_in` is the output of this name: the client that is registered for users, if there is one.
    """

    url: str
    auth: str
    region: str
    sign_in: Mapping[str, str]

    def chat_arguments(self) -> list[str]:
        """The arguments of `bedrock-chat`. A token of the user's own replaces signing in."""
        if self.auth == "iam":
            return [self.url, "--sign", "--region", self.region]
        if not self.sign_in:
            return [self.url]
        kind = [] if self.sign_in["token"] == "id_token" else ["--access-token"]  # noqa: S105 - a name
        options = [f"--{name.replace('_', '-')}={self.sign_in[name]}" for name in SIGN_IN_OPTIONS]
        return [self.url, *options, *kind]


def deployment(options: argparse.Namespace) -> Deployment:
    """The deployment, from the options or Terraform's outputs. Raises UrlError."""
    known: Mapping[str, Any] = {}
    if not options.url:
        try:
            known = outputs()
        except TerraformMissingError as error:
            raise UrlError(str(error)) from None
        if "websocket_url" not in known:
            raise UrlError("Nothing is deployed: run `make deploy`, or name an API with --url.")
    url = str(options.url or known["websocket_url"])
    region = options.region or known.get("region") or region_of(url)
    auth = options.auth or known.get("auth") or "iam"
    return Deployment(url, auth, region, known.get("sign_in") or {})


def url_for(options: argparse.Namespace) -> str:
    """The URL for these options. Raises UrlError."""
    found = deployment(options)
    if options.for_chat:
        return shlex.join(found.chat_arguments())
    query = dict(options.query)
    if options.session_id:
        query["session_id"] = options.session_id
    if found.auth == "iam":
        credentials = own_credentials(options.profile)
        return presigned(found.url, credentials, found.region, query, options.expires)
    if found.auth in TOKENS:
        print(
            "Send a token of your issuer: as a subprotocol (wscat -s chat.v1 -s "
            '"bearer.$TOKEN"), or, if that is not possible, as &token= in the URL.',
            file=sys.stderr,
        )
    return with_query(found.url, query)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals or name.startswith("X-Amz-"):
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value")
    return name, value


def _seconds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_EXPIRES_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 1 and {MAX_EXPIRES_SECONDS}")
    return int(text)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.url", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--query", type=_pair, action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--session-id", default="", help="the session to join")
    parser.add_argument("--expires", type=_seconds, default=EXPIRES_SECONDS, help="seconds")
    parser.add_argument("--profile", default=os.environ.get("AWS_PROFILE"))
    parser.add_argument("--url", default="", help="of another API than the deployed one")
    parser.add_argument(
        "--auth", choices=("iam", "cognito", "jwt", "none"), help="that API's authentication"
    )
    parser.add_argument("--region", default="", help="that API's Region")
    parser.add_argument(
        "--for-chat",
        action="store_true",
        help="print the arguments of bedrock-chat, which signs by itself, instead of a signed URL",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Prints the URL. Returns the exit status."""
    try:
        print(url_for(parse(arguments)))
    except UrlError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What each value of `AUTH` means for the local stack: the authorizer, and how a user connects.

Rules
- Each mode is one of API Gateway's own: SigV4, or the Lambda authorizer of src/ in a process of its
  own, as on Lambda.
- Nothing here gives access to anything else: the keys are made up, and the issuer is local.

It does not know where the gateway listens until `hints` is called.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.url import presigned, with_query
from local.auth.authorizers import Auth, iam_authorizer, lambda_authorizer
from local.auth.issuer import run_issuer
from local.auth.sigv4 import User
from local.aws.account import ACCOUNT, REGION
from local.gateway.authorization import Authorizer, allow_all
from local.lambda_runtime.environment import Log
from local.lambda_runtime.function import Function
from local.page import Config

AUTHORIZER = "authorizer.lambda_handler"
AUDIENCE = "bedrock-stream-chat"
# Two, so that one can try to read the conversations of the other.
USER_NAMES = ("alice", "bob")
SIGNED_SECONDS = 3600
TEXT = {"format": "text"}


def user(name: str) -> User:
    """The made-up IAM user of this name."""
    arn = f"arn:aws:iam::{ACCOUNT}:user/{name}"
    return User(arn, f"LOCAL{name.upper()}", secret_key=f"local-{name}")


@dataclass(frozen=True, slots=True)
class AuthMode:
    """`authorizer` is the gateway's; `hints(url)` are the lines to print: how to connect to it.

    `page` is what the web page needs besides the URL (web/config.json).
    """

    authorizer: Authorizer
    hints: Callable[[str], list[str]]
    page: Config


@contextlib.asynccontextmanager
async def _none(_code: Path, _log: Log) -> AsyncIterator[AuthMode]:
    def hints(url: str) -> list[str]:
        return [f"connect: npx wscat -c '{with_query(url, TEXT)}'"]

    yield AuthMode(allow_all, hints, {"auth": "none"})


@contextlib.asynccontextmanager
async def _iam(_code: Path, _log: Log) -> AsyncIterator[AuthMode]:
    users = {each.access_key: each for each in map(user, USER_NAMES)}

    def hints(url: str) -> list[str]:
        def signed(name: str, query: Mapping[str, str]) -> str:
            return presigned(url, user(name).credentials, REGION, query, SIGNED_SECONDS)

        return [
            *(f"connect as {name}: npx wscat -c '{signed(name, TEXT)}'" for name in USER_NAMES),
            f"signed URL for the page, as {USER_NAMES[0]}: {signed(USER_NAMES[0], {})}",
        ]

    yield AuthMode(iam_authorizer(users), hints, {"auth": "iam"})


@contextlib.asynccontextmanager
async def _jwt(code: Path, log: Log) -> AsyncIterator[AuthMode]:
    async with run_issuer(AUDIENCE, USER_NAMES) as issuer:
        settings = {"JWT_ISSUER": issuer.url, "JWT_AUDIENCE": json.dumps([AUDIENCE])}
        function = Function(AUTHORIZER, code, settings, log=log)

        def hints(url: str) -> list[str]:
            token = issuer.token(USER_NAMES[0])
            protocols = f"-s chat.v1 -s 'bearer.{token}'"
            return [
                "sign in: make chat, or the page",
                f"connect as {USER_NAMES[0]}: npx wscat -c '{with_query(url, TEXT)}' {protocols}",
                f"tokens for anybody: curl {issuer.url}/token/{USER_NAMES[1]}",
            ]

        page = {
            "auth": "jwt",
            "issuer": issuer.url,
            "client_id": AUDIENCE,
            "scope": "openid",
            "token": "id_token",
        }
        try:
            await function.start()
            yield AuthMode(lambda_authorizer(function.invoke), hints, page)
        finally:
            await function.close()


AUTH_MODES: Mapping[
    Auth, Callable[[Path, Log], contextlib.AbstractAsyncContextManager[AuthMode]]
] = {"none": _none, "iam": _iam, "jwt": _jwt}
"""Starts a mode, given the folder with the authorizer's code and a sink for its log.

Raises InitFailedError if the authorizer does not start.
"""

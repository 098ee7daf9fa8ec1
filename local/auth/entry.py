"""Who may enter the local stack, for each `AUTH`: what guards it, and how a person comes in.

Rules
- Each way in is API Gateway's own: SigV4, or the authorizer of src/ in a process as Lambda's.
- Nothing here opens anything elsewhere: the keys are made up, and the issuer is of this machine.

It does not know where the gateway listens until it is told.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deploy.url import presigned, with_query
from local.auth.authorizers import ACCOUNT, Guard, anybody, custom, iam
from local.auth.issuer import issuing
from local.auth.sigv4 import User
from local.aws.moto_server import REGION
from local.lambda_runtime.function import Function
from local.page import Config

Auth = Literal["none", "iam", "jwt"]
AUTHORIZER = "authorizer.lambda_handler"
AUDIENCE = "bedrock-stream-chat"
# Two, so that one can try to read what the other wrote.
PEOPLE = ("alice", "bob")
SIGNED_SECONDS = 3600


def user(name: str) -> User:
    """Somebody's keys to the local stack."""
    arn = f"arn:aws:iam::{ACCOUNT}:user/{name}"
    return User(arn, f"LOCAL{name.upper()}", secret_key=f"local-{name}")


@dataclass(frozen=True, slots=True)
class Entry:
    """`guard` is the gateway's; `hints` says, for a URL, how a person connects to it.

    `page` is what a web page has to know beside the URL, to let a person in (web/config.json).
    """

    guard: Guard
    hints: Callable[[str], list[str]]
    page: Config


Opened = AsyncIterator[Entry]
TEXT = {"format": "text"}


@contextlib.asynccontextmanager
async def _open(_code: Path, _log: Callable[[str], None]) -> Opened:
    def hints(url: str) -> list[str]:
        return [f"talk to it: npx wscat -c '{with_query(url, TEXT)}'"]

    yield Entry(anybody, hints, {"auth": "none"})


@contextlib.asynccontextmanager
async def _iam(_code: Path, _log: Callable[[str], None]) -> Opened:
    users = {each.access_key: each for each in map(user, PEOPLE)}

    def hints(url: str) -> list[str]:
        def signed(name: str, query: Mapping[str, str]) -> str:
            return presigned(url, user(name).credentials, REGION, query, SIGNED_SECONDS)

        wscat = [f"talk to it as {name}: npx wscat -c '{signed(name, TEXT)}'" for name in PEOPLE]
        return [*wscat, f"for the page, as {PEOPLE[0]}: {signed(PEOPLE[0], {})}"]

    yield Entry(iam(users), hints, {"auth": "iam"})


@contextlib.asynccontextmanager
async def _jwt(code: Path, log: Callable[[str], None]) -> Opened:
    async with issuing(AUDIENCE, PEOPLE) as issuer:
        settings = {"JWT_ISSUER": issuer.url, "JWT_AUDIENCE": json.dumps([AUDIENCE])}
        function = Function(AUTHORIZER, code, settings, log=log)

        def hints(url: str) -> list[str]:
            token = issuer.token(PEOPLE[0])
            protocols = f"-s chat.v1 -s 'bearer.{token}'"
            return [
                f"talk to it as {PEOPLE[0]}: npx wscat -c '{with_query(url, TEXT)}' {protocols}",
                f"tokens for anybody: curl {issuer.url}/token/{PEOPLE[1]}",
            ]

        try:
            await function.start()
            page = {
                "auth": "jwt",
                "issuer": issuer.url,
                "client_id": AUDIENCE,
                "scope": "openid",
                "token": "id_token",
            }
            yield Entry(custom(function.invoke), hints, page)
        finally:
            await function.close()


ENTRIES: Mapping[
    Auth, Callable[[Path, Callable[[str], None]], contextlib.AbstractAsyncContextManager[Entry]]
] = {"none": _open, "iam": _iam, "jwt": _jwt}
"""Opens the door of each kind, given where the authorizer's code is and where its log goes.

Raises InitFailedError if the authorizer does not start.
"""

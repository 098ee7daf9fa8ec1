"""Local stacks in threads of this process, which share DynamoDB (moto) and Bedrock.

DynamoDB and Bedrock are processes that take longer to start than all else. Stacks that share them
share the table, too, so a session id is used by one test only. Their logs are kept for a failure.
"""

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, get_args
from urllib.parse import quote

from support import artifacts
from support.e2e_clients import PATIENCE
from support.threads import in_a_thread

from local.auth.authorizers import Auth
from local.stack import Backends, Stack, backends


@contextmanager
def services() -> Iterator[Backends]:
    """DynamoDB and Bedrock with the scripted model, for any number of stacks."""
    log: list[str] = []
    with (
        artifacts.on_failure(artifacts.writes("services.log", log)),
        in_a_thread(backends(say=log.append, log=log.append)) as running,
    ):
        yield running


@contextmanager
def serving(**options: Any) -> Iterator[tuple[Stack, list[str]]]:
    """`Stack(**options)`, and the lines of its log."""
    log: list[str] = []
    with (
        artifacts.on_failure(artifacts.writes("stack.log", log)),
        in_a_thread(Stack(say=log.append, log=log.append, **options)) as stack,
    ):
        yield stack, log


@dataclass(frozen=True)
class Stacks:
    """Running stacks with the scripted model, by kind of authentication."""

    running: Mapping[str, Stack]

    def url(self, auth: str = "none") -> str:
        return self.running[auth].url

    def token(self) -> str:
        """Return a token for the stack with JWT, from the URL that it prints."""
        hint = next(line for line in self.running["jwt"].hints if "curl" in line)
        with urllib.request.urlopen(hint.rpartition(" ")[2], timeout=PATIENCE) as response:
            return str(response.read().decode().strip())

    def drop(self) -> int:
        """Close every connection to the stack without authentication; return how many.

        As a deployment would: by `DELETE /@connections/{id}`.
        """
        stack = self.running["none"]
        ids = list(stack.gateway._sockets)
        for each in ids:
            url = f"{stack.url.replace('ws:', 'http:')}/local/@connections/{quote(each, safe='')}"
            request = urllib.request.Request(url, method="DELETE")
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                assert 204 == response.status
        return len(ids)


@contextmanager
def served() -> Iterator[Stacks]:
    """One stack for each kind of authentication."""
    log: list[str] = []
    with (
        artifacts.on_failure(artifacts.writes("stacks.log", log)),
        in_a_thread(_opened(log)) as stacks,
    ):
        yield stacks


@asynccontextmanager
async def _opened(log: list[str]) -> AsyncIterator[Stacks]:
    async with AsyncExitStack() as open_:
        shared = await open_.enter_async_context(backends(say=log.append, log=log.append))
        made = {
            auth: Stack(services=shared, auth=auth, say=log.append, log=log.append)
            for auth in get_args(Auth)
        }
        async with asyncio.TaskGroup() as starting:
            for each in made.values():
                starting.create_task(open_.enter_async_context(each))
        yield Stacks(made)

"""The local stack in a thread of this process, once for each kind of authentication."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import get_args
from urllib.parse import quote

from support.e2e_clients import PATIENCE
from support.threads import in_a_thread

from local.auth.authorizers import Auth
from local.stack import Stack


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


def served() -> AbstractContextManager[Stacks]:
    """Start all of them, in parallel."""
    return in_a_thread(_opened())


@asynccontextmanager
async def _opened() -> AsyncIterator[Stacks]:
    made = {auth: Stack(auth=auth, say=_silent, log=_silent) for auth in get_args(Auth)}
    async with AsyncExitStack() as open_:
        async with asyncio.TaskGroup() as starting:
            for each in made.values():
                starting.create_task(open_.enter_async_context(each))
        yield Stacks(made)


def _silent(_: str) -> None:
    pass

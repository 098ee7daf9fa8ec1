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

from support import unmeasured
from support.artifacts import Log, on_failure
from support.e2e_clients import PATIENCE
from support.threads import in_a_thread

from local.auth.authorizers import Auth
from local.stack import Backends, Stack, backends


@contextmanager
def services() -> Iterator[Backends]:
    """DynamoDB and Bedrock with the scripted model, for any number of stacks."""
    log = Log("services")
    with on_failure(log.save), in_a_thread(backends(say=log, log=log)) as running:
        yield running


@contextmanager
def serving(**options: Any) -> Iterator[tuple[Stack, Log]]:
    """`Stack(**options)`, and its log."""
    log = Log("stack")
    with on_failure(log.save), in_a_thread(Stack(say=log, log=log, **options)) as stack:
        yield stack, log


MANY = 60_000  # chunks: an answer that only a stop ends, for ten minutes at 100 a second
LONG_ANSWERS = {"MAX_OUTPUT_TOKENS": "64000"}  # the setting that allows it


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
    with in_a_thread(_opened()) as stacks:
        yield stacks


@asynccontextmanager
async def _opened() -> AsyncIterator[Stacks]:
    environment = {**LONG_ANSWERS, **unmeasured.FUNCTION}
    services_log = Log("services")
    logs = {auth: Log(f"stack-{auth}") for auth in get_args(Auth)}
    async with AsyncExitStack() as open_:
        for log in (services_log, *logs.values()):
            open_.enter_context(on_failure(log.save))
        with unmeasured.processes():
            shared = await open_.enter_async_context(backends(say=services_log, log=services_log))
            made = {
                auth: Stack(services=shared, auth=auth, environment=environment, say=log, log=log)
                for auth, log in logs.items()
            }
            async with asyncio.TaskGroup() as starting:
                for each in made.values():
                    starting.create_task(open_.enter_async_context(each))
        yield Stacks(made)

"""`python -m local run` and `python -m local invoke`: the local stack for a person at a terminal.

Exit status: 0 after Ctrl-C or SIGTERM, which are how it is meant to end; 1 with one sentence on
standard error when it cannot start or when a part of it dies. It knows nothing of how the parts
work.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from local.auth.entry import ENTRIES
from local.invoke import invoke
from local.page import serving
from local.recordings import FolderError, Recordings, unrecorded
from local.stack import Stack, StackError, settings_for


def say(line: str) -> None:
    """Prints at once, also into a pipe. Nobody reading any more is no reason to fall over."""
    with contextlib.suppress(BrokenPipeError):
        print(line, flush=True)


async def run(asked: argparse.Namespace) -> int:
    """Serves until it is told to stop, or a part dies."""
    async with Stack(
        asked.port,
        asked.model,
        asked.model_id,
        remote_model=asked.remote_model,
        auth=asked.auth,
        environment=settings_for(asked.model, os.environ),
        concurrency=asked.concurrency,
        say=say,
        log=say,
        record=Recordings(asked.record, say) if asked.record else unrecorded,
    ) as stack:
        say(f"ready: {stack.url}")
        for hint in stack.hints:
            say(hint)
        after = asked.port + 1 if asked.port else 0
        async with page(stack, after if asked.page_port is None else asked.page_port):
            raise StackError(await stack.died())


@contextlib.asynccontextmanager
async def page(stack: Stack, port: int) -> AsyncIterator[None]:
    """Serves the web page too, where that can be; the rest does not need it."""
    async with contextlib.AsyncExitStack() as parts:
        try:
            say(f"page: {await parts.enter_async_context(serving(stack.page, port))}")
        except (OSError, OverflowError):
            say(f"no page: port {port} cannot be used; make run PAGE_PORT=... takes another")
        yield


async def until_told(work: asyncio.Task[int]) -> int:
    """The work's exit status; Ctrl-C and SIGTERM cancel it, so that it cleans up, and give 0."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, work.cancel)
    try:
        return await work
    except asyncio.CancelledError:
        say("stopped")
        return 0


def folder(name: str) -> Path | None:
    """None for an empty name, as the Makefile's variables are where they are not set."""
    return Path(name) if name else None


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("run", help="serve the chatbot on a WebSocket")
    serve.add_argument("--port", type=int, default=3001)
    serve.add_argument("--page-port", type=int, help="of the web page; else the next one, 0: any")
    serve.add_argument("--model", default="smollm2", help="smollm2, scripted, or a URL")
    serve.add_argument("--model-id", default="", help="the Bedrock model that is asked for")
    serve.add_argument("--remote-model", default="", help="its name, where --model is a URL")
    serve.add_argument("--auth", default="none", choices=ENTRIES, help="who may connect")
    serve.add_argument("--concurrency", type=int, default=10, help="events handled at once")
    serve.add_argument("--record", type=folder, help="write each event into this folder")
    once = commands.add_parser("invoke", help="run the handler on one sample event")
    once.add_argument("event", type=Path)
    once.add_argument("--timeout", type=int, default=30, help="seconds")
    return parser.parse_args()


async def main() -> int:
    """Runs the command. Returns the exit status."""
    given = arguments()
    if given.command == "run":
        work = run(given)
    else:
        work = invoke(given.event, seconds=given.timeout, say=say)
    try:
        return await until_told(asyncio.ensure_future(work))
    except (FolderError, StackError) as error:
        print(error, file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

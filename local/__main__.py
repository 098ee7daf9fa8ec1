"""`python -m local run` serves the local stack; `python -m local invoke` runs one sample event.

Exit status: 0 after Ctrl-C or SIGTERM; 1 with one sentence on standard error if the stack cannot
start or a part of it ends; 2 for invalid arguments.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from local.auth.modes import AUTH_MODES
from local.invoke import invoke
from local.page import serving
from local.recordings import FolderError, Recordings, discard
from local.stack import Stack, StackError, settings_for


def say(line: str) -> None:
    """Prints a line at once, also into a pipe. A pipe that is closed is ignored."""
    with contextlib.suppress(BrokenPipeError):
        print(line, flush=True)


async def run(options: argparse.Namespace) -> int:
    """Serves until it is cancelled. Raises StackError if it cannot start or a part ends."""
    async with Stack(
        options.port,
        options.model,
        options.model_id,
        remote_model=options.remote_model,
        auth=options.auth,
        environment=settings_for(options.model, os.environ),
        concurrency=options.concurrency,
        say=say,
        log=say,
        record=Recordings(options.record, say) if options.record else discard,
    ) as stack:
        say(f"ready: {stack.url}")
        for hint in stack.hints:
            say(hint)
        next_port = options.port + 1 if options.port else 0
        async with page(stack, next_port if options.page_port is None else options.page_port):
            raise StackError(await stack.wait_for_exit())


@contextlib.asynccontextmanager
async def page(stack: Stack, port: int) -> AsyncIterator[None]:
    """Serves the web page, unless its port cannot be used: the stack works without it."""
    async with contextlib.AsyncExitStack() as parts:
        try:
            say(f"page: {await parts.enter_async_context(serving(stack.page, port))}")
        except (OSError, OverflowError):
            say(f"no page: port {port} cannot be used; choose another with make run PAGE_PORT=...")
        yield


async def until_stopped(work: asyncio.Task[int]) -> int:
    """Returns the exit status of `work`, or 0 after Ctrl-C or SIGTERM, which cancel it."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, work.cancel)
    try:
        return await work
    except asyncio.CancelledError:
        say("stopped")
        return 0


def folder(name: str) -> Path | None:
    """Parses a folder; None for an empty name, which the Makefile passes for an unset variable."""
    return Path(name) if name else None


def arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("run", help="serve the chatbot on a WebSocket")
    serve.add_argument(
        "--port", type=int, default=3001, help="port of the WebSocket (0: any free one)"
    )
    serve.add_argument(
        "--page-port",
        type=int,
        help="port of the web page (default: the one after --port; 0: any free one)",
    )
    serve.add_argument("--model", default="smollm2", help="smollm2, scripted, or a server's URL")
    serve.add_argument(
        "--model-id", default="", help="the Bedrock model id that the function requests"
    )
    serve.add_argument(
        "--remote-model", default="", help="the model's name at the server, if --model is a URL"
    )
    serve.add_argument(
        "--auth", default="none", choices=AUTH_MODES, help="how clients authenticate"
    )
    serve.add_argument(
        "--concurrency", type=int, default=10, help="how many events are handled at once"
    )
    serve.add_argument("--record", type=folder, help="write each event to a file in this folder")
    once = commands.add_parser("invoke", help="run the handler on one sample event")
    once.add_argument("event", type=Path, help="a JSON file, such as events/chat.json")
    once.add_argument("--timeout", type=int, default=30, help="in seconds (default: 30)")
    return parser.parse_args()


async def main() -> int:
    """Runs the command. Returns the exit status."""
    options = arguments()
    if options.command == "run":
        work = run(options)
    else:
        work = invoke(options.event, seconds=options.timeout, say=say)
    try:
        return await until_stopped(asyncio.ensure_future(work))
    except (FolderError, StackError) as error:
        print(error, file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

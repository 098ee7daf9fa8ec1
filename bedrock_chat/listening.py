"""Hearing one request out while a person may press Ctrl-C.

Rules
- The first Ctrl-C asks the server to end the answer, and what it still says is heard. The second
  one leaves.
- Meanwhile the terminal shows nothing of what is typed, and keeps it for the prompt.
"""

import asyncio
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager

from bedrock_chat.connection import Link
from bedrock_chat.exits import Exit
from bedrock_chat.protocol import Exchange, Frame


class LeftError(Exception):
    """The person pressed Ctrl-C twice."""


async def listen(link: Link, exchange: Exchange, hear: Callable[[Frame], None]) -> Exit:
    """Hears all of it, and says how it ended.

    Raises LeftError, RefusedError, LostError, and what `hear` raises.
    """
    loop = asyncio.get_running_loop()
    hearing = asyncio.ensure_future(_hear(link, exchange, hear))
    stops: list[asyncio.Task[None]] = []

    def pressed() -> None:
        if stops:
            hearing.cancel()
            return
        link.notice("stopping; Ctrl-C again leaves …")
        stops.append(asyncio.ensure_future(link.stop(exchange)))

    loop.add_signal_handler(signal.SIGINT, pressed)
    try:
        with silent_terminal():
            await hearing
    except asyncio.CancelledError:
        if not stops:
            raise
        raise LeftError from None
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        for stop in stops:
            stop.cancel()
    if stops:
        return Exit.INTERRUPTED
    failed = exchange.end is not None and exchange.end.get("type") == "error"
    return Exit.ERROR if failed else Exit.FINE


async def _hear(link: Link, exchange: Exchange, hear: Callable[[Frame], None]) -> None:
    async with aclosing(link.talk(exchange)) as frames:
        async for frame in frames:
            hear(frame)


@contextmanager
def silent_terminal() -> Iterator[None]:
    """What is typed is neither shown nor lost. Does nothing where standard input is no terminal."""
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    silent = [*before]
    silent[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(descriptor, termios.TCSADRAIN, silent)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

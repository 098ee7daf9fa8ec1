"""Receives all frames of one request, with Ctrl-C handling.

Rules
- The first Ctrl-C sends a stop to the server; the rest of the answer is still received. The second
  one quits the program.
- While an answer arrives, typed characters are not echoed; they stay in the terminal's input queue
  and reach the next prompt.
"""

import asyncio
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager

from bedrock_chat.connection import Connection
from bedrock_chat.exit_codes import ExitCode
from bedrock_chat.protocol import Exchange, Frame


class QuitError(Exception):
    """Ctrl-C was pressed twice."""


async def receive_all(
    connection: Connection, exchange: Exchange, on_frame: Callable[[Frame], None]
) -> ExitCode:
    """Pass every frame of the request to `on_frame`; return how the request ended.

    Raises QuitError, AccessDeniedError, ConnectionLostError, and whatever `on_frame` raises.
    """
    loop = asyncio.get_running_loop()
    receiving = asyncio.ensure_future(_receive(connection, exchange, on_frame))
    stops: list[asyncio.Task[None]] = []

    def on_interrupt() -> None:
        if stops:
            receiving.cancel()
            return
        connection.on_status("stopping; Ctrl-C again quits …")
        stops.append(asyncio.ensure_future(connection.stop(exchange)))

    loop.add_signal_handler(signal.SIGINT, on_interrupt)
    try:
        with echo_disabled():
            await receiving
    except asyncio.CancelledError:
        if not stops:
            raise
        raise QuitError from None
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        for stop in stops:
            stop.cancel()
    if stops:
        return ExitCode.INTERRUPTED
    last = exchange.last_frame or {}
    return ExitCode.ERROR if last.get("type") == "error" else ExitCode.OK


async def _receive(
    connection: Connection, exchange: Exchange, on_frame: Callable[[Frame], None]
) -> None:
    async with aclosing(connection.stream(exchange)) as frames:
        async for frame in frames:
            on_frame(frame)


@contextmanager
def echo_disabled() -> Iterator[None]:
    """Disable echo and line editing on standard input, if it is a terminal, and restore them."""
    if not sys.stdin.isatty():
        yield
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    changed = [*before]
    changed[3] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(descriptor, termios.TCSADRAIN, changed)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

"""Servers on the loopback interface: a reserved port, and an HTTP server for an application."""

import contextlib
import socket
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

HOST = "127.0.0.1"
# Responses that are still being sent when the server closes are cut after this time.
SHUTDOWN_SECONDS = 0.1


def bind(port: int = 0) -> socket.socket:
    """Reserves a port, any free one for 0, until something listens on the returned socket.

    Raises OSError or OverflowError if the port cannot be used.
    """
    reserved = socket.socket()
    try:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind((HOST, port))
    except (OSError, OverflowError):
        reserved.close()
        raise
    return reserved


@contextlib.asynccontextmanager
async def serving(
    app: "web.Application", port: int = 0, *, handler_cancellation: bool = False
) -> AsyncIterator[str]:
    """Serves `app` and yields its base URL, without a final slash; port 0 is any free one.

    `handler_cancellation` cancels a request's handler when its client disconnects. Raises OSError
    or OverflowError if the port cannot be used.
    """
    from aiohttp import web  # noqa: PLC0415 - slow to import; moto's process does not need it

    runner = web.AppRunner(
        app,
        access_log=None,
        handler_cancellation=handler_cancellation,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        yield f"http://{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()

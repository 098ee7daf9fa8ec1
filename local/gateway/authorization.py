"""How the gateway asks whether a handshake may proceed. The authorizers are in `local.auth`."""

from collections.abc import Awaitable, Callable

from local.gateway.api import Event, Principal
from local.gateway.http_connection import HttpRequest


class RefusedError(Exception):
    """The handshake is refused with this HTTP status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


Authorizer = Callable[[HttpRequest, Event], Awaitable[Principal]]
"""Returns the principal of a handshake, given the event made of it. Raises RefusedError."""


async def allow_all(_request: HttpRequest, _event: Event) -> Principal:
    """Authorization type `NONE`: every client may connect and has no principal."""
    return Principal()

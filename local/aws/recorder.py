"""Where the function's calls to AWS pass through: each is noted, then goes to its own endpoint.

Rules: one port for all services; which endpoint a request goes to, its signature's scope says.
Nothing is changed on its way, in either direction; an answer is passed on as it arrives. Whoever
hangs up on one side is hung up on at the other. A request for a service that has no endpoint here
is noted too, and refused.

It does not know what calls need: it hands them over as `permissions.Request`.
"""

from collections.abc import Callable, Mapping

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from local.aws.permissions import Request

HOST = "127.0.0.1"
MAX_BODY_BYTES = 25_000_000  # Bedrock's limit, the largest of those that are called
SHUTDOWN_SECONDS = 0.1  # answers still on their way at the end are cut
# Of one connection alone (RFC 9110, 7.6.1), or made again when a message is sent on.
_NOT_PASSED_ON = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})


class Recorder:
    """A port of its own. `endpoints`: the base URL by service, as signatures name it."""

    def __init__(self, endpoints: Mapping[str, str], note: Callable[[Request], None]) -> None:
        self._endpoints = endpoints
        self._note = note
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Serves; returns the URL."""
        # Bodies are passed on as they were sent, so that signatures and checksums stay true.
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None),
            connector=aiohttp.TCPConnector(limit=0),
        )
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, 0).start()
        return f"http://{HOST}:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stops; does nothing if it never started."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        assert self._session is not None  # noqa: S101 - started
        seen = Request(
            method=request.method,
            path=request.rel_url.raw_path,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
        )
        self._note(seen)
        endpoint = self._endpoints.get(seen.scope[1])
        if endpoint is None:
            return web.json_response({"message": "This is not to be had here."}, status=501)
        async with self._session.request(
            request.method,
            URL(endpoint + request.raw_path, encoded=True),
            headers=_passed_on(request.headers),
            data=seen.body,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        ) as answer:
            response = web.StreamResponse(
                status=answer.status, reason=answer.reason, headers=_passed_on(answer.headers)
            )
            response.content_length = answer.content_length
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response


def _passed_on(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in _NOT_PASSED_ON
    )

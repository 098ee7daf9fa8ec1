"""A proxy for the function's calls to AWS: it records each request and forwards it.

Rules: one port serves all services, and a request is forwarded to the endpoint of the service that
its signature's scope names. Requests and responses are forwarded unchanged, and a response as it
arrives. When one side closes its connection, the other is closed too. A request for a service
without an endpoint is recorded as well, and refused.

What it does not know: which permissions a call needs. It passes on `permissions.Request`s.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from local.aws.permissions import Request
from local.loopback import serving

MAX_BODY_BYTES = 25_000_000  # Bedrock's limit, the largest of the services in use
# They describe one connection only (RFC 9110, 7.6.1), or are written anew when a message is sent.
_HOP_BY_HOP = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})


@contextlib.asynccontextmanager
async def recording(
    endpoints: Mapping[str, str], record: Callable[[Request], None]
) -> AsyncIterator[str]:
    """Serves the proxy and yields its URL.

    `endpoints` has the base URL of each service, under the name that signatures use; it is read for
    each request. `record` is called with each request before it is forwarded.
    """
    # Bodies are forwarded as they were sent, so that signatures and checksums remain valid.
    session = aiohttp.ClientSession(
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
        connector=aiohttp.TCPConnector(limit=0),
    )

    async def forward(request: web.Request) -> web.StreamResponse:
        received = Request(
            method=request.method,
            path=request.rel_url.raw_path,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=await request.read(),
        )
        record(received)
        _, service = received.scope
        endpoint = endpoints.get(service)
        if endpoint is None:
            message = f"No endpoint for service {service or '(unsigned request)'}."
            return web.json_response({"message": message}, status=501)
        async with session.request(
            request.method,
            URL(endpoint + request.raw_path, encoded=True),
            headers=_end_to_end(request.headers),
            data=received.body,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        ) as upstream:
            response = web.StreamResponse(
                status=upstream.status,
                reason=upstream.reason,
                headers=_end_to_end(upstream.headers),
            )
            response.content_length = upstream.content_length
            await response.prepare(request)
            async for chunk in upstream.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.router.add_route("*", "/{path:.*}", forward)
    async with session, serving(app, handler_cancellation=True) as url:
        yield url


def _end_to_end(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict(
        (name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP
    )

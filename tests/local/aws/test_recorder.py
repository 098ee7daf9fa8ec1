"""Covers local/aws/recorder.py: what passes through it, and that nothing is changed on the way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from local.aws.permissions import Request
from local.aws.recorder import Recorder

SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=K/20260131/us-east-1/bedrock/aws4_request"}
PATIENCE = 10.0


@dataclass
class Rig:
    """A service behind a recorder, and a client in front of it."""

    url: str
    noted: list[Request]
    client: aiohttp.ClientSession


@asynccontextmanager
async def passing(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[Rig]:
    app = web.Application()
    app.router.add_route("*", "/base/{path:.*}", handler)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    noted: list[Request] = []
    base = f"http://127.0.0.1:{runner.addresses[0][1]}/base"
    recorder = Recorder({"bedrock": base}, noted.append)
    try:
        async with aiohttp.ClientSession() as client, asyncio.timeout(PATIENCE):
            yield Rig(await recorder.start(), noted, client)
    finally:
        await recorder.close()
        await runner.cleanup()


def test_nothing_is_changed_on_the_way() -> None:
    """Path and query as they were escaped, headers, body; and what is answered to them."""
    seen: list[tuple[str, str, str, bytes]] = []

    async def service(request: web.Request) -> web.Response:
        body = await request.read()
        seen.append((request.raw_path, request.headers["Host"], request.headers["X-One"], body))
        return web.Response(status=418, body=b"tea", headers={"X-Two": "2", "ETag": "x"})

    async def passed() -> tuple[int, bytes, str, list[Request]]:
        async with passing(service) as rig:
            url = URL(f"{rig.url}/a%3Ab/c%2Fd?e=%2F", encoded=True)
            headers = {**SIGNED, "Host": "bedrock.example", "X-One": "1"}
            async with rig.client.put(url, data=b"\x00body", headers=headers) as answer:
                return answer.status, await answer.read(), answer.headers["X-Two"], rig.noted

    status, body, header, [noted] = asyncio.run(passed())

    assert [("/base/a%3Ab/c%2Fd?e=%2F", "bedrock.example", "1", b"\x00body")] == seen
    assert (418, b"tea", "2") == (status, body, header)
    assert ("PUT", "/a%3Ab/c%2Fd", b"\x00body") == (noted.method, noted.path, noted.body)
    assert ("us-east-1", "bedrock") == noted.scope


def test_a_stream_arrives_as_it_is_made() -> None:
    """The second half is made only once the first has arrived."""

    async def passed() -> tuple[bytes, bytes]:
        arrived = asyncio.Event()

        async def service(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"first")
            await arrived.wait()
            await response.write(b"second")
            return response

        async with passing(service) as rig, rig.client.get(rig.url, headers=SIGNED) as answer:
            first = await answer.content.readany()
            arrived.set()
            return first, await answer.content.read()

    assert (b"first", b"second") == asyncio.run(passed())


def test_who_hangs_up_is_hung_up_on() -> None:
    """The service learns that the client has gone."""

    async def passed() -> None:
        gone = asyncio.Event()

        async def service(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"first")
            try:
                await asyncio.sleep(PATIENCE)
            finally:
                gone.set()
            return response

        async with passing(service) as rig:
            answer = await rig.client.get(rig.url, headers=SIGNED)
            await answer.content.readany()
            answer.close()
            await gone.wait()

    asyncio.run(passed())


def test_an_answer_that_breaks_off_breaks_off() -> None:
    """A connection that is cut is never an answer that has ended."""

    async def service(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        assert request.transport is not None
        request.transport.abort()
        return response

    async def passed() -> None:
        async with passing(service) as rig, rig.client.get(rig.url, headers=SIGNED) as answer:
            await answer.read()

    with pytest.raises(aiohttp.ClientPayloadError):
        asyncio.run(passed())


def test_what_has_no_endpoint_is_noted_and_refused() -> None:
    """No call gets away unseen, for whatever service it is."""

    async def service(_request: web.Request) -> web.Response:
        raise AssertionError

    async def passed() -> tuple[int, list[Request]]:
        async with passing(service) as rig:
            headers = {"Authorization": SIGNED["Authorization"].replace("bedrock", "s3")}
            async with rig.client.get(f"{rig.url}/bucket", headers=headers) as answer:
                return answer.status, rig.noted

    status, [noted] = asyncio.run(passed())

    assert 501 == status
    assert ("us-east-1", "s3") == noted.scope


def test_closing_what_never_started() -> None:
    """Does nothing."""
    asyncio.run(Recorder({}, lambda _: None).close())

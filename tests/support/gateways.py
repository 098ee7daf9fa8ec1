"""A gateway for tests: real sockets on a free port, and a function that is a Python callable."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.config import Config
from types_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient
from websockets.asyncio.client import ClientConnection, connect

from local.gateway.api import Api
from local.gateway.authorization import Authorizer, allow_all
from local.gateway.limits import Limits
from local.gateway.server import Gateway
from local.invocation import Result

OK = Result(b'{"statusCode": 200}')
PATIENCE = 60.0  # seconds: an upper bound for "it never happens", not a measurement

Event = dict[str, Any]
Handler = Callable[[Event], Awaitable[Result]]


async def accept(_event: Event) -> Result:
    return OK


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until it is so; fail if it never is."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  what is watched belongs to the code under test
            await asyncio.sleep(0.005)


@dataclass
class Rig:
    """A running gateway, what it sent to the function, and clients for it."""

    handler: Handler
    api: Api
    limits: Limits
    events: list[Event] = field(default_factory=list)  # waited for
    queued: list[Event] = field(default_factory=list)  # handed over
    port: int = 0
    authorizer: Authorizer = allow_all

    def __post_init__(self) -> None:
        self.gateway = Gateway(
            self.api, self._invoke, self._invoke_async, self.limits, authorizer=self.authorizer
        )

    async def _invoke(self, event: bytes) -> Result:
        self.events.append(json.loads(event))
        return await self.handler(self.events[-1])

    def _invoke_async(self, event: bytes) -> None:
        self.queued.append(json.loads(event))

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def connect(self, path: str = "", **options: Any) -> connect:
        return connect(self.url + path, **options)

    def of(self, kind: str) -> list[Event]:
        """Return what the function got of one kind: CONNECT, MESSAGE or DISCONNECT."""
        return [e for e in self.events if e["requestContext"]["eventType"] == kind]

    def connection_id(self) -> str:
        """Return the id of the newest connection."""
        return str(self.of("CONNECT")[-1]["requestContext"]["connectionId"])

    async def disconnected(self, count: int = 1) -> Event:
        """Wait for the $disconnect events so far, and return the newest's request context."""
        await eventually(lambda: len(self.of("DISCONNECT")) >= count)
        return dict(self.of("DISCONNECT")[-1]["requestContext"])

    def boto3(
        self, stage: str = "/local", config: Config | None = None
    ) -> ApiGatewayManagementApiClient:
        """Make an unmodified client, as a Lambda function would, with default settings."""
        return boto3.client(
            "apigatewaymanagementapi",
            endpoint_url=f"http://127.0.0.1:{self.port}{stage}",
            region_name="us-east-1",
            aws_access_key_id="x",
            aws_secret_access_key="y",
            config=config,
        )


@asynccontextmanager
async def serving(
    handler: Handler = accept,
    api: Api | None = None,
    authorizer: Authorizer = allow_all,
    **limits: Any,
) -> AsyncIterator[Rig]:
    """Serve the API of this repository (or another), with some limits changed."""
    quick = {"sweep": 0.02, "closing": 0.5} | limits
    rig = Rig(
        handler, api or Api.load(chat_integration="proxy"), Limits(**quick), authorizer=authorizer
    )
    rig.port = await rig.gateway.start()
    try:
        yield rig
    finally:
        await rig.gateway.close()


async def closing(ws: ClientConnection) -> tuple[int, str]:
    """Wait for the server's close frame, and return its code and reason."""
    async with asyncio.timeout(PATIENCE):
        await ws.wait_closed()
    frame = ws.protocol.close_rcvd
    assert frame is not None
    return frame.code, frame.reason

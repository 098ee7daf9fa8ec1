"""The whole local stack with a proxy in its midst, and what the rows need of it.

Rules: one stack for all rows, each in a session of its own, several at a time. The events that the
gateway hands to the function are seen here, so that they can be delivered again, or not at all.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import ClientSession
from faults.proxy import Between

from local.invocation import Result
from local.stack import Stack

if TYPE_CHECKING:
    from faults.scenario import Scene

TESTS = Path(__file__).parents[1]
CONCURRENCY = 90  # Lambdas at once: those that wait out a lease hold one each
WARM = 12  # more of them are started as they are needed


@dataclass(frozen=True, slots=True)
class Pace:
    """The function's seconds (src/store/leases.py), and how long a `paced` answer takes.

    It takes longer than a renewal. So many rows are played at once: `busy` ones, and `waiting` ones
    that mostly wait, for a lease or for patience. A resume waits for two leases, so one has to last
    longer than twice what clocks may differ by.
    """

    lease: float
    renew: float
    look: float
    skew: float
    span: float
    busy: int
    waiting: int

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LEASE_SECONDS": str(self.lease),
            "RENEW_SECONDS": str(self.renew),
            "POLL_SECONDS": str(self.look),
            "CLOCK_SKEW_SECONDS": str(self.skew),
        }


REAL = Pace(lease=30, renew=8, look=1, skew=5, span=11, busy=20, waiting=20)
SHORT = Pace(lease=6, renew=0.9, look=0.4, skew=2, span=2.4, busy=8, waiting=10)


class Stage:
    """What the rows play on."""

    def __init__(self, pace: Pace, stack: Stack, between: Between, http: ClientSession) -> None:
        self.pace = pace
        self.url = stack.url
        self._gateway = stack.gateway
        self._between = between
        self._http = http
        self._model = stack._backends.bedrock.url if stack._backends else ""
        self._scenes: dict[str, Scene] = {}
        self._sessions: dict[str, str] = {}  # connection id: session id
        self._newest: dict[str, str] = {}  # session id: its newest connection
        self._asides: dict[str, asyncio.Task[Result]] = {}
        self._invoke, self._invoke_async = self._gateway._invoke, self._gateway._invoke_async
        self._gateway._invoke = self._invoked
        self._gateway._invoke_async = self._handed_over

    def enter(self, scene: "Scene") -> None:
        """From now on calls and events find this run by its name."""
        self._scenes[scene.name] = self._scenes[scene.session_id] = scene
        self._between.runs.update(scene.watches)

    def leave(self, scene: "Scene") -> None:
        """The run is over."""
        del self._scenes[scene.name], self._scenes[scene.session_id]
        for name in scene.watches:
            del self._between.runs[name]

    async def charged(self, question: str) -> int:
        """How many calls to the model with this question began to be answered."""
        query = {"text": question}
        async with self._http.get(f"{self._model}/_calls", params=query) as answer:
            return int((await answer.json())["charged"])

    async def gone(self, scene: "Scene") -> None:
        """Returns when the gateway knows that the run's newest connection is gone."""
        async with asyncio.timeout(10):
            while self._newest[scene.session_id] in self._gateway._sockets:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def deliver(self, *events: bytes) -> None:
        """Gives events to the function, at once, and returns when it is done with them."""
        results = await asyncio.gather(*map(self._invoke, events))
        refused = [result.error for result in results if result.error]
        if refused:
            raise RuntimeError(f"events were not taken: {refused}")

    async def done_with(self, token: str) -> None:
        """Returns when the function is done with the frame that bears this token."""
        async with asyncio.timeout(60):
            while token not in self._asides:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await self._asides.pop(token)

    # The gateway's two ways to the function.

    async def _invoked(self, event: bytes) -> Result:
        content = json.loads(event)
        context = content["requestContext"]
        connection_id = context["connectionId"]
        if context["eventType"] == "CONNECT":
            session_id = content["queryStringParameters"]["session_id"]
            self._sessions[connection_id], self._newest[session_id] = session_id, connection_id
        elif context["eventType"] == "DISCONNECT":
            scene = self._scenes.get(self._sessions.pop(connection_id))
            if scene and not scene.row.goodbye:
                return Result(b"{}")
        return await self._invoke(event)

    def _handed_over(self, event: bytes) -> None:
        frame = json.loads(base64.b64decode(json.loads(event)["body"]))
        scene = self._scenes.get(frame.get("run", ""))
        if "aside" in frame:
            self._asides[frame["aside"]] = asyncio.ensure_future(self._invoke(event))
            return
        if scene is None:
            self._invoke_async(event)
            return
        scene.events.append(event)
        for _ in range(scene.row.deliveries):
            self._invoke_async(event)


@asynccontextmanager
async def stage(pace: Pace, lambdas: int, log: Callable[[str], None]) -> AsyncIterator[Stage]:
    """Runs the stack and the proxy, with so many Lambdas warm."""
    async with AsyncExitStack() as parts:
        between = Between()
        await between.start()
        parts.push_async_callback(between.close)
        stack = Stack(
            environment={
                **pace.environment,
                "AWS_ENDPOINT_URL_DYNAMODB": between.url,
                "CALLBACK_URL": f"{between.url}/local",
                "PYTHONPATH": str(TESTS),
                "RETRY_SECONDS": "2",
                "STALL_SECONDS": "2",
            },
            handler="faults.worker.lambda_handler",
            concurrency=CONCURRENCY,
            warm=min(WARM, lambdas),
            say=log,
            log=log,
        )
        await parts.enter_async_context(stack)
        assert stack._backends is not None
        between.moto = stack._backends.dynamodb.url
        between.gateway = stack.url.replace("ws:", "http:")
        http = await parts.enter_async_context(ClientSession())
        yield Stage(pace, stack, between, http)

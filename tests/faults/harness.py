"""The whole local stack with the fault proxy in it.

One stack serves all rows, each in a session of its own, several at a time. The events that the
gateway passes to the function are intercepted here, so that they can be delivered again, or not.
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
from faults.proxy import FaultProxy

from local.invocation import Result
from local.stack import Stack

if TYPE_CHECKING:
    from faults.scenario import Scenario

TESTS = Path(__file__).parents[1]
CONCURRENCY = 90  # Lambdas at once: those that wait for a lease to expire hold one each
WARM = 12  # more of them are started as they are needed
PATIENCE = 180.0


@dataclass(frozen=True, slots=True)
class Pace:
    """The function's seconds (src/store/leases.py), and how many rows run at once.

    `lease` is that of a request whose turn is to be recovered; every other one lasts
    `long_lease`, so that a slow machine does not let it expire. `busy` rows run at once, and
    `waiting` ones that mostly wait. A resume waits for two leases, so one lasts longer than twice
    the difference of the clocks. A renewal that is due comes before
    a poll, so it is not due with every call even where one takes a second.
    """

    lease: float
    long_lease: float
    renew: float
    poll: float
    skew: float
    busy: int
    waiting: int

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LEASE_SECONDS": str(self.lease),
            "RENEW_SECONDS": str(self.renew),
            "POLL_SECONDS": str(self.poll),
            "CLOCK_SKEW_SECONDS": str(self.skew),
        }


REAL = Pace(lease=30, long_lease=30, renew=8, poll=1, skew=5, busy=20, waiting=20)
SHORT = Pace(lease=6, long_lease=90, renew=2.5, poll=0.3, skew=1, busy=8, waiting=20)


class Harness:
    """What the rows run on."""

    def __init__(self, pace: Pace, stack: Stack, proxy: FaultProxy, http: ClientSession) -> None:
        self.pace = pace
        self.url = stack.url
        self._gateway = stack.gateway
        self._proxy = proxy
        self._http = http
        self._scenarios: dict[str, Scenario] = {}
        self._sessions: dict[str, str] = {}  # connection id: session id
        self._newest: dict[str, str] = {}  # session id: its newest connection
        self._awaited: dict[str, asyncio.Task[Result]] = {}
        self._invoke, self._invoke_async = self._gateway._invoke, self._gateway._invoke_async
        self._gateway._invoke = self._intercept_invoke
        self._gateway._invoke_async = self._intercept_invoke_async

    def enter(self, scenario: "Scenario") -> None:
        """Begins to pass this run its calls and events."""
        self._scenarios[scenario.name] = self._scenarios[scenario.session_id] = scenario
        self._proxy.runs.update(scenario.monitors)

    def leave(self, scenario: "Scenario") -> None:
        """Ends what `enter` began."""
        del self._scenarios[scenario.name], self._scenarios[scenario.session_id]
        for name in scenario.monitors:
            del self._proxy.runs[name]

    async def charged(self, question: str) -> int:
        """How many calls to the model with this question began to be answered."""
        query = {"text": question}
        async with self._http.get(f"{self._proxy.bedrock}/_calls", params=query) as response:
            return int((await response.json())["charged"])

    async def disconnected(self, scenario: "Scenario") -> None:
        """Returns when the gateway knows that the run's newest connection is closed."""
        async with asyncio.timeout(PATIENCE):
            while self._newest[scenario.session_id] in self._gateway._sockets:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def deliver(self, *events: bytes) -> None:
        """Delivers events at once; returns when the function has handled them."""
        results = await asyncio.gather(*map(self._invoke, events))
        errors = [result.error for result in results if result.error]
        if errors:
            raise RuntimeError(f"events were not handled: {errors}")

    async def handled(self, token: str) -> None:
        """Returns when the function has handled the frame that has this token."""
        async with asyncio.timeout(PATIENCE):
            while token not in self._awaited:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await self._awaited.pop(token)

    # The gateway's two ways to invoke the function.

    async def _intercept_invoke(self, event: bytes) -> Result:
        content = json.loads(event)
        context = content["requestContext"]
        connection_id = context["connectionId"]
        if context["eventType"] == "CONNECT":
            session_id = content["queryStringParameters"]["session_id"]
            self._sessions[connection_id], self._newest[session_id] = session_id, connection_id
        elif context["eventType"] == "DISCONNECT":
            scenario = self._scenarios.get(self._sessions.pop(connection_id))
            if scenario and not scenario.row.reports_disconnect:
                return Result(b"{}")
        return await self._invoke(event)

    def _intercept_invoke_async(self, event: bytes) -> None:
        frame = json.loads(base64.b64decode(json.loads(event)["body"]))
        scenario = self._scenarios.get(frame.get("run", ""))
        if "token" in frame:
            self._awaited[frame["token"]] = asyncio.ensure_future(self._invoke(event))
            return
        if scenario is None:
            self._invoke_async(event)
            return
        scenario.events.append(event)
        for _ in range(scenario.row.deliveries):
            self._invoke_async(event)


@asynccontextmanager
async def running(pace: Pace, lambdas: int, log: Callable[[str], None]) -> AsyncIterator[Harness]:
    """Runs the stack and the proxy, with so many Lambdas warm, or WARM."""
    async with AsyncExitStack() as parts:
        proxy = FaultProxy()
        await proxy.start()
        parts.push_async_callback(proxy.close)
        stack = Stack(
            environment={
                **pace.environment,
                "AWS_ENDPOINT_URL_DYNAMODB": proxy.url,
                "CALLBACK_URL": f"{proxy.url}/local",
                "PYTHONPATH": str(TESTS),
                # Seconds that a slow machine does not exceed; rows that wait for them to pass ask
                # for fewer (`service_rows`).
                "RETRY_SECONDS": "60",
                "STALL_SECONDS": "60",
            },
            handler="faults.instrumented_handler.lambda_handler",
            concurrency=CONCURRENCY,
            warm=min(WARM, lambdas),
            say=log,
            log=log,
        )
        await parts.enter_async_context(stack)
        assert stack._backends is not None
        proxy.moto = stack._backends.dynamodb.url
        proxy.bedrock = stack._backends.bedrock.url
        proxy.gateway = stack.url.replace("ws:", "http:")
        http = await parts.enter_async_context(ClientSession())
        yield Harness(pace, stack, proxy, http)

"""API Gateway's limits and Lambda's on the whole stack, shortened: what they do to an answer."""

import asyncio
import json
import secrets
from typing import Any

from support.e2e_clients import SERVER, script, text
from websockets.asyncio.client import ClientConnection, connect

from local.gateway.limits import Limits
from local.stack import Stack

PATIENCE = 60.0
INTEGRATION_SECONDS = 1.0  # instead of 29
LONG = script(chunks=60, rate=30)  # 2 s


def silent(_: str) -> None:
    pass


async def frames_until_end(socket: ClientConnection) -> list[dict[str, Any]]:
    frames: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE):
        while not frames or frames[-1].get("type") not in ("done", "error"):
            frames.append(json.loads(await socket.recv()))
            SERVER.validate(frames[-1])
    return frames


def test_an_answer_outlives_the_integration_timeout() -> None:
    """Asynchronous invocation: longer than API Gateway waits, and the client sees nothing of it."""

    async def main() -> None:
        limits = Limits(integration=INTEGRATION_SECONDS)
        stack = Stack(limits=limits, say=silent, log=silent)
        async with stack, connect(stack.url) as socket:
            await socket.send(LONG)
            frames = await frames_until_end(socket)
        assert "w " * 60 == text(frames)
        assert ["done"] == [frame["type"] for frame in frames if frame["type"] == "done"]
        assert list(range(len(frames))) == [frame["seq"] for frame in frames]

    asyncio.run(main())


def test_a_synchronous_answer_is_told_of_the_timeout_and_goes_on() -> None:
    """By proxy integration API Gateway adds its own error frame; the answer itself is unharmed."""

    async def main() -> None:
        limits = Limits(integration=INTEGRATION_SECONDS)
        stack = Stack(limits=limits, chat_integration="proxy", say=silent, log=silent)
        async with stack, connect(stack.url) as socket:
            await socket.send(LONG)
            frames = await frames_until_end(socket)
        own = [frame for frame in frames if "type" not in frame]
        ours = [frame for frame in frames if "type" in frame]
        assert ["Endpoint request timed out"] == [frame["message"] for frame in own]
        assert "w " * 60 == text(ours)
        assert list(range(len(ours))) == [frame["seq"] for frame in ours]

    asyncio.run(main())


def test_an_answer_survives_an_idle_disconnect() -> None:
    """The connection is closed as idle; what was said is there for who joins the session again."""

    async def main() -> None:
        limits = Limits(idle=0.5, sweep=0.1)
        session_id = secrets.token_hex(8)
        async with Stack(limits=limits, say=silent, log=silent) as stack:
            url = f"{stack.url}?session_id={session_id}"
            async with connect(url) as socket:
                await socket.send("hello")
                await frames_until_end(socket)
                async with asyncio.timeout(PATIENCE):
                    await socket.wait_closed()
            async with connect(url) as socket:
                await socket.send('{"action":"history"}')
                frames = await frames_until_end(socket)
        assert ["You said: hello"] == [turn["assistant"] for turn in frames[0]["turns"]]

    asyncio.run(main())


def test_the_function_ends_before_lambda_ends_it() -> None:
    """The deadline guard, under a real Lambda timeout: sent, saved, and the session is usable."""

    async def main() -> None:
        # One second of the function's 300 is for streaming.
        environment = {"DEADLINE_SECONDS": "299"}
        stack = Stack(environment=environment, function_timeout=300.0, say=silent, log=silent)
        async with stack, connect(stack.url) as socket:
            await socket.send(script(chunks=1000, rate=50))
            frames = await frames_until_end(socket)
            await socket.send("still here")
            again = await frames_until_end(socket)
        assert "deadline" == frames[-1]["stop_reason"]
        assert 0 < len(text(frames)) < 2 * 1000
        assert "You said: still here" == text(again)

    asyncio.run(main())

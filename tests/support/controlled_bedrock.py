"""A Bedrock endpoint that streams only as many words as a test allows, in a thread of this process.

Rules
- A call is recognised by its system prompt, the key in `ControlledModel.answers`.
- An answer waits before each word, and before its end, until a test allows it.
"""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from local.bedrock.models import Model
from local.bedrock.pieces import End, Fault, Piece, Prompt, Text
from local.bedrock.server import Endpoint

INPUT_TOKENS = 7


@dataclass(eq=False)
class ControlledAnswer:
    """One answer: its words, how many of them may be sent by now, and how it ends.

    The end counts as a word too. `requests` are the bodies of the calls; `fault` is how the stream
    breaks after the last word, if it does. `sent` counts the words sent so far.
    """

    words: tuple[str, ...]
    allowed: int
    stop_reason: str = "end"
    fault: Fault | None = None
    requests: list[Any] = field(default_factory=list)
    sent: int = 0
    _loop: asyncio.AbstractEventLoop | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def total(self) -> int:
        """The number of words, with the end."""
        return len(self.words) + 1

    def allow(self, count: int) -> None:
        """Lets the answer continue up to this many words."""
        self.allowed = count
        if self._loop:
            self._loop.call_soon_threadsafe(self._changed.set)

    async def pieces(self, body: str) -> AsyncGenerator[Piece, None]:
        self._loop = asyncio.get_running_loop()
        self.requests.append(json.loads(body))
        for word in self.words:
            await self._wait()
            self.sent += 1
            yield Text(word)
        await self._wait()
        yield self.fault or End(self.stop_reason, INPUT_TOKENS, len(self.words))

    async def _wait(self) -> None:
        while self.allowed <= self.sent:
            self._changed.clear()
            await self._changed.wait()


@dataclass(eq=False)
class ControlledModel:
    """A `Model` (see `local/bedrock/models.py`) with such answers, by system prompt."""

    answers: dict[str, ControlledAnswer] = field(default_factory=dict)

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def answer(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        return self.answers[prompt.system].pieces(prompt.body)


@contextmanager
def serving(model: Model) -> Iterator[str]:
    """Serves a model; yields the endpoint's URL."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(
        Endpoint(model).application(),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=0.1,
    )

    async def serve() -> str:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(serve(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

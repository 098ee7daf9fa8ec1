"""A Bedrock that says no more than a test allows: the local endpoint, in a thread of this process.

Rules
- Whose call it is stands in its system prompt: `speeches` is asked for what is said to whom.
- A speech holds before each word, and before its end, until it is allowed.
"""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from local.bedrock.pieces import End, Fault, Piece, Prompt, Text
from local.bedrock.server import Endpoint

INPUT_TOKENS = 7


@dataclass(eq=False)
class Speech:
    """One answer: its words, how many of them may be said by now, and what came of it.

    The end counts as a word too. `asked` are the requests, one for each call; `fault` is how the
    stream breaks after the last word, where it does.
    """

    words: tuple[str, ...]
    allowed: int
    stop_reason: str = "end"
    fault: Fault | None = None
    asked: list[Any] = field(default_factory=list)
    said: int = 0
    _loop: asyncio.AbstractEventLoop | None = None
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def all(self) -> int:
        """As many as there are, with the end."""
        return len(self.words) + 1

    def allow(self, count: int) -> None:
        """Lets it say so many words."""
        self.allowed = count
        if self._loop:
            self._loop.call_soon_threadsafe(self._moved.set)

    async def pieces(self, body: str) -> AsyncGenerator[Piece, None]:
        self._loop = asyncio.get_running_loop()
        self.asked.append(json.loads(body))
        for word in self.words:
            await self._next()
            self.said += 1
            yield Text(word)
        await self._next()
        yield self.fault or End(self.stop_reason, INPUT_TOKENS, len(self.words))

    async def _next(self) -> None:
        while self.allowed <= self.said:
            self._moved.clear()
            await self._moved.wait()


@dataclass(eq=False)
class Gated:
    """A `Model` (see `local/bedrock/models.py`) of such speeches."""

    speeches: dict[str, Speech] = field(default_factory=dict)

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def answer(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        return self.speeches[prompt.system].pieces(prompt.body)


@contextmanager
def gated(model: Gated) -> Iterator[str]:
    """The endpoint's URL."""
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

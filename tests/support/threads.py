"""Something asynchronous, held open in a thread of its own while the tests use it."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

from support.e2e_clients import PATIENCE

T = TypeVar("T")


@contextmanager
def in_a_thread(opening: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """What `opening` gives, in an event loop of its own. Raises why it does not start."""
    started: Future[T] = Future()
    over = threading.Event()

    async def hold() -> None:
        try:
            async with opening as opened:
                started.set_result(opened)
                await asyncio.to_thread(over.wait)
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=asyncio.run, args=(hold(),))
    thread.start()
    try:
        yield started.result(4 * PATIENCE)
    finally:
        over.set()
        thread.join()

"""A Bedrock client that a test sees through: how far an answer has been read, and no further."""

import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

from support.lambda_environments import PATIENCE


class Reading:
    """A Bedrock client of one answer at a time, of which a test sees how far it was read.

    Its chunks are Claude's. They are read as they come or, after `pause`, only as many with text as
    `allow` says.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._stream: Any = None
        self._reader: SimpleQueue[threading.Thread] = SimpleQueue()
        self._allowed: threading.Semaphore | None = None
        self._waits = threading.Semaphore(0)

    def pause(self) -> None:
        """Reads no more text than `allow` says."""
        self._allowed = threading.Semaphore(0)

    def allow(self, chunks: int) -> None:
        """Reads so many chunks of text more; returns when they have been passed on."""
        assert self._allowed is not None
        for _ in range(chunks):
            assert self._waits.acquire(timeout=PATIENCE)
            self._allowed.release()
        assert self._waits.acquire(timeout=PATIENCE)
        self._waits.release()

    def resume(self) -> None:
        """Reads the rest of the chunks as they come."""
        allowed, self._allowed = self._allowed, None
        assert allowed is not None
        allowed.release()

    def wait_for_end(self) -> None:
        """Waits until the whole answer was read, and its reader has ended."""
        reader = self._reader.get(timeout=PATIENCE)
        reader.join(PATIENCE)
        assert not reader.is_alive()

    # -- as the function uses it, in the reader's thread

    def invoke_model_with_response_stream(self, **request: Any) -> Any:
        self._reader.put(threading.current_thread())
        response = self._client.invoke_model_with_response_stream(**request)
        self._stream = response["body"]
        return {**response, "body": self}

    def __iter__(self) -> Iterator[Any]:
        for chunk in self._stream:
            if (allowed := self._allowed) and b"text_delta" in chunk["chunk"]["bytes"]:
                self._waits.release()
                allowed.acquire(timeout=PATIENCE)
            yield chunk
        self._waits.release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

"""One question and its answer, for pipes and scripts.

Rules
- Standard output gets the answer's text alone, as it arrives, as the model wrote it; with `as_json`
  the frames, a line each. All else goes to standard error.
- Where the output is a terminal, the text is disarmed, and what in a frame would be, escaped. A
  program that reads it gets all of it.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import aclosing, suppress

from bedrock_chat import words
from bedrock_chat.connection import Link, LostError, RefusedError
from bedrock_chat.disarm import disarm, escaped
from bedrock_chat.exits import Exit
from bedrock_chat.listening import listen
from bedrock_chat.protocol import Exchange, Frame, written

STOP_SECONDS = 10.0  # an answer that is stopped ends within two


async def ask(link: Link, question: Frame, *, as_json: bool) -> Exit:
    """Asks, and passes the answer on. Raises as `listen` does; BrokenPipeError if nobody reads."""
    exchange = Exchange(question)
    said = _Output(as_json=as_json)
    try:
        status = await listen(link, exchange, said.hear)
    except BrokenPipeError:  # nobody reads what would be paid for
        exchange.stop()
        with suppress(TimeoutError, LostError, RefusedError):
            async with asyncio.timeout(STOP_SECONDS), aclosing(link.talk(exchange)) as rest:
                # Until its end: a stop that a closing connection overtakes may count for nothing.
                async for _ in rest:
                    pass
        raise
    said.close()
    return status


class _Output:
    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._safe: Callable[[str], str] = str
        if sys.stdout.isatty():
            self._safe = escaped if as_json else disarm
        self._last = "\n"

    def hear(self, frame: Frame) -> None:
        """Passes a frame on."""
        if self._as_json:
            self._write(self._safe(written(frame)) + "\n")
        match frame:
            case {"type": "delta", "text": str(text)} if not self._as_json:
                self._write(self._safe(text))
            case {"type": "error"}:
                self.close()
                say(words.failure(frame, anew="--session with another id"))
            case {"type": "done"}:
                self.close()
                say(words.why_ended(frame))
            case _:
                pass

    def close(self) -> None:
        """Ends the last line, as a file of text ends."""
        if not self._last.endswith("\n"):
            self._write("\n")

    def _write(self, text: str) -> None:
        self._last = text
        sys.stdout.write(text)
        sys.stdout.flush()


def say(text: str) -> None:
    """Tells a person, where there is something to tell."""
    if text:
        sys.stderr.write(f"bedrock-chat: {text}\n")

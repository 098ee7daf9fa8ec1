"""One question and its answer, without a prompt: for pipes and scripts.

Rules
- Standard output receives only the answer's text, as the model wrote it and while it arrives; with
  `as_json`, the frames, one per line. Everything else goes to standard error.
- If standard output is a terminal, text is sanitized and JSON is escaped. A program that reads the
  output receives it unchanged.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import aclosing, suppress

from bedrock_chat import messages
from bedrock_chat.connection import AccessDeniedError, Connection, ConnectionLostError
from bedrock_chat.exit_codes import ExitCode
from bedrock_chat.interruptible import receive_all
from bedrock_chat.protocol import Exchange, Frame, encode
from bedrock_chat.sanitize import escape_json, sanitize

STOP_SECONDS = 10.0  # the server ends a stopped answer within two


async def ask(connection: Connection, question: Frame, *, as_json: bool) -> ExitCode:
    """Send the question and print its answer.

    Raises as `receive_all` does; BrokenPipeError if the reader of standard output closed it.
    """
    exchange = Exchange(question)
    output = _Output(as_json=as_json)
    try:
        status = await receive_all(connection, exchange, output.write_frame)
    except BrokenPipeError:  # without a stop, the rest of the answer would still be billed
        exchange.stop()
        with suppress(TimeoutError, ConnectionLostError, AccessDeniedError):
            async with asyncio.timeout(STOP_SECONDS), aclosing(connection.stream(exchange)) as rest:
                # To its end: if the connection closed first, the server might not see the stop.
                async for _ in rest:
                    pass
        raise
    output.end_line()
    return status


class _Output:
    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._filter: Callable[[str], str] = str
        if sys.stdout.isatty():
            self._filter = escape_json if as_json else sanitize
        self._last = "\n"

    def write_frame(self, frame: Frame) -> None:
        """Write what a frame adds to standard output, and how the answer ended to stderr."""
        if self._as_json:
            self._write(self._filter(encode(frame)) + "\n")
        match frame:
            case {"type": "delta", "text": str(text)} if not self._as_json:
                self._write(self._filter(text))
            case {"type": "error"}:
                self.end_line()
                print_status(messages.error_text(frame, new_session="--session and another id"))
            case {"type": "done"}:
                self.end_line()
                print_status(messages.stop_text(frame))
            case _:
                pass

    def end_line(self) -> None:
        """Write a line feed unless the last line has one, as text files end."""
        if not self._last.endswith("\n"):
            self._write("\n")

    def _write(self, text: str) -> None:
        self._last = text
        sys.stdout.write(text)
        sys.stdout.flush()


def print_status(text: str) -> None:
    """Write the text, unless empty, to standard error."""
    if text:
        sys.stderr.write(f"bedrock-chat: {text}\n")

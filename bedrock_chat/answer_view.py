"""Shows an answer on a terminal while it arrives.

Rules
- Finished blocks are written once; only the unfinished block and a status line below it are redrawn
  (`live_region`).
- A terminal that cannot move its cursor receives the text as it arrives, and nothing twice.

Does not know where frames come from.
"""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console

from bedrock_chat import messages, rendering
from bedrock_chat.blocks import Block, BlockParser
from bedrock_chat.live_region import LiveRegion
from bedrock_chat.protocol import Frame
from bedrock_chat.rendering import Line, client_text
from bedrock_chat.sanitize import sanitize

WAITING = "…"
# Minimum seconds between two redraws. The pause is also never shorter than the last redraw took, so
# that at most half of the time is spent drawing.
PAUSE_SECONDS = 0.03


class ReasoningLines:
    """Splits reasoning text into lines; the same interface as `BlockParser`, without Markdown."""

    def __init__(self) -> None:
        self.tail = Block("", continued=True)

    def add(self, text: str) -> list[Block]:
        """Return the lines that this text finished."""
        finished, newline, partial = (self.tail.text + text).rpartition("\n")
        self.tail = Block(partial, continued=True)
        return [Block(finished, continued=True)] if newline else []

    def end(self) -> list[Block]:
        """Return the unfinished line, if any."""
        last, self.tail = self.tail, Block("", continued=True)
        return [last] if last.text else []


# How each frame type's text is split and drawn.
STYLES: dict[
    str, tuple[type[BlockParser | ReasoningLines], Callable[[Console, str], list[Line]]]
] = {
    "delta": (BlockParser, rendering.markdown),
    "reasoning": (ReasoningLines, rendering.reasoning),
}


class AnswerView:
    """A context manager. On exit, all text is committed and the cursor is on a row of its own."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._region = LiveRegion(console)
        self._type = "delta"
        self._blocks: BlockParser | ReasoningLines = BlockParser()
        self._has_output = False  # whether the next block needs an empty line above it
        self._waiting = True  # until the first text arrives
        self._status = ""
        self._pause = PAUSE_SECONDS
        self._redraw: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._console.show_cursor(show=False)
        self._draw()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._cancel_redraw()
        self._commit(self._blocks.end())
        self._region.commit([])
        self._console.show_cursor(show=True)

    def show_frame(self, frame: Frame) -> None:
        """Show a frame's text, or how the answer ended."""
        match frame:
            case {"type": "delta" | "reasoning" as kind, "text": str(text)}:
                self._add(kind, sanitize(text))
            case {"type": "done"}:
                self._finish(messages.answer_footer(frame), "chat.secondary")
            case {"type": "error"}:
                self._finish(messages.error_text(frame), "chat.error")
            case _:
                pass

    def show_status(self, status: str) -> None:
        """Show a status line below the text; an empty one removes it."""
        self._status = status
        self._draw_soon()

    def _add(self, kind: str, text: str) -> None:
        self._waiting = False
        if kind != self._type:
            self._commit(self._blocks.end())
            self._type, self._blocks = kind, STYLES[kind][0]()
        finished = self._blocks.add(text)
        self._commit(finished)
        if finished:  # they replaced the tail: redraw it at once, so that it does not flicker
            self._draw()
        else:
            self._draw_soon()

    def _finish(self, line: str, style: str) -> None:
        self._commit(self._blocks.end())
        self._region.commit(self._spaced(rendering.lines(self._console, client_text(line, style))))

    def _commit(self, finished: list[Block]) -> None:
        for block in finished:
            self._region.commit(self._rendered(block))
            self._has_output = True

    def _draw_soon(self) -> None:
        """Schedule one redraw for everything that arrives until then."""
        if self._redraw is None:
            self._redraw = asyncio.get_running_loop().call_later(self._pause, self._draw)

    def _draw(self) -> None:
        began = time.monotonic()
        self._cancel_redraw()
        tail = self._rendered(self._blocks.tail)
        status = self._status or (WAITING if self._waiting else "")
        below = rendering.lines(self._console, client_text(status)) if status else []
        self._region.update(tail + (below if tail else self._spaced(below)))
        self._pause = max(PAUSE_SECONDS, time.monotonic() - began)

    def _cancel_redraw(self) -> None:
        if self._redraw:
            self._redraw.cancel()
        self._redraw = None

    def _rendered(self, block: Block) -> list[Line]:
        lines = STYLES[self._type][1](self._console, block.text)
        return lines if block.continued else self._spaced(lines)

    def _spaced(self, lines: list[Line]) -> list[Line]:
        return [Line("", 0), *lines] if lines and self._has_output else lines


class PlainView:
    """The same interface for a terminal whose cursor cannot move: the text as it arrives."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._console.file.flush()

    def show_frame(self, frame: Frame) -> None:
        """Write a frame's text, or how the answer ended."""
        match frame:
            case {"type": "delta" | "reasoning", "text": str(text)}:
                self._console.file.write(sanitize(text))
            case {"type": "done"}:
                self._console.file.write(f"\n{messages.answer_footer(frame)}\n")
            case {"type": "error"}:
                self._console.file.write(f"\n{messages.error_text(frame)}\n")
            case _:
                pass
        self._console.file.flush()

    def show_status(self, status: str) -> None:
        """Write the status, unless empty, on a line of its own."""
        if status:
            self._console.file.write(f"\n[{status}]\n")


def view_for(console: Console) -> AnswerView | PlainView:
    """Return the view that the terminal supports."""
    return PlainView(console) if console.is_dumb_terminal else AnswerView(console)

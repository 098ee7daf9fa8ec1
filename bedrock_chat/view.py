"""An answer on a terminal, as it arrives.

Rules
- Finished blocks are written once; only the unfinished one, and a line of state below it, are drawn
  again (`screen`).
- A terminal that cannot move its cursor gets the words as they come, and nothing twice.

Does not know where frames come from.
"""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console

from bedrock_chat import rendering, words
from bedrock_chat.blocks import Block, Blocks
from bedrock_chat.disarm import disarm
from bedrock_chat.protocol import Frame
from bedrock_chat.rendering import Line, aside
from bedrock_chat.screen import Screen

WAITING = "…"
# Between two drawings; and no more than half of the time is spent on them.
PAUSE_SECONDS = 0.03


class Thoughts:
    """What the model thinks aloud: as `Blocks`, but its lines are no Markdown."""

    def __init__(self) -> None:
        self.tail = Block("", joined=True)

    def add(self, text: str) -> list[Block]:
        """The lines that this text finished."""
        whole, newline, partial = (self.tail.text + text).rpartition("\n")
        self.tail = Block(partial, joined=True)
        return [Block(whole, joined=True)] if newline else []

    def end(self) -> list[Block]:
        """What is left."""
        left, self.tail = self.tail, Block("", joined=True)
        return [left] if left.text else []


# How each kind of text is taken apart and drawn.
KINDS: dict[str, tuple[type[Blocks | Thoughts], Callable[[Console, str], list[Line]]]] = {
    "delta": (Blocks, rendering.markdown),
    "reasoning": (Thoughts, rendering.thought),
}


class Answer:
    """A context: on leaving it, what was said stays, and the cursor is in a row of its own."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._screen = Screen(console)
        self._kind = "delta"
        self._blocks: Blocks | Thoughts = Blocks()
        self._begun = False  # whether something was written that needs space below it
        self._silent = True  # whether nothing was said yet
        self._state = ""
        self._pause = PAUSE_SECONDS
        self._drawing: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._console.show_cursor(show=False)
        self._show()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._cancel()
        self._keep(self._blocks.end())
        self._screen.keep([])
        self._console.show_cursor(show=True)

    def hear(self, frame: Frame) -> None:
        """Shows what a frame says."""
        match frame:
            case {"type": "delta" | "reasoning" as kind, "text": str(text)}:
                self._add(kind, disarm(text))
            case {"type": "done"}:
                self._close(words.closing(frame), "chat.aside")
            case {"type": "error"}:
                self._close(words.failure(frame), "chat.error")
            case _:
                pass

    def say(self, state: str) -> None:
        """The state of things, below what was said so far; empty: nothing to say."""
        self._state = state
        self._show_soon()

    def _add(self, kind: str, text: str) -> None:
        self._silent = False
        if kind != self._kind:
            self._keep(self._blocks.end())
            self._kind, self._blocks = kind, KINDS[kind][0]()
        finished = self._blocks.add(text)
        self._keep(finished)
        if finished:  # which took the place of the tail: it is not to be gone for a moment
            self._show()
        else:
            self._show_soon()

    def _close(self, line: str, style: str) -> None:
        self._keep(self._blocks.end())
        self._screen.keep(self._spaced(rendering.lines(self._console, aside(line, style))))

    def _keep(self, finished: list[Block]) -> None:
        for block in finished:
            self._screen.keep(self._drawn(block))
            self._begun = True

    def _show_soon(self) -> None:
        """Draws the tail, once for all that comes until then."""
        if self._drawing is None:
            self._drawing = asyncio.get_running_loop().call_later(self._pause, self._show)

    def _show(self) -> None:
        began = time.monotonic()
        self._cancel()
        tail = self._drawn(self._blocks.tail)
        said = self._state or (WAITING if self._silent else "")
        state = rendering.lines(self._console, aside(said)) if said else []
        self._screen.show(tail + (state if tail else self._spaced(state)))
        self._pause = max(PAUSE_SECONDS, time.monotonic() - began)

    def _cancel(self) -> None:
        if self._drawing:
            self._drawing.cancel()
        self._drawing = None

    def _drawn(self, block: Block) -> list[Line]:
        made = KINDS[self._kind][1](self._console, block.text)
        return made if block.joined else self._spaced(made)

    def _spaced(self, made: list[Line]) -> list[Line]:
        return [Line("", 0), *made] if made and self._begun else made


class Plain:
    """The same where the cursor cannot move, or nobody looks: the words, as they come."""

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

    def hear(self, frame: Frame) -> None:
        """Shows what a frame says."""
        match frame:
            case {"type": "delta" | "reasoning", "text": str(text)}:
                self._console.file.write(disarm(text))
            case {"type": "done"}:
                self._console.file.write(f"\n{words.closing(frame)}\n")
            case {"type": "error"}:
                self._console.file.write(f"\n{words.failure(frame)}\n")
            case _:
                pass
        self._console.file.flush()

    def say(self, state: str) -> None:
        """The state of things, in a line."""
        if state:
            self._console.file.write(f"\n[{state}]\n")


def answer(console: Console) -> Answer | Plain:
    """The view that suits the terminal."""
    return Plain(console) if console.is_dumb_terminal else Answer(console)

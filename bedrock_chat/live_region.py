"""The last rows of the terminal's contents, which may still be redrawn.

Rules
- Committed lines are written once, stay where they are, and scroll away with everything above.
- Only the live region is redrawn, from the first line that differs: nothing flickers, and one more
  word costs one line. Of a region taller than the terminal only the last lines are shown; all of it
  is written when it is committed.
- Each redraw is one write.

Does not know what the lines mean. It assumes that a terminal made narrower wraps its lines again,
as most terminals do.
"""

from collections.abc import Sequence

from rich.console import Console

from bedrock_chat.rendering import Line

# The cursor's row, and one for a terminal that has just been made lower.
SPARE_ROWS = 2
# Erase to the right of the cursor. Erasing the whole region at once would be shorter, but tmux
# copies a screen that is cleared from its first row on to the scrollback.
ERASE_RIGHT = "\x1b[K"


class LiveRegion:
    """The lines now drawn on the terminal; the cursor is in the row below them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._drawn: list[Line] = []

    def commit(self, lines: Sequence[Line]) -> None:
        """Replace the region with these lines for good."""
        self._draw(list(lines))
        self._drawn = []

    def update(self, lines: Sequence[Line]) -> None:
        """Redraw the region with these lines."""
        rows_left = max(1, self._console.height - SPARE_ROWS)
        visible: list[Line] = []
        for line in reversed(lines):
            rows_left -= self._rows(line)
            if rows_left < 0 and visible:
                break
            visible.insert(0, line)
        self._draw(visible)

    def _draw(self, lines: list[Line]) -> None:
        same = 0
        while same < min(len(lines), len(self._drawn)) and lines[same] == self._drawn[same]:
            same += 1
        rows = sum(map(self._rows, self._drawn[same:]))
        leftover = max(0, rows - sum(map(self._rows, lines[same:])))
        text = "".join(
            [
                f"\x1b[{rows}A\r" if rows else "",
                *(f"{line.text}{ERASE_RIGHT}\n" for line in lines[same:]),
                f"{ERASE_RIGHT}\n" * leftover,
                f"\x1b[{leftover}A" if leftover else "",
            ]
        )
        if text:
            self._console.file.write(text)
            self._console.file.flush()
        self._drawn = lines

    def _rows(self, line: Line) -> int:
        """Return how many rows the line takes at the terminal's current width."""
        return max(1, -(-line.cells // max(1, self._console.width)))

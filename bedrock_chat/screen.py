"""The end of the terminal's contents that may still change.

Rules
- What is kept is written once, stays where it is, and scrolls away with all that came before.
- Only the tail is drawn again, from the first line that differs: nothing flickers, and a word more
  costs a line. Of a tail that is taller than the terminal its last lines are shown; all of it is
  written when it is kept.
- Each drawing is one write.

Does not know what the lines say. Where a terminal is made narrower, it takes the lines to wrap, as
most terminals have them do.
"""

from collections.abc import Sequence

from rich.console import Console

from bedrock_chat.rendering import Line

# The row of the cursor, and one for a terminal that was just made lower.
SPARE_ROWS = 2
# To the right of the cursor. All of it at once would be shorter, but tmux takes a screen that is
# cleared from its first row on for contents that are to be kept, and copies them to the scrollback.
CLEAR_ROW = "\x1b[K"


class Screen:
    """A terminal, and the lines of the tail that are on it; the cursor is in the row below."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._drawn: list[Line] = []

    def keep(self, lines: Sequence[Line]) -> None:
        """These lines take the tail's place for good."""
        self._draw(list(lines))
        self._drawn = []

    def show(self, lines: Sequence[Line]) -> None:
        """These lines are the tail now."""
        room = max(1, self._console.height - SPARE_ROWS)
        shown: list[Line] = []
        for line in reversed(lines):
            room -= self._rows(line)
            if room < 0 and shown:
                break
            shown.insert(0, line)
        self._draw(shown)

    def _draw(self, lines: list[Line]) -> None:
        same = 0
        while same < min(len(lines), len(self._drawn)) and lines[same] == self._drawn[same]:
            same += 1
        rows = sum(map(self._rows, self._drawn[same:]))
        left = max(0, rows - sum(map(self._rows, lines[same:])))
        text = "".join(
            [
                f"\x1b[{rows}A\r" if rows else "",
                *(f"{line.written}{CLEAR_ROW}\n" for line in lines[same:]),
                f"{CLEAR_ROW}\n" * left,
                f"\x1b[{left}A" if left else "",
            ]
        )
        if text:
            self._console.file.write(text)
            self._console.file.flush()
        self._drawn = lines

    def _rows(self, line: Line) -> int:
        """How many rows the line takes, at the width that the terminal has now."""
        return max(1, -(-line.cells // max(1, self._console.width)))

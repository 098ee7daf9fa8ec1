"""Time that passes when a test says so."""

import time

import pytest


class ShiftedClock:
    """Replaces `time.monotonic` and `time.sleep`: sleeping takes no time, but moves the clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead = 0.0
        real = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: real() + self._ahead)
        monkeypatch.setattr(time, "sleep", self.advance)

    def advance(self, seconds: float) -> None:
        """Moves the clock forward."""
        self._ahead += seconds

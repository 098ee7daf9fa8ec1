"""Shared by the tests of the store: turns, claims and listeners with defaults, error codes."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from errors import ChatError
from memory import Turn
from store.leases import Claim, Lease, Leases, Listener


def turn(number: int = 1, user: str = "q", assistant: str = "a", **more: Any) -> Turn:
    """A complete turn, but for `more`."""
    values = {"request_id": f"r{number}", "state": "complete", "tokens": 10, "created_at": 1}
    return Turn(number=number, user=user, assistant=assistant, **{**values, **more})


def claim(number: int = 1, **more: Any) -> Claim:
    """The claim of request `r<number>` for session `s`, received at second `number`."""
    values = {
        "session_id": "s",
        "principal": "me",
        "quota_subject": "me",
        "request_id": f"r{number}",
        "event_id": f"e{number}",
        "requested_at": 1000 * number,
        "question": "q",
        "tokens": 100,
    }
    return Claim(**{**values, **more})


def listener(event_id: str = "e9", requested_at: int = 9000) -> Listener:
    """A listener on connection `c9=` that wants every frame."""
    return Listener(event_id, requested_at, "c9=", "events", 0)


def acquire_without_release(leases: Leases, number: int = 1, **more: Any) -> Lease:
    """The lease of a Lambda that still runs, or that crashed right after it acquired it."""
    lease = Lease("s", f"r{number}", f"token of r{number}")
    assert leases._try_acquire(claim(number, **more), lease) is None
    return lease


class Clock:
    """Replaces `time.monotonic` and `time.sleep`: only sleeping moves it, and takes no time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        """Moves the clock."""
        self.now += seconds
        self.slept.append(seconds)


def code_of(attempt: Callable[[], object]) -> str:
    """The code of the error that `attempt` raises."""
    with pytest.raises(ChatError) as refused:
        attempt()
    return refused.value.code


def in_seconds(seconds: float) -> float:
    """A deadline of `time.monotonic`."""
    return time.monotonic() + seconds

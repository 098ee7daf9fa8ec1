"""The deadlines of a turn; `tests/test_handler_turns.py` has the turns themselves."""

from typing import Any

import pytest

from settings import load
from turn import Deadlines
from wire.websocket_event import WebSocketEvent


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 100_000


@pytest.mark.parametrize("seconds", [0.1, 1.0, 1.6, 2.0, 10.0, 50.0])
def test_deadlines_come_in_the_order_of_a_turns_steps(seconds: float) -> None:
    """The stream ends first, then deltas, then the save: however short DEADLINE_SECONDS is."""
    meta: dict[str, Any] = {"eventType": "MESSAGE", "connectionId": "c=", "requestId": "e"}
    raw = {"requestContext": {**meta, "apiId": "a", "stage": "prod"}}
    event = WebSocketEvent.of(raw, Context())
    settings = load({"TABLE_NAME": "chat", "DEADLINE_SECONDS": str(seconds)})

    deadlines = Deadlines.of(event, settings)

    assert event.deadline - seconds == pytest.approx(deadlines.stream)
    assert deadlines.stream < deadlines.posts <= deadlines.save < event.deadline

"""Covers bench/first_frame.py: the event that it sends."""

import json

import pytest

from bench.first_frame import QUESTION, event
from wire.websocket_event import WebSocketEvent


class LambdaContext:
    def get_remaining_time_in_millis(self) -> int:
        return 1000


@pytest.mark.parametrize("kind", ["CONNECT", "MESSAGE"])
def test_its_events_are_understood_by_the_function(kind: str) -> None:
    """A function that refuses an event posts nothing, so nothing would be measured."""
    understood = WebSocketEvent.of(json.loads(event(kind, 1)), LambdaContext())

    assert (kind, QUESTION) == (understood.event_type, understood.body)

"""Covers the check of a stream's frames."""

from typing import Any

import pytest

from bench.scale import faults

COMPLETE = [
    {"type": "start", "seq": 0, "request_id": "r"},
    {"type": "delta", "seq": 1, "request_id": "r", "text": "a b"},
    {"type": "delta", "seq": 2, "request_id": "r", "text": " c"},
    {"type": "done", "seq": 3, "request_id": "r"},
]


def test_a_complete_answer_has_no_fault() -> None:
    """In order, without gaps, with one end and the complete text."""
    assert [] == faults(COMPLETE, "a b c")


@pytest.mark.parametrize(
    "frames",
    [
        COMPLETE[:-1],
        [*COMPLETE, COMPLETE[-1]],
        [COMPLETE[0], COMPLETE[2], COMPLETE[1], COMPLETE[3]],
        [COMPLETE[0], COMPLETE[1], COMPLETE[3]],
        [COMPLETE[0], COMPLETE[1], COMPLETE[1], COMPLETE[2], COMPLETE[3]],
        [*COMPLETE[:-1], {**COMPLETE[-1], "request_id": "other"}],
        [COMPLETE[0], {**COMPLETE[1], "text": "x"}, *COMPLETE[2:]],
        [*COMPLETE[:-1], {"type": "error", "seq": 3, "request_id": "r", "code": "internal"}],
        [],
    ],
)
def test_a_fault_in_the_frames_is_reported(frames: list[dict[str, Any]]) -> None:
    """Lost, duplicated, out of order, of another request, with another text, or no frames."""
    assert faults(frames, "a b c")

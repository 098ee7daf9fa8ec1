"""How a stream's frames are judged."""

from typing import Any

import pytest

from bench.scale import faults

WHOLE = [
    {"type": "start", "seq": 0, "request_id": "r"},
    {"type": "delta", "seq": 1, "request_id": "r", "text": "a b"},
    {"type": "delta", "seq": 2, "request_id": "r", "text": " c"},
    {"type": "done", "seq": 3, "request_id": "r"},
]


def test_a_whole_answer_has_no_fault() -> None:
    """In order, gapless, one end, the whole text."""
    assert [] == faults(WHOLE, "a b c")


@pytest.mark.parametrize(
    "frames",
    [
        WHOLE[:-1],
        [*WHOLE, WHOLE[-1]],
        [WHOLE[0], WHOLE[2], WHOLE[1], WHOLE[3]],
        [WHOLE[0], WHOLE[1], WHOLE[3]],
        [WHOLE[0], WHOLE[1], WHOLE[1], WHOLE[2], WHOLE[3]],
        [*WHOLE[:-1], {**WHOLE[-1], "request_id": "other"}],
        [WHOLE[0], {**WHOLE[1], "text": "x"}, *WHOLE[2:]],
        [*WHOLE[:-1], {"type": "error", "seq": 3, "request_id": "r", "code": "internal"}],
        [],
    ],
)
def test_a_fault_is_seen(frames: list[dict[str, Any]]) -> None:
    """Lost, doubled, out of order, of another request, of another text, none at all."""
    assert faults(frames, "a b c")

"""The soak, for a few seconds: `make soak` is the real one."""

import asyncio
import json
import subprocess
import sys
from collections import Counter

import pytest
from support.e2e_clients import PATIENCE, ROOT

from bench.soak import Order, ReceivedFrames, SimulatedClient, WrongError


def frame(seq: int, kind: str = "delta", **more: str) -> dict[str, object]:
    return {"type": kind, "request_id": "r", "seq": seq, **more}


# Among the first questions of these eight clients are all four kinds, and one of them drops its
# connection at the first frame; the others may come too late for that.
SHORT = {"--conversations": 8, "--answers": 2, "--seconds": 0, "--speed": 10, "--seed": 562}


@pytest.mark.timeout(8 * PATIENCE)
def test_each_client_asks_once_and_every_frame_and_history_agrees() -> None:
    """Answers of all kinds, a drop and a resume at least; what was received is what is stored."""
    options = [str(each) for option in SHORT.items() for each in option]
    done = subprocess.run(
        [sys.executable, "-m", "bench.soak", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=6 * PATIENCE,
    )

    assert done.stdout.endswith("nothing was wrong\n"), done.stdout + done.stderr
    assert 0 == done.returncode
    printed = dict(line.rsplit(None, 1) for line in done.stdout.splitlines() if line[:2] == "  ")
    assert "8" == printed["  conversations that agree"]
    assert "8" == printed["  turns"]
    assert {"  ended: end_turn", "  ended: model_error", "  drops", "  resumes"} <= set(printed)


@pytest.mark.parametrize(
    "frames",
    [
        [frame(0, "start"), frame(2)],
        [frame(1)],
        [frame(0, "start"), frame(0)],
        [frame(0, "done"), frame(1)],
        [frame(0, "done"), frame(0, "error")],
    ],
    ids=["gap", "no start", "doubled", "after the end", "two ends"],
)
def test_frames_that_are_wrong(frames: list[dict[str, object]]) -> None:
    """The soak would see it."""
    received = ReceivedFrames("r")
    with pytest.raises(WrongError):  # noqa: PT012 - the last of them is the wrong one
        for each in frames:
            received.take(each)


@pytest.mark.parametrize(
    ("text", "end", "fails"),
    [
        ("a a ", {"type": "done", "stop_reason": "end_turn"}, False),
        ("a a a a ", {"type": "done", "stop_reason": "end_turn"}, False),
        ("b", {"type": "done", "stop_reason": "stopped"}, False),
        ("a a a ", {"type": "error", "code": "model_error"}, False),
        ("a a a ", {"type": "done", "stop_reason": "end_turn"}, True),
        ("a ", {"type": "error", "code": "internal"}, True),
    ],
    ids=json.dumps,
)
def test_answers_that_are_wrong(text: str, end: dict[str, str], fails: bool) -> None:
    """What is lost, doubled, of another request, or ends wrongly, is reported."""
    simulated_client = SimulatedClient("ws://x", 1, Counter(), asyncio.Semaphore())
    received = ReceivedFrames("r", [frame(0, text=text), {**end, "seq": 1}])
    with pytest.raises(WrongError):
        simulated_client._judge(Order("q", "a a a ", fails), received)

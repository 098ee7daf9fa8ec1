"""The soak, for a few seconds: `make soak` is the real one."""

import asyncio
import json
import subprocess
import sys
from collections import Counter

import pytest
from support.e2e_clients import ROOT

from bench.soak import Order, ReceivedFrames, SimulatedClient, WrongError


def frame(seq: int, kind: str = "delta", **more: str) -> dict[str, object]:
    return {"type": kind, "request_id": "r", "seq": seq, **more}


def test_a_short_one() -> None:
    """People, faults, drops and resumes; every frame and every history agree."""
    command = ("-m", "bench.soak", "--conversations", "4", "--answers", "2", "--seconds", "4")
    done = subprocess.run(
        [sys.executable, *command, "--seed", "3"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert done.stdout.endswith("nothing was wrong\n"), done.stdout + done.stderr
    assert 0 == done.returncode
    printed = dict(line.rsplit(None, 1) for line in done.stdout.splitlines() if line[:2] == "  ")
    assert "4" == printed["  conversations that agree"]
    assert int(printed["  turns"]) >= 4


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

"""`make invoke` with every sample event: the handler under python-lambda-local, with no account."""

import json
import subprocess
from typing import Any

import pytest
from support.e2e_clients import PATIENCE, ROOT, SERVER

EVENTS = sorted(path.stem for path in (ROOT / "events").glob("*.json"))
HELLO = "Hello, who are you?"


def invoke(name: str) -> tuple[int, str, list[dict[str, Any]]]:
    """The exit status, all that was printed, and the frames among it."""
    done = subprocess.run(
        ["make", "invoke", f"EVENT=events/{name}.json"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3 * PATIENCE,
        check=False,
    )
    prefix = "frame: "
    frames = [
        json.loads(line.removeprefix(prefix))
        for line in done.stdout.splitlines()
        if line.startswith(prefix)
    ]
    for frame in frames:
        SERVER.validate(frame)
    return done.returncode, done.stdout, frames


@pytest.mark.parametrize(
    ("name", "kinds", "said"),
    [
        ("connect", [], ""),
        ("disconnect", [], ""),
        ("text", ["start", "delta", "done"], HELLO),
        ("default", ["start", "delta", "done"], HELLO),
        ("chat", ["start", "delta", "done"], HELLO),
        ("base64", ["start", "delta", "done"], f"{HELLO} 🙂"),
        ("async", ["start", "delta", "done"], HELLO),
        ("part", ["start", "delta", "done"], HELLO),
        ("continue", ["error"], ""),
        ("stop", ["error"], ""),
        ("resume", ["error"], ""),
        ("history", ["history", "done"], ""),
        ("clear", ["done"], ""),
        ("broken", ["error"], ""),
    ],
)
def test_sample_events(name: str, kinds: list[str], said: str) -> None:
    """Each is handled, and its frames are printed in order."""
    status, printed, frames = invoke(name)

    assert 0 == status, printed
    assert "{'statusCode': 200}" in printed
    assert kinds == list(dict.fromkeys(frame["type"] for frame in frames))
    assert list(range(len(frames))) == [frame["seq"] for frame in frames]
    assert (f"You said: {said}" if said else "") == "".join(f.get("text", "") for f in frames)


def test_every_sample_event_is_tried() -> None:
    """No sample rots: the table above names them all."""
    (parameters,) = [m for m in test_sample_events.pytestmark if m.name == "parametrize"]  # type: ignore[attr-defined]

    assert EVENTS == sorted(row[0] for row in parameters.args[1])


def test_a_file_that_is_no_event() -> None:
    """One sentence, and no hang."""
    status, printed, frames = invoke("missing")

    assert status != 0
    assert "is not a sample event" in printed
    assert not frames

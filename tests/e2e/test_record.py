"""What the gateway hands to the function can be kept, and handled again: RECORD= and EVENT=."""

import json
import subprocess
import urllib.request
from pathlib import Path

from support.e2e_clients import PATIENCE, ROOT, Client, running, text
from websockets.sync.client import connect
from websockets.typing import Subprotocol


def test_a_recorded_conversation_is_handled_again(tmp_path: Path) -> None:
    """Each event by itself, on the connection that it came by; and no token is in any file."""
    folder = tmp_path / "recorded"
    log = tmp_path / "log"
    with running(log, AUTH="jwt", RECORD=str(folder)) as (url, _):
        token = token_from(log)
        offered = [Subprotocol("chat.v1"), Subprotocol(f"bearer.{token}")]
        with connect(f"{url}?session_id=mine", subprotocols=offered) as socket:
            alice = Client(socket, "events")
            assert "You said: it's 🙂" == text(alice.say("it's 🙂"))
            alice.say({"action": "history"})
    recorded = sorted(folder.glob("*.json"))
    handshake, question = recorded[:2]

    assert ["connect", "default", "history"] == [p.name.split("-")[1] for p in recorded[:3]]
    assert [] == [path for path in recorded if token in path.read_text()]
    assert "bearer.redacted" in handshake.read_text()
    assert [] == invoke(handshake)
    start, *rest = invoke(question)
    assert "mine" == start["session_id"]
    assert "done" == rest[-1]["type"]


def token_from(log: Path) -> str:
    """Where `make run` says that tokens are."""
    place = log.read_text().partition("tokens for anybody: curl ")[2].splitlines()[0]
    with urllib.request.urlopen(place, timeout=PATIENCE) as response:
        return str(response.read().decode().strip())


def invoke(event: Path) -> list[dict[str, str]]:
    done = subprocess.run(
        ["make", "invoke", f"EVENT={event}"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return [
        json.loads(line.removeprefix("frame: "))
        for line in done.stdout.splitlines()
        if line.startswith("frame: ")
    ]

"""Covers local/__main__.py: the command as a person starts and stops it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def command(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    child = subprocess.Popen(
        [sys.executable, "-m", "local", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def until_ready(child: "subprocess.Popen[str]") -> list[str]:
    assert child.stdout is not None
    said = []
    for line in child.stdout:
        said.append(line.rstrip("\n"))
        if line.startswith("talk to it: "):
            return said
    raise AssertionError(f"never ready: {said} {child.stderr.read() if child.stderr else ''}")


def descendants(pid: int) -> list[int]:
    table = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    rows = [tuple(map(int, line.split())) for line in table.splitlines()]
    return [child for child, parent in rows if parent == pid]


def wait_until_gone(pids: list[int]) -> None:
    limit = time.monotonic() + 10
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.kill(pid, 0)
                assert time.monotonic() < limit, f"{pid} lives on"
                time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_told_to_stop(number: signal.Signals) -> None:
    """Ready line, wscat line; then a signal to the whole group: 0, silence, nothing left."""
    port = free_port()
    with command("run", "--port", str(port), "--model", "scripted") as child:
        said = until_ready(child)
        parts = descendants(child.pid)
        os.killpg(child.pid, number)
        _, errors = child.communicate(timeout=15)

        assert f"ready: ws://127.0.0.1:{port}" in said
        assert said[-1].endswith(f"npx wscat -c 'ws://127.0.0.1:{port}?format=text'")
        assert child.returncode == 0
        assert errors == ""
        assert len(parts) == 3
        wait_until_gone(parts)
        with socket.create_server(("127.0.0.1", port)):
            pass  # free again


def test_the_page_is_on_the_next_port() -> None:
    """Or on none, where that is taken: the rest goes on."""
    port = free_port()
    run = command("run", "--port", str(port), "--model", "scripted")
    with socket.create_server(("127.0.0.1", port + 1)), run as child:
        until_ready(child)
        assert child.stdout is not None
        assert child.stdout.readline().startswith(f"no page: port {port + 1} cannot be used")
        assert child.poll() is None


def test_the_page_knows_the_websocket() -> None:
    """Its configuration names where the stack listens, and who may connect."""
    port = free_port()
    with command("run", "--port", str(port), "--page-port", "0", "--model", "scripted") as child:
        until_ready(child)
        assert child.stdout is not None
        page = child.stdout.readline().removeprefix("page: ").strip()
        with urllib.request.urlopen(f"{page}config.json", timeout=10) as answer:
            config = json.load(answer)

    assert {"websocket_url": f"ws://127.0.0.1:{port}", "auth": "none"} == config


def test_nothing_survives_a_killed_supervisor() -> None:
    """Even `kill -9` leaves no process behind: each part notices that its parent is gone."""
    with command("run", "--port", "0", "--model", "scripted") as child:
        until_ready(child)
        parts = descendants(child.pid)
        child.kill()
        child.wait(10)

        assert len(parts) == 3
        wait_until_gone(parts)


def test_a_part_that_dies_stops_it_all() -> None:
    """One sentence, status 1, and the other parts are stopped too."""
    with command("run", "--port", "0", "--model", "scripted") as child:
        until_ready(child)
        parts = descendants(child.pid)
        os.kill(min(parts), signal.SIGKILL)
        _, errors = child.communicate(timeout=15)

        assert child.returncode == 1
        assert "ended with status -9." in errors
        assert "Traceback" not in errors
        wait_until_gone(parts)


def test_a_port_in_use_is_one_sentence() -> None:
    """And status 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with command("run", "--port", str(port), "--model", "scripted") as child:
            _, errors = child.communicate(timeout=15)

    assert child.returncode == 1
    assert errors == f"Port {port} on 127.0.0.1 cannot be used: Address already in use.\n"


def test_a_family_that_is_none_is_one_sentence_and_the_choices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A setting reaches the parts: Bedrock does not start with a family that it does not speak."""
    monkeypatch.setenv("MODEL_FAMILY", "nobody")
    with command("run", "--port", "0", "--model", "scripted") as child:
        _, errors = child.communicate(timeout=30)

    assert child.returncode == 1
    assert "Bedrock ended." in errors
    assert "invalid choice: 'nobody' (choose from" in errors
    assert "Traceback" not in errors


def test_an_auth_that_is_none_is_refused_with_the_choices() -> None:
    """Before anything starts: a slip of the finger leaves no door open."""
    with command("run", "--port", "0", "--model", "scripted", "--auth", "ima") as child:
        _, errors = child.communicate(timeout=15)

    assert child.returncode == 2
    assert "invalid choice: 'ima' (choose from" in errors


def test_invoke_says_what_is_wrong_with_its_file(tmp_path: Path) -> None:
    """The sub-command is wired, and its errors are sentences, too."""
    with command("invoke", str(tmp_path / "nothing.json")) as child:
        _, errors = child.communicate(timeout=15)

    assert child.returncode == 1
    assert "nothing.json is no sample event: " in errors
    assert "Traceback" not in errors

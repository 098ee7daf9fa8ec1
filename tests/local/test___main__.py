"""Covers local/__main__.py: the command as a user starts and stops it."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from support.pids import PATIENCE, wait_until_gone

from local.__main__ import page
from local.page import Config
from local.stack import Stack

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


def until_ready(child: "subprocess.Popen[str]") -> str:
    """Reads the output up to the wscat command, and returns the URL of the ready line."""
    assert child.stdout is not None
    output = []
    for line in child.stdout:
        output.append(line.rstrip("\n"))
        if line.startswith("connect: "):
            ready, command = output[-2:]
            url = ready.removeprefix("ready: ")
            assert command == f"connect: npx wscat -c '{url}?format=text'"
            return url
    raise AssertionError(f"not ready: {output} {child.stderr.read() if child.stderr else ''}")


def descendants(pid: int) -> dict[int, str]:
    """The command lines of its child processes, by their ids."""
    table = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split(maxsplit=2) for line in table.splitlines()]
    return {int(row[0]): row[-1] for row in rows if int(row[1]) == pid}


@contextlib.contextmanager
def next_port_in_use() -> Iterator[tuple[int, "subprocess.Popen[str]"]]:
    """The command on a fixed port, while the port after it is in use; on others if one is taken."""
    while True:
        with contextlib.ExitStack() as held:
            listener = held.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = listener.getsockname()[1] - 1
            try:
                socket.create_server(("127.0.0.1", port)).close()
            except OSError:
                continue
            child = held.enter_context(command("run", "--port", str(port), "--model", "scripted"))
            assert child.stdout is not None
            if not child.stdout.readline():  # it has ended: another process took the port
                continue
            yield port, child
            return


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_stack_with_status_0(number: signal.Signals) -> None:
    """After the ready line and the wscat command; no error output, and no process is left."""
    with command("run", "--port", "0", "--model", "scripted") as child:
        url = until_ready(child)
        parts = descendants(child.pid)
        os.killpg(child.pid, number)
        output, errors = child.communicate(timeout=PATIENCE)

        assert url.startswith("ws://127.0.0.1:")
        assert output.endswith("stopped\n")
        assert child.returncode == 0
        assert errors == ""
        assert len(parts) == 3
        wait_until_gone(parts)  # and their ports with them


def test_the_page_is_on_the_next_port_or_none() -> None:
    """If that port is in use, the stack serves without the page."""
    with next_port_in_use() as (port, child):
        until_ready(child)
        assert child.stdout is not None
        assert child.stdout.readline().startswith(f"no page: port {port + 1} cannot be used")
        assert child.poll() is None


def test_the_page_is_served_with_the_stacks_configuration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """That is how it knows the URL of the WebSocket, and the authentication mode."""
    config: Config = {"websocket_url": "ws://127.0.0.1:1", "auth": "none"}
    stack = Stack()
    stack.page = config

    async def served() -> Any:
        async with page(stack, 0), ClientSession() as session:
            url = capsys.readouterr().out.removeprefix("page: ").strip()
            async with session.get(f"{url}config.json") as answer:
                return await answer.json()

    assert config == asyncio.run(served())


def test_no_process_survives_a_killed_supervisor() -> None:
    """Even after `kill -9` each part notices that its parent is gone."""
    with command("run", "--port", "0", "--model", "scripted") as child:
        until_ready(child)
        parts = descendants(child.pid)
        child.kill()
        child.wait(PATIENCE)

        assert len(parts) == 3
        wait_until_gone(parts)


def test_a_part_that_ends_stops_the_stack() -> None:
    """With one sentence and status 1; the other parts are stopped, too."""
    with command("run", "--port", "0", "--model", "scripted") as child:
        until_ready(child)
        parts = descendants(child.pid)
        [moto] = [part for part, command_line in parts.items() if " local.aws " in command_line]
        os.kill(moto, signal.SIGKILL)
        _, errors = child.communicate(timeout=PATIENCE)

        assert child.returncode == 1
        assert "DynamoDB (moto) ended with status -9." in errors
        assert "Traceback" not in errors
        wait_until_gone(parts)


def test_a_port_in_use_is_reported_in_one_sentence() -> None:
    """And status 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with command("run", "--port", str(port), "--model", "scripted") as child:
            _, errors = child.communicate(timeout=PATIENCE)

    assert child.returncode == 1
    assert errors == f"Port {port} on 127.0.0.1 cannot be used: Address already in use.\n"


def test_an_unknown_model_family_is_reported_with_the_choices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A setting is passed on to the parts: Bedrock does not start with it."""
    monkeypatch.setenv("MODEL_FAMILY", "unknown")
    with command("run", "--port", "0", "--model", "scripted") as child:
        _, errors = child.communicate(timeout=PATIENCE)

    assert child.returncode == 1
    assert "Bedrock ended." in errors
    assert "invalid choice: 'unknown' (choose from" in errors
    assert "Traceback" not in errors


def test_an_unknown_auth_is_refused_with_the_choices() -> None:
    """Before anything starts: a typing error never disables authentication."""
    with command("run", "--port", "0", "--model", "scripted", "--auth", "ima") as child:
        _, errors = child.communicate(timeout=PATIENCE)

    assert child.returncode == 2
    assert "invalid choice: 'ima' (choose from" in errors


def test_invoke_reports_a_missing_file_in_one_sentence(tmp_path: Path) -> None:
    """With status 1 and no traceback."""
    with command("invoke", str(tmp_path / "nothing.json")) as child:
        _, errors = child.communicate(timeout=PATIENCE)

    assert child.returncode == 1
    assert "nothing.json is not a sample event: " in errors
    assert "Traceback" not in errors

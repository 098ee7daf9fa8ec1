"""What the end-to-end tests share: the stack as a person starts it, and checking clients."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
from jsonschema import Draft202012Validator
from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "protocol.schema.json").read_text())
WSCAT = ROOT / "tests" / "e2e" / "node_modules" / ".bin" / "wscat"
PATIENCE = 30.0  # seconds until something that never comes counts as missing

Frame = dict[str, Any]


def validator(name: str) -> Draft202012Validator:
    """A validator for one definition of the protocol's schema."""
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]})


SERVER, SEED = validator("server"), validator("seed")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(log: Path, model: str = "scripted", **variables: str) -> Iterator[tuple[str, int]]:
    """`make run` on a free port; gives the URL and the process id, and stops it as Ctrl-C would."""
    port = free_port()
    settings = [f"{name}={value}" for name, value in variables.items()]
    with log.open("w") as out:
        make = subprocess.Popen(
            ["make", "run", f"PORT={port}", f"MODEL={model}", *settings],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    url = f"ws://127.0.0.1:{port}"
    try:
        wait_for(log, f"ready: {url}\n", make)
        yield url, make.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(make.pid, signal.SIGINT)
        make.wait(PATIENCE)


def wait_for(log: Path, words: str, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 4 * PATIENCE
    while words not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def cannot_be_had(reason: str) -> NoReturn:
    """Skips where a person may lack what it takes, and fails where nobody would notice."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class Person:
    """One client. Every frame that it receives is held against the schema."""

    def __init__(self, socket: ClientConnection, wire_format: str) -> None:
        self.socket = socket
        self.wire_format = wire_format

    def send(self, message: str | Frame) -> None:
        self.socket.send(message if isinstance(message, str) else json.dumps(message))

    def receive(self, within: float = PATIENCE) -> Frame:
        frame: Frame = json.loads(self.socket.recv(timeout=within))
        (SEED if self.wire_format == "seed" else SERVER).validate(frame)
        return frame

    def answer(self) -> list[Frame]:
        """The frames up to the terminal one: of one request, counted from 0."""
        frames: list[Frame] = []
        while not frames or frames[-1]["type"] not in ("done", "error"):
            frames.append(self.receive())
        assert 1 == len({frame["request_id"] for frame in frames}), frames
        assert list(range(len(frames))) == [frame["seq"] for frame in frames]
        return frames

    def say(self, message: str | Frame) -> list[Frame]:
        self.send(message)
        return self.answer()

    def script(self, **order: Any) -> list[Frame]:
        return self.say(script(**order))


@contextlib.contextmanager
def person(url: str, wire_format: str = "events", **query: str) -> Iterator[Person]:
    parts = "&".join(f"{name}={value}" for name, value in {"format": wire_format, **query}.items())
    with connect(f"{url}?{parts}", max_size=None, open_timeout=PATIENCE) as socket:
        yield Person(socket, wire_format)


def script(**order: Any) -> str:
    return "/script " + json.dumps(order)


def text(frames: Iterable[Mapping[str, Any]]) -> str:
    return "".join(frame["text"] for frame in frames if frame["type"] == "delta")


def wscat(url: str, *messages: str, wait: float = 2) -> list[str]:
    """What wscat prints while somebody types these lines, without its marks, a line each.

    It ends when its input does, so the input stays open; its exit status says nothing.
    """
    with subprocess.Popen(
        [str(WSCAT), "--no-color", "-c", url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as terminal:
        assert terminal.stdin is not None
        for message in messages:
            time.sleep(1.5)  # to connect, or to read the answer before
            terminal.stdin.write(message + "\n")
            terminal.stdin.flush()
        time.sleep(wait)
        out, _ = terminal.communicate(timeout=PATIENCE)
    return [line.removeprefix("> ").removeprefix("< ") for line in out.splitlines()]


def alive(group: int) -> list[str]:
    """Command lines of a `make run` and all that came of it, while any of it runs."""
    table = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    rows = [line.split(None, 2) for line in table]
    family, found = {str(group)}, []
    for pid, parent, command in sorted(rows, key=lambda row: int(row[0])):
        if pid in family or parent in family:
            family.add(pid)
            found.append(f"{pid} {command}")
    return found

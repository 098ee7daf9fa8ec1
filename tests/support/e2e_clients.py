"""What the end-to-end tests share: the stack as `make run` starts it, and clients that check."""

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest
from jsonschema import Draft202012Validator
from support import artifacts
from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "protocol.schema.json").read_text())
WSCAT = ROOT / "tests" / "e2e" / "node_modules" / ".bin" / "wscat"
PATIENCE = 60.0  # seconds after which something that does not happen is a failure
MODEL_LIMIT = 2048  # chunks, after which the scripted model has reached MAX_OUTPUT_TOKENS

Frame = dict[str, Any]


def validator(name: str) -> Draft202012Validator:
    """A validator for one definition of the protocol's schema."""
    return Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": SCHEMA["$defs"]})


SERVER, SEED = validator("server"), validator("seed")


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """A port that refuses connections, and that no other process can take meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@contextlib.contextmanager
def running(log: Path, model: str = "scripted", **variables: str) -> Iterator[tuple[str, int]]:
    """`make run` on a port of its choice; yields the URL and the process id.

    It is stopped by SIGINT. When a test fails the log is saved.
    """
    settings = [f"{name}={value}" for name, value in {"PORT": "0", **variables}.items()]
    with log.open("w") as out:
        make = subprocess.Popen(
            ["make", "run", f"MODEL={model}", *settings],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        with artifacts.on_failure(artifacts.copies(log)):
            url = wait_for(log, r"^ready: (\S+)$", make)
            yield url, make.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(make.pid, signal.SIGINT)
        make.wait(PATIENCE)


def wait_for(log: Path, pattern: str, process: subprocess.Popen[Any]) -> str:
    """Waits until a line of the log matches; returns the first group."""
    deadline = time.monotonic() + 4 * PATIENCE
    while (found := re.search(pattern, log.read_text(), re.MULTILINE)) is None:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return found[1]


def skip_or_fail(reason: str) -> NoReturn:
    """Skips the test on a person's machine, where a tool may be missing; fails in CI."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class Client:
    """One client. Every frame that it receives is validated against the schema."""

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
        """The frames up to the terminal one: of one request, with `seq` from 0."""
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

    def until(self, kind: str) -> list[Frame]:
        """The frames up to the first of this type."""
        frames = [self.receive()]
        while frames[-1]["type"] != kind:
            frames.append(self.receive())
        return frames

    def stop(self) -> list[Frame]:
        """Stops the answer that runs: its remaining frames. Fails if it has ended by itself."""
        self.send({"action": "stop"})
        frames = [self.receive()]
        while frames[-1]["type"] not in ("done", "error"):
            frames.append(self.receive())
        assert "stopped" == frames[-1].get("stop_reason"), frames[-1]
        return frames


@contextlib.contextmanager
def client(url: str, wire_format: str = "events", **query: str) -> Iterator[Client]:
    """A client on a connection of its own."""
    parts = "&".join(f"{name}={value}" for name, value in {"format": wire_format, **query}.items())
    with connect(f"{url}?{parts}", max_size=None, open_timeout=PATIENCE) as socket:
        yield Client(socket, wire_format)


def script(**order: Any) -> str:
    return "/script " + json.dumps(order)


def endless(text: str = "w ") -> str:
    """An answer that takes longer than PATIENCE, for tests that end it by `stop`."""
    return script(chunks=MODEL_LIMIT, rate=MODEL_LIMIT / (2 * PATIENCE), text=text)


def text(frames: Iterable[Mapping[str, Any]]) -> str:
    return "".join(frame["text"] for frame in frames if frame["type"] == "delta")


TERMINAL_FRAME = re.compile(r'"type": ?"(?:done|error|pong)"')
PING, PONG = '{"action":"ping"}', re.compile(r'\{"type": ?"pong"\}')


class UntilShown(NamedTuple):
    """A line that is typed again while its answer is `otherwise`: what it shows comes later."""

    line: str
    expected: str
    otherwise: str


def wscat(url: str, *exchanges: str | tuple[str, str] | UntilShown) -> list[str]:
    """What wscat prints while these lines are typed, without its marks, a line each.

    Each line is typed when the output has what the one before it waits for: `(line, text)` waits
    for the text, and a line alone for a terminal frame. wscat does not report that it has connected
    and drops what is typed before, so pings are typed until one is answered; their pongs are left
    out. It ends when its input does; its exit status has no meaning.
    """
    with subprocess.Popen(
        [str(WSCAT), "--no-color", "-c", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as terminal:
        output = _Output(terminal)
        while not output.has(PONG, within=0.5):
            output.type(PING)
        for exchange in exchanges:
            if isinstance(exchange, UntilShown):
                output.type_until(exchange)
                continue
            line, expected = (exchange, "") if isinstance(exchange, str) else exchange
            output.type(line)
            pattern = re.compile(re.escape(expected)) if expected else TERMINAL_FRAME
            assert output.has(pattern, within=PATIENCE), output.lines()
        output.close()
    lines = output.lines()
    return list(itertools.dropwhile(lambda line: not line or PONG.fullmatch(line), lines))


class _Output:
    """A program's output, read by a thread, and its input."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._read = bytearray()
        self._begin = 0
        self._until = time.monotonic() + 2 * PATIENCE
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        assert self._process.stdout is not None
        while chunk := os.read(self._process.stdout.fileno(), 65536):
            self._read += chunk

    def lines(self, begin: int = 0) -> list[str]:
        text = bytes(self._read[begin:]).decode(errors="replace")
        return [line.removeprefix("> ").removeprefix("< ") for line in text.splitlines()]

    def type(self, line: str) -> None:
        """Types a line; `has` considers what is printed from now on."""
        assert self._process.stdin is not None
        assert time.monotonic() < self._until, self.lines()
        assert self._thread.is_alive(), self.lines()
        self._begin = len(self._read)
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def type_until(self, exchange: UntilShown) -> None:
        """Types the line as often as it takes."""
        answers = re.compile("|".join(map(re.escape, exchange[1:])))
        shown = ""
        while exchange.expected not in shown:
            self.type(exchange.line)
            assert self.has(answers, within=PATIENCE), self.lines()
            shown = "\n".join(self.lines(self._begin))

    def has(self, pattern: re.Pattern[str], within: float) -> bool:
        """Whether the lines since then, put together, match within so many seconds."""
        deadline = time.monotonic() + within
        while not pattern.search("".join(self.lines(self._begin))):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def close(self) -> None:
        """Ends the input, and waits for the end of the program and of its output."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._thread.join(PATIENCE)


def process_tree(root: int) -> list[str]:
    """The process ids and command lines of a process and all its descendants."""
    table = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    rows = [line.split(None, 2) for line in table]
    family, found = {str(root)}, []
    for pid, parent, command in sorted(rows, key=lambda row: int(row[0])):
        if pid in family or parent in family:
            family.add(pid)
            found.append(f"{pid} {command}")
    return found

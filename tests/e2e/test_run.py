"""`make run`, started and stopped in each way, with each kind of model."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.e2e_clients import (
    PATIENCE,
    ROOT,
    client,
    process_tree,
    refusing_port,
    running,
    text,
)


def refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize(
    ("number", "whole_group"),
    [(signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGTERM, False)],
    ids=["ctrl-c", "sigterm", "sigterm to make alone"],
)
def test_no_process_or_port_remains(
    tmp_path: Path, number: signal.Signals, *, whole_group: bool
) -> None:
    """However it is ended."""
    log = tmp_path / "log"
    with running(log) as (url, pid):
        with client(url) as one:
            one.say("hello")
        family = process_tree(pid)
        (os.killpg if whole_group else os.kill)(pid, number)
        port = int(url.rpartition(":")[2])
        deadline = time.monotonic() + PATIENCE
        pids = [int(line.split()[0]) for line in family]
        while (left := [p for p in pids if is_running(p)]) or not refused(port):
            assert time.monotonic() < deadline, left
            time.sleep(0.1)

    assert len(family) >= 4, family  # the supervisor, DynamoDB, Bedrock, the function
    assert "Traceback" not in log.read_text()


def is_running(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    done = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return bool(done.stdout.strip()) and not done.stdout.strip().startswith("Z")


def test_it_prints_how_to_connect(stack: str, stack_log: Path) -> None:
    """The ready line, and the wscat line to paste."""
    lines = stack_log.read_text().splitlines()

    assert f"ready: {stack}" in lines
    assert f"npx wscat -c '{stack}?format=text'" in lines[lines.index(f"ready: {stack}") + 1]


def test_the_log_has_no_text_of_a_conversation(stack: str, stack_log: Path) -> None:
    """Whether the turn succeeds or fails."""
    with client(stack, session_id="session-secret") as one:
        one.say("word-secret")
        one.say('{"body": "broken-secret"')
        one.script(text="answer-secret", chunks=3, fault={"at": 2, "type": "cut"})
    written = stack_log.read_text()

    assert '"event": "turn"' in written
    assert "secret" not in written


def test_model_id_selects_the_family(tmp_path: Path) -> None:
    """MODEL_ID determines the request format, end to end."""
    nova = running(tmp_path / "log", MODEL_ID="us.amazon.nova-lite-v1:0")
    with nova as (url, _), client(url) as one:
        frames = one.say("hello")
        echo = text(one.script(echo=True))

    assert "us.amazon.nova-lite-v1:0" == frames[0]["model"]
    assert "You said: hello" == text(frames)
    assert "messages-v1" in echo


def fails(**variables: str) -> str:
    """What a `make run` prints that cannot start."""
    settings = [f"{name}={value}" for name, value in {"PORT": "0", **variables}.items()]
    done = subprocess.run(
        ["make", "run", *settings],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_port_in_use_is_reported() -> None:
    """In one sentence."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        assert f"Port {port} on 127.0.0.1 cannot be used" in fails(PORT=port, MODEL="scripted")


def test_an_unknown_model_id_is_reported() -> None:
    """At start, with the settings to change."""
    printed = fails(MODEL="scripted", MODEL_ID="nobody.knows-this")

    assert "MODEL_ID=nobody.knows-this" in printed
    assert "MODEL_FAMILY" in printed


def test_an_unknown_model_is_reported() -> None:
    """One that is none of the three kinds."""
    assert "scripted" in fails(MODEL="gpt9")


def test_an_unreachable_server_is_named() -> None:
    """With its URL."""
    with refusing_port() as port:
        url = f"http://127.0.0.1:{port}/v1"

        assert url in fails(MODEL=url)


def test_the_default_model_answers(tmp_path: Path) -> None:
    """A real model: several words, in several deltas, with its own token count."""
    with running(tmp_path / "log", model="smollm2") as (url, _), client(url) as one:
        frames = one.say("What is the capital of France? Answer in one sentence.")

    assert "done" == frames[-1]["type"]
    assert len(text(frames).split()) >= 3
    assert frames[-1]["usage"]["output_tokens"] >= 3
    assert len([frame for frame in frames if frame["type"] == "delta"]) >= 3


@contextmanager
def openai_compatible() -> Iterator[str]:
    """A server like Ollama and vLLM, in a process of its own."""
    server = ROOT / "tests" / "e2e" / "openai_server.py"
    with subprocess.Popen(
        [sys.executable, str(server)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def test_an_openai_compatible_server_answers(tmp_path: Path) -> None:
    """MODEL=http://…/v1 is used behind the whole stack."""
    log = tmp_path / "log"
    with openai_compatible() as at, running(log, model=at) as (url, _), client(url) as one:
        one.say("first")
        frames = one.say("second")

    # The server returns what it received: the conversation, after the system prompt.
    assert "system user assistant user: second" == text(frames)
    assert 7 == frames[-1]["usage"]["input_tokens"]

"""`make run` as a person starts and stops it, with each kind of model."""

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
from support.e2e_clients import PATIENCE, ROOT, alive, free_port, person, running, text


def refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize(
    ("number", "whole_group"),
    [(signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGTERM, False)],
    ids=["ctrl-c", "sigterm", "sigterm to make alone"],
)
def test_it_stops_whole(tmp_path: Path, number: signal.Signals, *, whole_group: bool) -> None:
    """However it is ended, no process and no port is left."""
    log = tmp_path / "log"
    with running(log) as (url, pid):
        with person(url) as one:
            one.say("hello")
        family = alive(pid)
        (os.killpg if whole_group else os.kill)(pid, number)
        port = int(url.rpartition(":")[2])
        deadline = time.monotonic() + PATIENCE
        pids = [int(line.split()[0]) for line in family]
        while (left := [p for p in pids if running_still(p)]) or not refused(port):
            assert time.monotonic() < deadline, left
            time.sleep(0.1)

    assert len(family) >= 4, family  # the supervisor, DynamoDB, Bedrock, the function
    assert "Traceback" not in log.read_text()


def running_still(pid: int) -> bool:
    """Whether the process runs; one that ended and was not yet asked about (a zombie) does not."""
    done = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return bool(done.stdout.strip()) and not done.stdout.strip().startswith("Z")


def test_it_says_how_to_talk_to_it(tmp_path: Path) -> None:
    """The ready line, and the wscat line to paste."""
    with running(tmp_path / "log") as (url, _):
        lines = (tmp_path / "log").read_text().splitlines()

    assert f"ready: {url}" in lines
    assert f"npx wscat -c '{url}?format=text'" in lines[lines.index(f"ready: {url}") + 1]


def test_the_log_holds_no_words(tmp_path: Path) -> None:
    """What is said is in no line of the log, whether the turn works or fails."""
    log = tmp_path / "log"
    with running(log) as (url, _), person(url, session_id="session-secret") as one:
        one.say("word-secret")
        one.say('{"body": "broken-secret"')
        one.script(text="answer-secret", chunks=3, fault={"at": 2, "type": "cut"})
    written = log.read_text()

    assert '"event": "turn"' in written
    assert "secret" not in written


def test_the_model_id_is_what_the_function_asks_for(tmp_path: Path) -> None:
    """MODEL_ID chooses the family that is spoken, end to end."""
    nova = running(tmp_path / "log", MODEL_ID="us.amazon.nova-lite-v1:0")
    with nova as (url, _), person(url) as one:
        frames = one.say("hello")
        echo = text(one.script(echo=True))

    assert "us.amazon.nova-lite-v1:0" == frames[0]["model"]
    assert "You said: hello" == text(frames)
    assert "messages-v1" in echo


def fails(**variables: str) -> str:
    """`make run` that cannot start: what it says."""
    settings = [f"{name}={value}" for name, value in variables.items()]
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


def test_a_port_in_use() -> None:
    """One sentence says so."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        assert f"Port {port} on 127.0.0.1 cannot be used" in fails(PORT=port, MODEL="scripted")


def test_an_unknown_model_id() -> None:
    """A model that is not spoken is refused at start, with the settings to change."""
    said = fails(PORT=str(free_port()), MODEL="scripted", MODEL_ID="nobody.knows-this")

    assert "MODEL_ID=nobody.knows-this" in said
    assert "MODEL_FAMILY" in said


def test_an_unknown_model() -> None:
    """A model that is none of the three kinds is refused in a sentence."""
    assert "scripted" in fails(PORT=str(free_port()), MODEL="gpt9")


def test_an_unreachable_server() -> None:
    """A server that does not answer is named."""
    url = f"http://127.0.0.1:{free_port()}/v1"

    assert url in fails(PORT=str(free_port()), MODEL=url)


def test_the_small_model(tmp_path: Path) -> None:
    """The default is a real model: words that nobody wrote down, in pieces, with its own count."""
    with running(tmp_path / "log", model="smollm2") as (url, _), person(url) as one:
        frames = one.say("What is the capital of France? Answer in one sentence.")

    assert "done" == frames[-1]["type"]
    assert len(text(frames).split()) >= 3
    assert frames[-1]["usage"]["output_tokens"] >= 3
    assert len([frame for frame in frames if frame["type"] == "delta"]) >= 3


@contextmanager
def openai_compatible() -> Iterator[str]:
    """A server of the kind that Ollama and vLLM are, in a process of its own."""
    server = ROOT / "tests" / "e2e" / "openai_server.py"
    with subprocess.Popen(
        [sys.executable, str(server)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def test_a_server_by_url(tmp_path: Path) -> None:
    """MODEL=http://…/v1 puts any OpenAI-compatible server behind the whole stack."""
    log = tmp_path / "log"
    with openai_compatible() as at, running(log, model=at) as (url, _), person(url) as one:
        one.say("first")
        frames = one.say("second")

    # The server tells what it was asked: the conversation, with the system prompt before it.
    assert "system user assistant user: second" == text(frames)
    assert 7 == frames[-1]["usage"]["input_tokens"]

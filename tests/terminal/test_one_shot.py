"""Covers the command `bedrock-chat` in pipes and scripts: a process, against the whole stack."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.e2e_clients import PATIENCE, ROOT, SERVER, client, script, text
from support.stacks import MANY, Stacks

from bedrock_chat.exit_codes import MEANINGS, ExitCode
from local.auth.modes import user
from local.aws.account import REGION

COMMAND = (sys.executable, "-m", "bedrock_chat")
ALICE = {
    "AWS_ACCESS_KEY_ID": user("alice").access_key,
    "AWS_SECRET_ACCESS_KEY": user("alice").secret_key,
    "AWS_SESSION_TOKEN": "",
}
WRONG_KEY = {**ALICE, "AWS_SECRET_ACCESS_KEY": "a guess"}


def environment(**more: str) -> dict[str, str]:
    """Return an environment without this machine's own settings."""
    base = {name: value for name, value in os.environ.items() if not name.startswith("CHAT_")}
    return {**base, "PYTHONUNBUFFERED": "", **more}


def run(
    *arguments: str, stdin: str | bytes = b"", variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, with this on its standard input."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        env=environment(**(variables or {})),
        capture_output=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


# -- the answer ------------------------------------------------------------------------------------


def test_a_question_from_a_pipe(stacks: Stacks) -> None:
    """Standard output is the answer's text, as the model wrote it; standard error is empty."""
    done = run(stacks.url(), stdin="*what*\n\n    is `this`?\n")

    assert (0, "You said: *what*\n\n    is `this`?\n", "") == (
        done.returncode,
        done.stdout,
        done.stderr,
    )


def test_a_question_in_a_file(stacks: Stacks, tmp_path: Path) -> None:
    """The URL comes from the environment."""
    (tmp_path / "question").write_text("from a file")
    done = run("--file", str(tmp_path / "question"), variables={"CHAT_URL": stacks.url()})

    assert (0, "You said: from a file\n") == (done.returncode, done.stdout)


def test_a_session_is_continued(stacks: Stacks) -> None:
    """By the next run of the command."""
    run(stacks.url(), "--session", "pipes", "-m", "my name is Zanzibar")
    done = run(stacks.url(), "--session", "pipes", "-m", script(echo=True))

    assert "my name is Zanzibar" in done.stdout


def test_a_question_longer_than_a_frame(stacks: Stacks) -> None:
    """It is split: the gateway closes the connection if a frame has more than 32 KB."""
    question = "🙂語é" * 11_000
    done = run(stacks.url(), stdin=question)

    assert (0, f"You said: {question}\n") == (done.returncode, done.stdout)


def test_json_prints_the_frames(stacks: Stacks) -> None:
    """One per line, and nothing else."""
    done = run(stacks.url(), "--json", stdin=script(chunks=20, rate=100, text="é "))
    frames = [json.loads(line) for line in done.stdout.splitlines()]

    for frame in frames:
        SERVER.validate(frame)
    assert list(range(len(frames))) == [frame["seq"] for frame in frames]
    assert ("start", "done") == (frames[0]["type"], frames[-1]["type"])
    assert "é " * 20 == text(frames)
    assert (0, "") == (done.returncode, done.stderr)


def start(
    *arguments: str, stdin: int = subprocess.DEVNULL, command: Sequence[str] = COMMAND
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*command, *arguments],
        cwd=ROOT,
        env=environment(),
        bufsize=0,  # or `readline` buffers more than its line, which `communicate` misses
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


LONG = script(chunks=MANY, rate=50, text="on\n")


def test_the_answer_is_streamed(stacks: Stacks) -> None:
    """Its first words are printed while the model still writes; Ctrl-C ends the answer."""
    with start(stacks.url(), "-m", LONG) as process:
        assert process.stdout is not None
        assert b"on\n" == process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)

    assert ExitCode.INTERRUPTED == process.returncode
    assert len(out.split()) < MANY
    assert "bedrock-chat: stopped\n" in err.decode()  # no command is named, because there is none
    assert "Traceback" not in err.decode()


# As a terminal starts it. A process that a shell starts in the background, as perhaps these tests,
# ignores SIGINT.
IN_FOREGROUND = (
    sys.executable,
    "-c",
    (
        "import runpy, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "runpy.run_module('bedrock_chat', run_name='__main__', alter_sys=True)"
    ),
)


def test_ctrl_c_while_the_question_is_read(closed_port: int) -> None:
    """It ends the command, as any program that reads."""
    with start(
        f"ws://127.0.0.1:{closed_port}", stdin=subprocess.PIPE, command=IN_FOREGROUND
    ) as process:
        assert process.stdin is not None
        process.stdin.write(b"x")
        deadline = time.monotonic() + PATIENCE
        while any(fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4))):  # it is not read yet
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        status = process.wait(PATIENCE)

    assert ExitCode.INTERRUPTED == status


def test_a_closed_output_stops_the_answer(stacks: Stacks) -> None:
    """As with `| head -1`: the command ends without a message, and the server stops answering."""
    with start(stacks.url(), "--session", "unread", "-m", LONG) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        status, err = process.wait(PATIENCE), process.stderr.read()
    deadline = time.monotonic() + PATIENCE
    while "busy" in (again := run(stacks.url(), "--json", "--session", "unread", "-m", "x").stdout):
        assert time.monotonic() < deadline

    assert (ExitCode.BROKEN_PIPE, b"") == (status, err)
    assert "end_turn" in again


def test_the_connection_breaks_during_an_answer(stacks: Stacks) -> None:
    """The answer is resumed: nothing is missing, and nothing is printed twice."""
    with start(stacks.url(), "--session", "broken", "-m", LONG) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"on\n" == process.stdout.readline()
        assert 1 == stacks.drop()
        assert "reconnecting" in process.stderr.readline().decode()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE)
    with client(stacks.url(), session_id="broken") as other:
        history = other.say({"action": "history"})

    stored = "".join(entry["assistant"] for frame in history[:-1] for entry in frame["turns"])
    assert ExitCode.INTERRUPTED == process.returncode
    assert stored.encode() == b"on\n" + out


# -- exit statuses ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    status: ExitCode
    output: str
    arguments: Sequence[str] = ("-m", "hello")
    auth: str = "none"
    stdin: bytes = b""
    variables: Mapping[str, str] = field(default_factory=dict)


SIGN = ("--sign", "--region", REGION, "-m", "hello")
CASES: Mapping[str, Case] = {
    "answered": Case(ExitCode.OK, "You said: hello"),
    "signed": Case(ExitCode.OK, "You said: hello", SIGN, "iam", variables=ALICE),
    "an error": Case(
        ExitCode.ERROR, "Ask again", ("-m", script(fault={"before": "ModelErrorException"}))
    ),
    "cut off": Case(
        ExitCode.ERROR, "w w w", ("-m", script(chunks=5, fault={"at": 3, "type": "truncate"}))
    ),
    "no question": Case(ExitCode.USAGE, "The question is empty.", ()),
    "white space": Case(ExitCode.USAGE, "The question is empty.", (), stdin=b" \n\t"),
    "no such file": Case(ExitCode.USAGE, "Cannot read", ("--file", "/nowhere/at/all")),
    "two questions": Case(ExitCode.USAGE, "not allowed with", ("-m", "a", "--file", "b")),
    "an unknown option": Case(ExitCode.USAGE, "unrecognized arguments", ("--colour",)),
    "too long": Case(ExitCode.USAGE, "Nothing was sent", (), stdin=b"x" * 131_072),
    "unsigned": Case(ExitCode.NOT_AUTHENTICATED, "Not authenticated", auth="iam"),
    "a wrong signature": Case(
        ExitCode.NOT_AUTHENTICATED, "Not authenticated", SIGN, "iam", variables=WRONG_KEY
    ),
    "no Region": Case(
        ExitCode.NOT_AUTHENTICATED, "--region", ("--sign", "-m", "x"), "iam", variables=ALICE
    ),
    "no token": Case(ExitCode.NOT_AUTHENTICATED, "Not authenticated", auth="jwt"),
    "a wrong token": Case(
        ExitCode.NOT_AUTHENTICATED,
        "rejected the token with status 403",
        ("--token", "x", "-m", "x"),
        "jwt",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_outcome_has_its_exit_code(stacks: Stacks, case: Case) -> None:
    """And a sentence on standard error, never a traceback."""
    done = run(stacks.url(case.auth), *case.arguments, stdin=case.stdin, variables=case.variables)

    assert case.status == done.returncode
    assert case.output in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "bedrock-chat:" not in done.stdout
    assert case.status in (ExitCode.OK, ExitCode.ERROR) or not done.stdout


@pytest.mark.parametrize(
    ("url", "status", "message"),
    [
        ("ws://127.0.0.1:{port}?token=secret", ExitCode.CONNECTION_FAILED, ": Connection refused."),
        ("http://h?token=secret", ExitCode.USAGE, "'http://h' is not a valid ws:// or wss:// URL"),
        ("ws://", ExitCode.USAGE, "is not a valid ws:// or wss:// URL: hostname isn't provided."),
    ],
)
def test_a_url_without_a_server(closed_port: int, url: str, status: ExitCode, message: str) -> None:
    """It is reported in one sentence, without the URL's query."""
    done = run(url.format(port=closed_port), "-m", "hello")

    assert "secret" not in done.stderr
    assert (status, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert message in done.stderr


def test_a_token_that_cannot_be_sent() -> None:
    """It is rejected before connecting, and not shown."""
    done = run("ws://h", "-m", "hello", variables={"CHAT_TOKEN": "Bearer secret"})

    assert (ExitCode.USAGE, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert "without the prefix Bearer" in done.stderr
    assert "secret" not in done.stderr


def test_a_token_from_the_environment(stacks: Stacks) -> None:
    """Other users cannot see it there; it is never printed."""
    token = stacks.token()
    done = run(stacks.url("jwt"), "-m", "hello", variables={"CHAT_TOKEN": token})

    assert (0, "You said: hello\n", "") == (done.returncode, done.stdout, done.stderr)


def test_an_encoding_without_a_character(stacks: Stacks) -> None:
    """The character is printed as a question mark."""
    done = run(stacks.url(), "-m", "a 語 b", variables={"PYTHONIOENCODING": "ascii"})

    assert (0, "You said: a ? b\n", "") == (done.returncode, done.stdout, done.stderr)


def test_help_lists_every_exit_code() -> None:
    """With its meaning."""
    done = run("--help")

    assert 0 == done.returncode
    for status, meaning in MEANINGS.items():
        assert f"  {status:<4}{meaning}\n" in f"{done.stdout}\n"
    assert set(ExitCode) == set(MEANINGS)

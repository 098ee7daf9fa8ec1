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
from support.e2e_clients import PATIENCE, ROOT, SERVER, free_port, script, text
from support.stacks import Stacks

from bedrock_chat.exits import MEANINGS, Exit
from local.auth.modes import user
from local.aws.account import REGION

COMMAND = (sys.executable, "-m", "bedrock_chat")
ALICE = {
    "AWS_ACCESS_KEY_ID": user("alice").access_key,
    "AWS_SECRET_ACCESS_KEY": user("alice").secret_key,
    "AWS_SESSION_TOKEN": "",
}
NOBODY = {**ALICE, "AWS_SECRET_ACCESS_KEY": "a guess"}


def environment(**more: str) -> dict[str, str]:
    """Nothing of this machine's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CHAT_")}
    return {**kept, "PYTHONUNBUFFERED": "", **more}


def run(
    *arguments: str, said: str | bytes = b"", variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The command from beginning to end, with this on its standard input."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        input=said.encode() if isinstance(said, str) else said,
        env=environment(**(variables or {})),
        capture_output=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


# -- the answer alone ------------------------------------------------------------------------------


def test_a_question_by_a_pipe(stacks: Stacks) -> None:
    """Standard output is the answer's text alone, as the model wrote it; all else is silent."""
    done = run(stacks.url(), said="*what*\n\n    is `this`?\n")

    assert (0, "You said: *what*\n\n    is `this`?\n", "") == (
        done.returncode,
        done.stdout,
        done.stderr,
    )


def test_a_question_in_a_file(stacks: Stacks, tmp_path: Path) -> None:
    """And from the environment, where to ask it."""
    (tmp_path / "question").write_text("from a file")
    done = run("--file", str(tmp_path / "question"), variables={"CHAT_URL": stacks.url()})

    assert (0, "You said: from a file\n") == (done.returncode, done.stdout)


def test_a_session_goes_on(stacks: Stacks) -> None:
    """From one run to the next."""
    run(stacks.url(), "--session", "pipes", "-m", "my name is Zanzibar")
    done = run(stacks.url(), "--session", "pipes", "-m", script(echo=True))

    assert "my name is Zanzibar" in done.stdout


def test_a_question_longer_than_a_frame(stacks: Stacks) -> None:
    """The gateway takes 32 KB in a frame, and closes the connection where one is larger."""
    question = "🙂語é" * 11_000
    done = run(stacks.url(), said=question)

    assert (0, f"You said: {question}\n") == (done.returncode, done.stdout)


def test_frames(stacks: Stacks) -> None:
    """`--json` prints the server's frames, a line each, and nothing else."""
    done = run(stacks.url(), "--json", said=script(chunks=20, rate=100, text="é "))
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
        bufsize=0,  # or a line that is read takes others with it, which `communicate` does not see
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


LONG = script(chunks=3000, rate=50, text="on\n")


def test_it_streams(stacks: Stacks) -> None:
    """The first words are there while the model still speaks; Ctrl-C ends the answer."""
    with start(stacks.url(), "-m", LONG) as process:
        assert process.stdout is not None
        assert b"on\n" == process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)

    assert Exit.INTERRUPTED == process.returncode
    assert len(out.split()) < 2000
    assert "bedrock-chat: stopped\n" in err.decode()  # and of no command, for there is none
    assert "Traceback" not in err.decode()


# As a terminal starts it. What a shell starts in the background, perhaps the tests, ignores Ctrl-C.
IN_FRONT = (
    sys.executable,
    "-c",
    (
        "import runpy, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "runpy.run_module('bedrock_chat', run_name='__main__', alter_sys=True)"
    ),
)


def test_ctrl_c_while_the_question_is_read() -> None:
    """Ends it, as it ends any program that reads."""
    with start("ws://127.0.0.1:1", stdin=subprocess.PIPE, command=IN_FRONT) as process:
        assert process.stdin is not None
        process.stdin.write(b"x")
        deadline = time.monotonic() + PATIENCE
        while any(fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4))):  # it is not read yet
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        status = process.wait(PATIENCE)

    assert Exit.INTERRUPTED == status


def test_nobody_reads_any_more(stacks: Stacks) -> None:
    """As with `| head -1`: it ends, says nothing, and stops the answer that nobody reads."""
    with start(stacks.url(), "--session", "unread", "-m", LONG) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        status, err = process.wait(PATIENCE), process.stderr.read()
    deadline = time.monotonic() + PATIENCE
    while "busy" in (again := run(stacks.url(), "--json", "--session", "unread", "-m", "x").stdout):
        assert time.monotonic() < deadline

    assert (Exit.UNREAD, b"") == (status, err)
    assert "end_turn" in again


def test_the_connection_breaks(stacks: Stacks) -> None:
    """It is resumed: nothing is missing, and nothing comes twice."""
    order = script(chunks=100, rate=50, text="on\n")
    with start(stacks.url(), "-m", order) as process:
        assert process.stdout is not None
        assert b"on\n" == process.stdout.readline()
        assert 1 == stacks.drop()
        out, err = process.communicate(timeout=PATIENCE)

    assert (0, b"on\n" * 99) == (process.returncode, out)
    assert "reconnecting" in err.decode()


# -- exit statuses ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    status: Exit
    said: str
    arguments: Sequence[str] = ("-m", "hello")
    auth: str = "none"
    stdin: bytes = b""
    variables: Mapping[str, str] = field(default_factory=dict)


SIGN = ("--sign", "--region", REGION, "-m", "hello")
CASES: Mapping[str, Case] = {
    "fine": Case(Exit.FINE, "You said: hello"),
    "signed": Case(Exit.FINE, "You said: hello", SIGN, "iam", variables=ALICE),
    "an error": Case(
        Exit.ERROR, "Ask again", ("-m", script(fault={"before": "ModelErrorException"}))
    ),
    "cut off": Case(
        Exit.ERROR, "w w w", ("-m", script(chunks=5, fault={"at": 3, "type": "truncate"}))
    ),
    "no question": Case(Exit.USAGE, "There is no question.", ()),
    "white space": Case(Exit.USAGE, "There is no question.", (), stdin=b" \n\t"),
    "no such file": Case(Exit.USAGE, "cannot be read", ("--file", "/nowhere/at/all")),
    "two questions": Case(Exit.USAGE, "not allowed with", ("-m", "a", "--file", "b")),
    "an unknown option": Case(Exit.USAGE, "unrecognized arguments", ("--colour",)),
    "too long": Case(Exit.USAGE, "Nothing was sent", (), stdin=b"x" * 131_072),
    "unsigned": Case(Exit.REFUSED, "You are not let in", auth="iam"),
    "a wrong signature": Case(Exit.REFUSED, "You are not let in", SIGN, "iam", variables=NOBODY),
    "no Region": Case(Exit.REFUSED, "--region", ("--sign", "-m", "x"), "iam", variables=ALICE),
    "no token": Case(Exit.REFUSED, "You are not let in", auth="jwt"),
    "a wrong token": Case(
        Exit.REFUSED, "the token was answered 403", ("--token", "x", "-m", "x"), "jwt"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_exit_statuses(stacks: Stacks, case: Case) -> None:
    """Each outcome has its own, and is told in a sentence."""
    done = run(stacks.url(case.auth), *case.arguments, said=case.stdin, variables=case.variables)

    assert case.status == done.returncode
    assert case.said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "bedrock-chat:" not in done.stdout
    assert case.status in (Exit.FINE, Exit.ERROR) or not done.stdout


@pytest.mark.parametrize(
    ("url", "status", "said"),
    [
        ("ws://127.0.0.1:{port}?token=secret", Exit.LOST, "cannot be reached: Connection refused."),
        ("http://h?token=secret", Exit.USAGE, "'http://h' is not a ws:// or wss:// URL"),
        ("ws://", Exit.USAGE, "is not a ws:// or wss:// URL: hostname isn't provided."),
    ],
)
def test_nobody_there(url: str, status: Exit, said: str) -> None:
    """One sentence, at once."""
    done = run(url.format(port=free_port()), "-m", "hello")

    assert "secret" not in done.stderr
    assert (status, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert said in done.stderr


def test_a_token_that_cannot_be_sent() -> None:
    """Is refused before anybody is asked, and not shown."""
    done = run("ws://h", "-m", "hello", variables={"CHAT_TOKEN": "Bearer secret"})

    assert (Exit.USAGE, 1) == (done.returncode, len(done.stderr.splitlines()))
    assert "without the word Bearer" in done.stderr
    assert "secret" not in done.stderr


def test_a_token(stacks: Stacks) -> None:
    """From the environment, where no other program sees it; it is nowhere in what is printed."""
    token = stacks.token()
    done = run(stacks.url("jwt"), "-m", "hello", variables={"CHAT_TOKEN": token})

    assert (0, "You said: hello\n", "") == (done.returncode, done.stdout, done.stderr)


def test_a_terminal_of_long_ago(stacks: Stacks) -> None:
    """A character that its encoding does not have is a question mark, and no failure."""
    done = run(stacks.url(), "-m", "a 語 b", variables={"PYTHONIOENCODING": "ascii"})

    assert (0, "You said: a ? b\n", "") == (done.returncode, done.stdout, done.stderr)


def test_help() -> None:
    """Tells every exit status."""
    done = run("--help")

    assert 0 == done.returncode
    for status, meaning in MEANINGS.items():
        assert f"  {status:<4}{meaning}\n" in f"{done.stdout}\n"
    assert set(Exit) == set(MEANINGS)

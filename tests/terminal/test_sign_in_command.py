"""Covers how the command `bedrock-chat` signs in: a process, against the whole stack.

Its browser is an HTTP client, which BROWSER names.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.e2e_clients import PATIENCE, ROOT
from support.sign_ins import variable_browser
from support.stacks import Stacks
from support.threads import in_a_thread

from bedrock_chat.exit_codes import ExitCode
from bedrock_chat.issuer import Client, Tokens
from bedrock_chat.token_file import TokenFile
from local.auth.authorizers import Auth
from local.auth.modes import AUDIENCE, user
from local.aws.account import REGION
from local.page import serving

HELLO = ("-m", "hello")
ANSWER = "You said: hello\n"
PROMPT = "Sign in with your browser."


@pytest.fixture(scope="module")
def pages(stacks: Stacks) -> Iterator[dict[Auth, str]]:
    """Each stack's web page."""
    with (
        in_a_thread(serving(stacks.running["none"].page, 0)) as none,
        in_a_thread(serving(stacks.running["iam"].page, 0)) as iam,
        in_a_thread(serving(stacks.running["jwt"].page, 0)) as jwt,
    ):
        yield {"none": none, "iam": iam, "jwt": jwt}


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of the client's files, which is empty."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def run(
    *arguments: str, state: Path, browser: str = "alice", **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {"XDG_STATE_HOME": str(state), "BROWSER": variable_browser(browser), **variables}
    return subprocess.run(
        [sys.executable, "-m", "bedrock_chat", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )


def test_the_page_says_how_to_sign_in(pages: dict[Auth, str], state: Path) -> None:
    """The next run needs no sign-in, and no token is printed."""
    first = run(pages["jwt"], *HELLO, state=state)
    second = run(pages["jwt"], *HELLO, state=state)
    [file] = (state / "bedrock-chat" / "sign-in").iterdir()

    assert (0, ANSWER, 1) == (first.returncode, first.stdout, len(first.stderr.splitlines()))
    assert PROMPT in first.stderr
    assert (0, ANSWER, "") == (second.returncode, second.stdout, second.stderr)
    assert "code_verifier" not in first.stderr
    assert json.loads(file.read_text())["token"] not in first.stderr


def test_the_page_beside_the_servers_url(
    stacks: Stacks, pages: dict[Auth, str], state: Path
) -> None:
    """As `make chat` gives both: it is read only where no credentials are given."""
    signed_in = run(stacks.url("jwt"), "--page", pages["jwt"], *HELLO, state=state)
    token = run(
        stacks.url("jwt"), "--page", "http://x", *HELLO, state=state, CHAT_TOKEN=stacks.token()
    )

    assert (0, ANSWER) == (signed_in.returncode, signed_in.stdout)
    assert PROMPT in signed_in.stderr
    assert (0, ANSWER, "") == (token.returncode, token.stdout, token.stderr)


def test_another_servers_page_is_not_used(
    stacks: Stacks, pages: dict[Auth, str], state: Path
) -> None:
    """A token of its issuer is not sent to this server."""
    done = run(stacks.url(), "--page", pages["jwt"], *HELLO, state=state)

    assert (0, ANSWER, "") == (done.returncode, done.stdout, done.stderr)


def test_a_server_without_its_page(stacks: Stacks, closed_port: int, state: Path) -> None:
    """The server is used without signing in, if it allows that."""
    page = f"http://127.0.0.1:{closed_port}/"
    done = run(stacks.url(), "--page", page, *HELLO, state=state)

    assert (0, ANSWER, 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
    assert "Connection refused. Connecting without signing in." in done.stderr


def test_the_options_say_how_to_sign_in(stacks: Stacks, state: Path) -> None:
    """As `make chat DEPLOYED=1` gives them, for a deployment without a page."""
    issuer = str(stacks.running["jwt"].page["issuer"])
    options = ("--issuer", issuer, "--client-id", AUDIENCE, "--access-token")
    done = run(stacks.url("jwt"), *options, *HELLO, state=state)

    assert (0, ANSWER) == (done.returncode, done.stdout)
    assert PROMPT in done.stderr


def test_a_page_whose_server_needs_a_signature(pages: dict[Auth, str], state: Path) -> None:
    """The client signs, as with --sign."""
    keys = {
        "AWS_ACCESS_KEY_ID": user("alice").access_key,
        "AWS_SECRET_ACCESS_KEY": user("alice").secret_key,
    }
    done = run(pages["iam"], "--region", REGION, *HELLO, state=state, **keys)

    assert (0, ANSWER, "") == (done.returncode, done.stdout, done.stderr)


def test_a_page_whose_server_is_open(pages: dict[Auth, str], state: Path) -> None:
    """The user does not sign in."""
    done = run(pages["none"], *HELLO, state=state)

    assert (0, ANSWER, "") == (done.returncode, done.stdout, done.stderr)


def test_a_stored_token_that_the_server_refuses(
    stacks: Stacks, pages: dict[Auth, str], state: Path
) -> None:
    """The user signs in once more: the issuer may have another key."""
    client = Client(issuer=str(stacks.running["jwt"].page["issuer"]), client_id=AUDIENCE)
    TokenFile.of(stacks.url("jwt"), client).write(Tokens("a.b.c", "", time.time() + 3600))
    done = run(pages["jwt"], *HELLO, state=state)

    assert (0, ANSWER) == (done.returncode, done.stdout)
    assert PROMPT in done.stderr


def test_a_token_of_the_users_own_is_used_without_signing_in(
    stacks: Stacks, pages: dict[Auth, str], state: Path
) -> None:
    """Also where the page says how to sign in."""
    done = run(pages["jwt"], *HELLO, state=state, CHAT_TOKEN=stacks.token())

    assert (0, ANSWER, "") == (done.returncode, done.stdout, done.stderr)


def test_a_refused_sign_in(pages: dict[Auth, str], state: Path) -> None:
    """Its status is the one for credentials; no question was sent."""
    done = run(pages["jwt"], *HELLO, state=state, browser="Cancel")

    assert (ExitCode.NOT_AUTHENTICATED, "") == (done.returncode, done.stdout)
    assert "The issuer refused the sign-in: sign-in cancelled.\n" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("http://127.0.0.1:{port}/",), ExitCode.CONNECTION_FAILED, "Connection refused.\n"),
        (
            ("ws://h", "--issuer", "http://127.0.0.1:{port}", "--client-id", "x"),
            ExitCode.CONNECTION_FAILED,
            "/.well-known/openid-configuration: Connection refused.\n",
        ),
        (("ws://h", "--issuer", "https://x"), ExitCode.USAGE, "must be set together.\n"),
        (("ws://h", "--client-id", "x"), ExitCode.USAGE, "must be set together.\n"),
        (
            ("ws://h", "--issuer", "http://x.example", "--client-id", "x"),
            ExitCode.CONNECTION_FAILED,
            "is not an https:// URL.\n",
        ),
        (("http://h",), ExitCode.USAGE, "is not a valid ws:// or wss:// URL"),
    ],
)
def test_a_sign_in_that_cannot_begin(
    closed_port: int, state: Path, arguments: tuple[str, ...], status: ExitCode, message: str
) -> None:
    """One sentence, and the documented status."""
    filled = [each.format(port=closed_port) for each in arguments]
    done = run(*filled, *HELLO, state=state)

    assert (status, "", 1) == (done.returncode, done.stdout, len(done.stderr.splitlines()))
    assert message in done.stderr


def test_ctrl_c_ends_the_wait_for_the_browser(pages: dict[Auth, str], state: Path) -> None:
    """Without a traceback."""
    with subprocess.Popen(
        [sys.executable, "-m", "bedrock_chat", pages["jwt"], *HELLO],
        cwd=ROOT,
        env={"XDG_STATE_HOME": str(state), "BROWSER": "true"},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert PROMPT in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        status, rest = process.wait(PATIENCE), process.stderr.read()

    assert (ExitCode.INTERRUPTED, "") == (status, rest)


def test_signing_out(pages: dict[Auth, str], state: Path) -> None:
    """The next run signs in again."""
    run(pages["jwt"], *HELLO, state=state)
    outputs = [run("--sign-out", state=state) for _ in range(2)]
    again = run(pages["jwt"], *HELLO, state=state, browser="bob")

    assert [
        "bedrock-chat: 1 stored sign-in deleted\n",
        "bedrock-chat: 0 stored sign-ins deleted\n",
    ] == [done.stderr for done in outputs]
    assert PROMPT in again.stderr

"""Covers deploy/url.py: what it prints for each kind of deployment, and what without one."""

import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.credentials import Credentials

from deploy import url as module
from deploy.terraform import TerraformMissingError
from deploy.url import EXPIRES_SECONDS, main, presigned
from local.auth.sigv4 import User, verify

HOST = "abc123.execute-api.eu-west-1.amazonaws.com"
URL = f"wss://{HOST}/live"
ALICE = User("arn:aws:iam::123456789012:user/alice", "AKALICE", "key-of-alice", "token-of-alice")
KEYS = {
    "AWS_ACCESS_KEY_ID": ALICE.access_key,
    "AWS_SECRET_ACCESS_KEY": ALICE.secret_key,
    "AWS_SESSION_TOKEN": str(ALICE.token),
}


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials, and no way to somebody else's."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def alice(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


def deployed(monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
    known = {"websocket_url": URL, "auth": "iam", "region": "eu-west-1", **more}
    monkeypatch.setattr(module, "outputs", lambda: known)


def signed_by(url: str, region: str = "eu-west-1") -> User:
    """Whose signature the URL bears, as API Gateway would find."""
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}"
    users = {ALICE.access_key: ALICE}
    return verify(target, [("Host", parts.netloc)], users, region, datetime.now(UTC))


def printed(capsys: pytest.CaptureFixture[str], *asked: str, status: int = 0) -> tuple[str, str]:
    assert status == main(list(asked))
    said = capsys.readouterr()
    return said.out.removesuffix("\n"), said.err


@pytest.mark.parametrize("url", [URL, "ws://127.0.0.1:3001", "wss://chat.example/"])
@pytest.mark.parametrize("query", [{}, {"format": "text", "session_id": "a b+c=/&é"}])
def test_presigned(url: str, query: Mapping[str, str]) -> None:
    """The same URL, with the query, and signed by botocore as a server reads it."""
    made = presigned(url, ALICE.credentials, "eu-west-1", query, 77)
    said = {name: values[0] for name, values in parse_qs(urlsplit(made).query).items()}

    assert made.startswith(f"{url}?")
    assert ALICE == signed_by(made)
    assert "77" == said["X-Amz-Expires"]
    assert query == {name: value for name, value in said.items() if not name.startswith("X-Amz-")}
    assert ALICE.secret_key not in made


def test_presigned_without_a_session_token() -> None:
    """A user's own long-lived key names no token."""
    assert "Security-Token" not in presigned(URL, Credentials("AK", "s"), "eu-west-1")


@pytest.mark.usefixtures("alice")
def test_what_is_deployed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """URL, Region and auth are what Terraform says; standard output is the URL alone."""
    deployed(monkeypatch)
    out, err = printed(capsys, "--query", "format=text", "--session-id", "mine")

    assert ALICE == signed_by(out)
    assert out.startswith(f"{URL}?format=text&session_id=mine&")
    assert f"X-Amz-Expires={EXPIRES_SECONDS}" in out
    assert "" == err


@pytest.mark.usefixtures("alice")
def test_another_api(capsys: pytest.CaptureFixture[str]) -> None:
    """A URL on the command line tells its Region, and asks nobody what is deployed."""
    out, _ = printed(capsys, "--url", URL, "--expires", "60")
    assert ALICE == signed_by(out)

    out, _ = printed(capsys, "--url", "wss://chat.example", "--region", "us-west-2")
    assert ALICE == signed_by(out, "us-west-2")

    _, err = printed(capsys, "--url", "wss://chat.example/live?token=secret", status=1)
    assert "--region" in err
    assert "secret" not in err


@pytest.mark.parametrize(("auth", "hint"), [("none", False), ("jwt", True)])
def test_where_nothing_is_signed(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    auth: str,
    hint: bool,
) -> None:
    """The plain URL, with no credentials at all; and for a token, how to bring it."""
    deployed(monkeypatch, auth=auth)
    out, err = printed(capsys, "--query", "format=text")

    assert f"{URL}?format=text" == out
    assert hint == ("bearer.$TOKEN" in err)


@pytest.mark.parametrize(
    ("auth", "more"), [("none", ""), ("jwt", ""), ("iam", " --sign --region eu-west-1")]
)
def test_for_chat(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], auth: str, more: str
) -> None:
    """What bedrock-chat takes, which signs for itself: no credentials are needed, and no hint."""
    deployed(monkeypatch, auth=auth)
    assert (f"{URL}{more}", "") == printed(capsys, "--for-chat")


def test_no_credentials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Says so, and where they could come from."""
    deployed(monkeypatch)
    out, err = printed(capsys, status=1)

    assert ("", 1) == (out, len(err.splitlines()))
    assert "There are no AWS credentials here." in err


ENDED = """
[profile mine]
sso_session = s
sso_account_id = 1
sso_role_name = r
[sso-session s]
sso_region = us-east-1
sso_start_url = https://x.example
"""


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("", "could not be found"),
        (ENDED, "sso"),
        ("[profile mine]\ncredential_process = false\n", "credential"),
        ("[profile mine]\naws_access_key_id = AK\n", "aws_secret_access_key"),
    ],
    ids=["no such profile", "sso that ended", "a program that fails", "half a key"],
)
def test_credentials_that_will_not_do(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    config: str,
    said: str,
) -> None:
    """One sentence with the reason: a profile that is missing, an SSO session that has ended."""
    deployed(monkeypatch)
    (tmp_path / "config").write_text(config)
    out, err = printed(capsys, "--profile", "mine", status=1)

    assert "" == out
    assert "Your AWS credentials cannot be used" in err
    assert said in err.lower()


@pytest.mark.usefixtures("alice")
def test_a_url_that_api_gateway_would_not_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A session token can be that long; better to hear of it here."""
    deployed(monkeypatch)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "x" * 4000)
    out, err = printed(capsys, status=1)

    assert ("", 1) == (out, len(err.splitlines()))
    assert "API Gateway takes 4096" in err


def test_nothing_is_deployed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Says what to do; and where Terraform is missing, that."""
    monkeypatch.setattr(module, "outputs", dict)
    assert "make deploy" in printed(capsys, status=1)[1]

    def missing() -> None:
        raise TerraformMissingError("There is no terraform.")

    monkeypatch.setattr(module, "outputs", missing)
    assert "There is no terraform.\n" == printed(capsys, status=1)[1]


@pytest.mark.parametrize(
    "asked",
    [
        ("--expires", "0"),
        ("--expires", "604801"),
        ("--expires", "-1"),
        ("--expires", "1h"),
        ("--query", "format"),
        ("--query", "=x"),
        ("--query", "X-Amz-Expires=9"),
        ("--auth", "open"),
    ],
)
def test_arguments_that_make_no_sense(asked: tuple[str, str]) -> None:
    """Are refused before anything is asked or signed."""
    with pytest.raises(SystemExit) as caught:
        main(list(asked))
    assert 2 == caught.value.code


def test_as_a_command() -> None:
    """`python -m deploy.url`, as make runs it."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.url", "--url", URL],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **KEYS},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert ALICE == signed_by(done.stdout.strip())

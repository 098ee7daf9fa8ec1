"""Covers deploy/url.py: its output for each kind of deployment, and without one."""

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.credentials import Credentials

from bedrock_chat import cli
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
def _no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither in the environment nor in files of this machine."""
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
    """The signer of the URL, as API Gateway would verify it."""
    parts = urlsplit(url)
    target = f"{parts.path or '/'}?{parts.query}"
    users = {ALICE.access_key: ALICE}
    return verify(target, [("Host", parts.netloc)], users, region, datetime.now(UTC))


def printed(capsys: pytest.CaptureFixture[str], *options: str, status: int = 0) -> tuple[str, str]:
    assert status == main(list(options))
    output = capsys.readouterr()
    return output.out.removesuffix("\n"), output.err


@pytest.mark.parametrize("url", [URL, "ws://127.0.0.1:3001", "wss://chat.example/"])
@pytest.mark.parametrize("query", [{}, {"format": "text", "session_id": "a b+c=/&é"}])
def test_a_presigned_url_has_the_query_and_a_valid_signature(
    url: str, query: Mapping[str, str]
) -> None:
    """By botocore, verified as a server verifies it; the secret key is not in it."""
    made = presigned(url, ALICE.credentials, "eu-west-1", query, 77)
    parameters = {name: values[0] for name, values in parse_qs(urlsplit(made).query).items()}

    assert made.startswith(f"{url}?")
    assert ALICE == signed_by(made)
    assert "77" == parameters["X-Amz-Expires"]
    assert query == {
        name: value for name, value in parameters.items() if not name.startswith("X-Amz-")
    }
    assert ALICE.secret_key not in made


def test_a_url_signed_with_a_long_lived_key_has_no_session_token() -> None:
    """Only temporary credentials have one."""
    assert "Security-Token" not in presigned(URL, Credentials("AK", "s"), "eu-west-1")


@pytest.mark.usefixtures("alice")
def test_the_deployments_url_is_signed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """URL, Region and auth are Terraform's outputs; standard output is the URL alone."""
    deployed(monkeypatch)
    out, err = printed(capsys, "--query", "format=text", "--session-id", "mine")

    assert ALICE == signed_by(out)
    assert out.startswith(f"{URL}?format=text&session_id=mine&")
    assert f"X-Amz-Expires={EXPIRES_SECONDS}" in out
    assert "" == err


@pytest.mark.usefixtures("alice")
def test_the_option_url_names_another_api(capsys: pytest.CaptureFixture[str]) -> None:
    """Its Region is part of its host, or --region; Terraform's outputs are not read."""
    out, _ = printed(capsys, "--url", URL, "--expires", "60")
    assert ALICE == signed_by(out)

    out, _ = printed(capsys, "--url", "wss://chat.example", "--region", "us-west-2")
    assert ALICE == signed_by(out, "us-west-2")

    _, err = printed(capsys, "--url", "wss://chat.example/live?token=secret", status=1)
    assert "--region" in err
    assert "secret" not in err


@pytest.mark.parametrize(("auth", "hint"), [("none", False), ("jwt", True)])
def test_without_iam_the_url_is_not_signed(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    auth: str,
    hint: bool,
) -> None:
    """No credentials are needed; with jwt a hint says how to send the token."""
    deployed(monkeypatch, auth=auth)
    out, err = printed(capsys, "--query", "format=text")

    assert f"{URL}?format=text" == out
    assert hint == ("bearer.$TOKEN" in err)


@pytest.mark.parametrize(
    ("auth", "more"), [("none", ""), ("jwt", ""), ("iam", " --sign --region eu-west-1")]
)
def test_the_option_for_chat_prints_the_arguments_of_bedrock_chat(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], auth: str, more: str
) -> None:
    """It signs by itself: no credentials are needed, and no hint is printed."""
    deployed(monkeypatch, auth=auth)
    assert (f"{URL}{more}", "") == printed(capsys, "--for-chat")


@pytest.mark.parametrize(
    ("token", "more"), [("id_token", []), ("access_token", ["--access-token"])]
)
def test_the_option_for_chat_prints_how_users_sign_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], token: str, more: list[str]
) -> None:
    """Quoted for a shell: `make chat` splits the line there. bedrock-chat knows the options."""
    client = {
        "issuer": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab12Cd34E",
        "client_id": "1example23456789",
        "scope": "openid email",
        "token": token,
    }
    deployed(monkeypatch, auth="cognito", sign_in=client)
    out, err = printed(capsys, "--for-chat")
    arguments = shlex.split(out)
    options = cli.parser().parse_args(arguments)

    assert "" == err
    assert more == arguments[4:]
    assert [URL, *client.values()] == [
        options.url,
        options.issuer,
        options.client_id,
        options.scope,
        "access_token" if options.access_token else "id_token",
    ]


def test_missing_credentials_are_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line."""
    deployed(monkeypatch)
    out, err = printed(capsys, status=1)

    assert ("", 1) == (out, len(err.splitlines()))
    assert "No AWS credentials were found." in err


EXPIRED = """
[profile mine]
sso_session = s
sso_account_id = 1
sso_role_name = r
[sso-session s]
sso_region = us-east-1
sso_start_url = https://x.example
"""


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("", "could not be found"),
        (EXPIRED, "sso"),
        ("[profile mine]\ncredential_process = false\n", "credential"),
        ("[profile mine]\naws_access_key_id = AK\n", "aws_secret_access_key"),
    ],
    ids=["unknown profile", "expired sso session", "failing process", "incomplete key"],
)
def test_unusable_credentials_are_reported_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    config: str,
    reason: str,
) -> None:
    """In one sentence."""
    deployed(monkeypatch)
    (tmp_path / "config").write_text(config)
    out, err = printed(capsys, "--profile", "mine", status=1)

    assert "" == out
    assert "Cannot use your AWS credentials" in err
    assert reason in err.lower()


@pytest.mark.usefixtures("alice")
def test_a_url_that_is_too_long_for_api_gateway_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A session token can be that long."""
    deployed(monkeypatch)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "x" * 4000)
    out, err = printed(capsys, status=1)

    assert ("", 1) == (out, len(err.splitlines()))
    assert "API Gateway's limit is 4096" in err


def test_without_a_deployment_the_command_to_run_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing Terraform is reported, too."""
    monkeypatch.setattr(module, "outputs", dict)
    assert "make deploy" in printed(capsys, status=1)[1]

    def missing() -> None:
        raise TerraformMissingError("There is no terraform.")

    monkeypatch.setattr(module, "outputs", missing)
    assert "There is no terraform.\n" == printed(capsys, status=1)[1]


@pytest.mark.parametrize(
    "options",
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
def test_invalid_arguments_are_refused(options: tuple[str, str]) -> None:
    """Before anything is read or signed."""
    with pytest.raises(SystemExit) as caught:
        main(list(options))
    assert 2 == caught.value.code


def test_the_module_runs_as_a_command() -> None:
    """`python -m deploy.url`, as in the Makefile."""
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

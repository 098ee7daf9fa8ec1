"""Covers deploy/user.py, with botocore's Stubber: who is invited, and what an error means."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.exceptions import NoCredentialsError
from botocore.stub import Stubber
from support.e2e_clients import ROOT

from deploy import user
from deploy.terraform import TerraformMissingError
from deploy.user import MEANINGS, InvitationError, address, invite

POOL = "eu-west-1_Ab12Cd34E"
EMAIL = "ada@example.com"
DEPLOYED = {
    "websocket_url": "wss://abc.execute-api.eu-west-1.amazonaws.com/live",
    "auth": "cognito",
    "region": "eu-west-1",
    "user_pool_id": POOL,
    "page_url": "https://d111.cloudfront.net/",
}
REQUEST = {
    "UserPoolId": POOL,
    "Username": EMAIL,
    "UserAttributes": [
        {"Name": "email", "Value": EMAIL},
        {"Name": "email_verified", "Value": "true"},
    ],
    "DesiredDeliveryMediums": ["EMAIL"],
}


@dataclass
class Cognito:
    """The service's client, whose answers are given."""

    client: Any
    answers: Stubber
    regions: list[str] = field(default_factory=list)

    def in_region(self, region: str) -> Any:
        self.regions.append(region)
        return self.client


@pytest.fixture
def cognito() -> Iterator[Cognito]:
    client = boto3.client(
        "cognito-idp", "eu-west-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    with Stubber(client) as answers:
        yield Cognito(client, answers)


def test_an_administrator_invites_a_user(cognito: Cognito) -> None:
    """In the pool's Region; Cognito makes the password, and sends it."""
    cognito.answers.add_response("admin_create_user", {}, REQUEST)
    said = invite(EMAIL, DEPLOYED, cognito.in_region)

    cognito.answers.assert_no_pending_responses()
    assert ["eu-west-1"] == cognito.regions
    assert said.startswith("ada@example.com is invited, by an email with a temporary password")
    assert said.endswith("To sign in: https://d111.cloudfront.net/ or make chat DEPLOYED=1")


def test_an_invitation_is_sent_again(cognito: Cognito) -> None:
    """On request only: it replaces the temporary password."""
    cognito.answers.add_response("admin_create_user", {}, {**REQUEST, "MessageAction": "RESEND"})
    said = invite(EMAIL, {**DEPLOYED, "page_url": None}, cognito.in_region, resend=True)

    cognito.answers.assert_no_pending_responses()
    assert said.endswith("To sign in: make chat DEPLOYED=1")


@pytest.mark.parametrize("code", [*MEANINGS, "InternalErrorException"])
def test_each_error_is_a_sentence(cognito: Cognito, code: str) -> None:
    """With what the user can do, or AWS's reason."""
    cognito.answers.add_client_error("admin_create_user", code, "the reason")
    with pytest.raises(InvitationError) as caught:
        invite(EMAIL, DEPLOYED, cognito.in_region)
    meaning = MEANINGS.get(code, "Cognito refused (InternalErrorException): {reason}")

    assert str(caught.value).startswith(meaning.partition("{")[0])
    assert ("{reason}" in meaning) == ("the reason" in str(caught.value))
    assert "{" not in str(caught.value)


def test_a_user_who_exists_is_not_invited_again(cognito: Cognito) -> None:
    """The command that would is named."""
    cognito.answers.add_client_error("admin_create_user", "UsernameExistsException")
    with pytest.raises(InvitationError, match=r"EMAIL=ada@example\.com ARGS=--resend"):
        invite(EMAIL, DEPLOYED, cognito.in_region)


def test_expired_credentials_are_reported(cognito: Cognito) -> None:
    """With how to get others."""
    cognito.answers.add_client_error("admin_create_user", "ExpiredTokenException")
    with pytest.raises(InvitationError, match=r"^The credentials have expired\. Sign in"):
        invite(EMAIL, DEPLOYED, cognito.in_region)


def test_missing_credentials_are_reported(
    cognito: Cognito, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are missing only when a request is signed."""

    def unsigned(**_: Any) -> None:
        raise NoCredentialsError

    monkeypatch.setattr(cognito.client, "admin_create_user", unsigned)
    with pytest.raises(InvitationError, match=r"^There are no credentials\. Sign in"):
        invite(EMAIL, DEPLOYED, cognito.in_region)


@pytest.mark.parametrize(
    "email",
    ["", "ada", "ada@", "@example.com", "ada@example", "a b@example.com", "a@b@c.d", "a@b..c"],
)
def test_what_is_no_address_is_refused(email: str) -> None:
    """Before Terraform or AWS is asked."""
    with pytest.raises(InvitationError, match="is not an email address: make user EMAIL="):
        address(email)


@pytest.mark.parametrize(
    ("known", "sentence"),
    [
        ({}, "Nothing is deployed: run `make deploy`."),
        ({"auth": "iam"}, "auth is iam, so users are identities of AWS"),
        ({"auth": "jwt"}, "auth is jwt, so the issuer of the tokens manages the users"),
        ({"auth": "none"}, "auth is none, so everyone who knows the URL may connect"),
    ],
)
def test_without_a_pool_the_reason_is_reported(
    cognito: Cognito, known: dict[str, str], sentence: str
) -> None:
    """And who decides about users instead."""
    without = {**DEPLOYED, **known, "user_pool_id": None} if known else {}
    with pytest.raises(InvitationError) as caught:
        invite(EMAIL, without, cognito.in_region)

    assert sentence in str(caught.value)
    assert not cognito.regions


def test_the_command_reads_terraforms_outputs(
    cognito: Cognito, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Success is a line on standard output, failure one on standard error."""
    monkeypatch.setattr(user, "client_in", cognito.in_region)
    monkeypatch.setattr(user, "outputs", lambda: DEPLOYED)
    cognito.answers.add_response("admin_create_user", {}, REQUEST)
    first = user.main([f" {EMAIL} "]), capsys.readouterr()

    def missing() -> None:
        raise TerraformMissingError("There is no terraform.")

    monkeypatch.setattr(user, "outputs", missing)
    second = user.main([EMAIL]), capsys.readouterr()

    assert (0, 1, "") == (first[0], len(first[1].out.splitlines()), first[1].err)
    assert (1, "", "There is no terraform.\n") == (second[0], second[1].out, second[1].err)


def test_the_module_runs_as_a_command() -> None:
    """`python -m deploy.user`, as in the Makefile; without an address it says how to give one."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.user", ""],
        cwd=ROOT,
        env={**os.environ, "PATH": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (1, "") == (done.returncode, done.stdout)
    assert "make user EMAIL=ada@example.com" in done.stderr

"""Covers deploy/account_checks.py and the words of deploy/checks.py for credentials."""

from typing import Any

import boto3
import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.stub import Stubber

from deploy import account_checks
from deploy.checks import DoubtfulError, MissingError, UnknownError, in_plain_words
from deploy.state import Identity

CHAT = Identity("chat", "eu-west-1", "123456789012")
ROLE = "arn:aws:iam::123456789012:role"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ClientError({"Error": {"Code": "ExpiredToken"}}, "x"), "The credentials have expired."),
        (
            ClientError({"Error": {"Code": "InvalidClientTokenId"}}, "x"),
            "does not know this access",
        ),
        (ClientError({"Error": {"Code": "SignatureDoesNotMatch"}}, "x"), "secret access key is wr"),
        (UnauthorizedSSOTokenError(), "The SSO session has expired."),
        (TokenRetrievalError(provider="sso", error_msg="x"), "The SSO session has expired."),
        (NoCredentialsError(), "There are no credentials."),
        (EndpointConnectionError(endpoint_url="https://sts"), "https://sts"),
    ],
)
def test_an_error_of_the_credentials_is_in_plain_words(error: Exception, expected: str) -> None:
    """With how to sign in; one that is not known is passed on."""
    text = in_plain_words(error)

    assert expected in text
    assert "aws sso login" in text


def concurrency(total: int, unreserved: int, reserved: int | None, own: int | None = None) -> Any:
    client = boto3.client("lambda", region_name="eu-west-1")
    answers = Stubber(client)
    limit = {"ConcurrentExecutions": total, "UnreservedConcurrentExecutions": unreserved}
    answers.add_response("get_account_settings", {"AccountLimit": limit}, {})
    if reserved is not None and own is None:
        answers.add_client_error("get_function_concurrency", "ResourceNotFoundException")
    elif reserved is not None:
        answers.add_response("get_function_concurrency", {"ReservedConcurrentExecutions": own})
    with answers:
        return account_checks.concurrency(client, "chat", reserved)


def test_a_reservation_that_fits_is_accepted() -> None:
    """AWS keeps 100; what the function has already counts as free. 0 stops it, and always fits."""
    assert 900 == concurrency(1000, 1000, 900)[0]
    assert 900 == concurrency(1000, 100, 900, own=900)[0]
    assert 0 == concurrency(10, 10, 0)[0]


@pytest.mark.parametrize(
    ("total", "unreserved", "reserved", "most"),
    [(1000, 1000, 901, 900), (1000, 300, 201, 200), (10, 10, 1, 0)],
)
def test_a_reservation_that_does_not_fit_is_missing(
    total: int, unreserved: int, reserved: int, most: int
) -> None:
    """With what would fit: AWS would refuse it in the middle of the run."""
    with pytest.raises(MissingError, match=f"at most {most} are left"):
        concurrency(total, unreserved, reserved)


def test_a_new_accounts_concurrency_is_a_warning() -> None:
    """Without a reservation: ten answers at once are all."""
    assert 1000 == concurrency(1000, 1000, None)[0]
    with pytest.raises(DoubtfulError, match="at most 10 invocations at once"):
        concurrency(10, 10, None)


def test_a_rate_above_the_accounts_is_a_warning() -> None:
    """The stage's throttle could not protect the account's other APIs."""
    client = boto3.client("service-quotas", region_name="eu-west-1")
    answers = Stubber(client)
    asked = {"ServiceCode": "apigateway", "QuotaCode": "L-8A5B8E43"}
    for _ in range(2):
        answers.add_response("get_service_quota", {"Quota": {"Value": 2500.0}}, asked)
    with answers:
        assert 2500 == account_checks.request_rate(client, 2500)[0]
        with pytest.raises(DoubtfulError, match="2600 requests a second"):
            account_checks.request_rate(client, 2600)


def logging_role(role: str, *, created: bool, absent: str = "") -> Any:
    gateway = boto3.client("apigateway", region_name="eu-west-1")
    answers = Stubber(gateway)
    answers.add_response("get_account", {"cloudwatchRoleArn": f"{ROLE}/{role}"} if role else {})
    iam = boto3.client("iam")
    roles = Stubber(iam)
    if absent:
        roles.add_client_error("get_role", absent)
    else:
        found = {
            "Path": "/",
            "RoleName": role or "x",
            "RoleId": "r" * 16,
            "Arn": f"{ROLE}/{role or 'xxxxxxxx'}",
            "CreateDate": "2026-01-01T00:00:00Z",
        }
        roles.add_response("get_role", {"Role": found})
    with answers, roles:
        return account_checks.logging_role(
            {"apigateway": gateway, "iam": iam}.__getitem__, created, CHAT
        )


def test_the_accounts_logging_role_is_accepted() -> None:
    """One that something else made, and one that IAM does not show; or Terraform creates it."""
    assert f"{ROLE}/logs" == logging_role("logs", created=False)[0]
    assert f"{ROLE}/logs" == logging_role("logs", created=False, absent="AccessDenied")[0]
    assert "Terraform creates" in logging_role("", created=True)[1]
    assert "Terraform creates" in logging_role("chat-eu-west-1-api-logs", created=True)[1]


@pytest.mark.parametrize(("role", "absent"), [("", ""), ("logs", "NoSuchEntity")])
def test_a_logging_role_that_does_not_exist_is_missing(role: str, absent: str) -> None:
    """None is set, or the one that is set has been deleted."""
    with pytest.raises(MissingError, match="account_logging = true"):
        logging_role(role, created=False, absent=absent)


@pytest.mark.parametrize(
    ("role", "created", "expected"),
    [
        ("logs", True, "which something else set"),
        ("chat-2-eu-west-1-api-logs", True, "which something else set"),
        ("chat-2-eu-west-1-api-logs", False, "belongs to the deployment chat-2"),
        ("chat-eu-west-1-api-logs", False, "was made by this deployment"),
    ],
)
def test_a_logging_role_of_another_owner_is_a_warning(
    role: str, created: bool, expected: str
) -> None:
    """Replaced, or removed, it takes the logs of the whole account and Region with it."""
    with pytest.raises(DoubtfulError, match=expected):
        logging_role(role, created=created)


def test_a_token_for_the_smoke_test_is_asked_for_before_the_deployment() -> None:
    """With JWTs; the deployment is possible without."""
    assert account_checks.token({"auth": "iam"}, {})[0]
    assert account_checks.token({"auth": "jwt"}, {"TOKEN": "t"})[0]
    with pytest.raises(DoubtfulError, match="TOKEN is not set"):
        account_checks.token({"auth": "jwt"}, {})


def test_a_quota_that_may_not_be_read_is_unknown() -> None:
    """Deploying needs no such permission."""
    client = boto3.client("service-quotas", region_name="eu-west-1")
    answers = Stubber(client)
    answers.add_client_error("get_service_quota", "AccessDeniedException")
    with answers, pytest.raises(UnknownError):
        account_checks.request_rate(client, 50)

"""Covers deploy/preflight.py: against moto; Bedrock, which moto lacks, is botocore's Stubber."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import BotoCoreError
from botocore.stub import Stubber
from moto import mock_aws

from deploy import preflight, terraform

PROFILE = "global.anthropic.claude-sonnet-4-6"
MODEL = "anthropic.claude-sonnet-4-6"
FINE = {
    "modelId": MODEL,
    "agreementAvailability": {"status": "AVAILABLE"},
    "authorizationStatus": "AUTHORIZED",
    "entitlementAvailability": "AVAILABLE",
    "regionAvailability": "AVAILABLE",
}
BEHIND = {
    "inferenceProfileName": "p",
    "inferenceProfileArn": f"arn:aws:bedrock:eu-west-1:123456789012:inference-profile/{PROFILE}",
    "inferenceProfileId": PROFILE,
    "status": "ACTIVE",
    "type": "SYSTEM_DEFINED",
    "models": [
        {"modelArn": f"arn:aws:bedrock:{region}::foundation-model/{MODEL}"}
        for region in ("eu-west-1", "eu-north-1")
    ],
}


class Account:
    """An AWS account in moto, whose Bedrock answers as it is told, and Terraform's variables."""

    def __init__(self) -> None:
        self.session: Any = boto3.Session()
        self.bedrock = self.session.client("bedrock", region_name="eu-west-1")
        self.answers = Stubber(self.bedrock)
        self.variables: dict[str, Any] = {
            "region": "eu-west-1",
            "model_id": PROFILE,
            "account_logging": False,
        }
        self.given: list[str] = []

    def client(self, name: str, region_name: str) -> Any:
        if name == "bedrock":
            return self.bedrock
        return self.session.client(name, region_name=region_name)

    @property
    def region_name(self) -> str | None:
        return None

    def profile(self) -> None:
        """Bedrock knows the profile."""
        expected = {"inferenceProfileIdentifier": PROFILE}
        self.answers.add_response("get_inference_profile", BEHIND, expected)

    def availability(self, **told: Any) -> None:
        """Bedrock tells of the model."""
        answer = {**FINE, **told}
        self.answers.add_response("get_foundation_model_availability", answer, {"modelId": MODEL})

    def look(self) -> tuple[bool, dict[str, tuple[str, str]]]:
        """Whether all is there, and each line by its name."""
        lines: list[str] = []
        with self.answers:
            complete = preflight.preflight(self, self.given, lines.append)  # type: ignore[arg-type]
            self.answers.assert_no_pending_responses()
        told = {}
        for line in lines:
            finding, rest = line.split(maxsplit=1)
            name, _, words = rest.partition(": ")
            assert name not in told
            told[name] = (finding, words)
        return complete, told


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    with mock_aws():
        made = Account()
        client = made.session.client("apigateway", region_name="eu-west-1")
        role = "arn:aws:iam::123456789012:role/logs"
        operation = {"op": "replace", "path": "/cloudwatchRoleArn", "value": role}
        client.update_account(patchOperations=[operation])
        monkeypatch.setattr(terraform, "program", lambda: "/bin/terraform")
        monkeypatch.setattr(terraform, "variables", lambda *_: made.variables)
        yield made


def test_all_is_there(account: Account) -> None:
    """A line for each thing, and nothing is missing; each model behind a profile is asked once."""
    account.profile()
    account.availability(regionAvailability="NOT_AVAILABLE")  # the profile leads elsewhere

    complete, told = account.look()

    assert complete
    assert ["Terraform", "credentials", "variables", "Region", "model", "API Gateway's logs"] == (
        list(told)
    )
    assert {"ok"} == {finding for finding, _ in told.values()}
    assert "123456789012" in told["credentials"][1]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"authorizationStatus": "NOT_AUTHORIZED"}, "not authorized"),
        ({"entitlementAvailability": "NOT_AVAILABLE"}, "Anthropic"),
        ({"agreementAvailability": {"status": "NOT_AVAILABLE"}}, "AWS Marketplace"),
        ({"agreementAvailability": {"status": "PENDING"}}, "PENDING"),
    ],
)
def test_a_model_without_access(account: Account, state: dict[str, Any], words: str) -> None:
    """Which part of the access is missing, and what to do about it."""
    account.profile()
    account.availability(**state)

    complete, told = account.look()

    assert not complete
    assert "missing" == told["model"][0]
    assert MODEL in told["model"][1]
    assert words in told["model"][1]


@pytest.mark.parametrize(
    "model_id", [MODEL, f"arn:aws:bedrock:eu-west-1::foundation-model/{MODEL}"]
)
def test_a_model_of_its_own_has_to_be_in_the_region(account: Account, model_id: str) -> None:
    """Without a profile the Region is the only one."""
    account.variables["model_id"] = model_id
    account.answers.add_client_error("get_inference_profile", "ValidationException")
    account.availability(regionAvailability="NOT_AVAILABLE")

    complete, told = account.look()

    assert not complete
    assert "choose another region" in told["model"][1]


def test_a_model_that_nobody_knows(account: Account) -> None:
    """Neither a profile nor a model of that name."""
    account.answers.add_client_error("get_inference_profile", "ResourceNotFoundException")
    account.answers.add_client_error(
        "get_foundation_model_availability", "ResourceNotFoundException"
    )

    complete, told = account.look()

    assert not complete
    assert ("missing", "It is not known") == (told["model"][0], told["model"][1][:15])


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_what_cannot_be_asked_holds_nobody_up(account: Account, code: str) -> None:
    """Deploying needs no right to ask Bedrock for these."""
    account.answers.add_client_error("get_inference_profile", code)

    complete, told = account.look()

    assert complete
    assert "unknown" == told["model"][0]


def test_a_model_of_ones_own(account: Account) -> None:
    """Of imported and provisioned models Bedrock does not tell."""
    arn = "arn:aws:bedrock:eu-west-1:123456789012:imported-model/abc"
    account.variables["model_id"] = arn
    account.answers.add_client_error("get_inference_profile", "ValidationException")

    complete, told = account.look()

    assert complete
    assert ("unknown", True) == (told["model"][0], arn in told["model"][1])


def test_bedrock_is_not_there(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Region without an endpoint is told, and no traceback."""

    def nowhere(**_: str) -> None:
        raise BotoCoreError

    monkeypatch.setattr(account.bedrock, "get_inference_profile", nowhere)

    assert "unknown" == account.look()[1]["model"][0]


def test_no_role_for_logs(account: Account) -> None:
    """API Gateway would refuse the stage; the variable that helps is named."""
    account.variables["region"] = "eu-north-1"  # where nothing was ever set
    account.profile()
    account.availability()

    complete, told = account.look()

    assert not complete
    assert "account_logging = true" in told["API Gateway's logs"][1]


def test_a_role_for_logs_that_terraform_makes(account: Account) -> None:
    """Then it need not be there."""
    account.variables |= {"region": "eu-north-1", "account_logging": True}
    account.profile()
    account.availability()

    assert account.look()[0]


def test_no_credentials(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says how to get some; what rests on them is not looked at."""
    monkeypatch.setattr("botocore.session.Session.get_credentials", lambda _: None)
    account.session = boto3.Session()

    complete, told = account.look()

    assert not complete
    assert ["Terraform", "credentials"] == list(told)
    assert "aws sso login" in told["credentials"][1]


def test_no_region(account: Account) -> None:
    """Neither Terraform's variable nor the environment names one."""
    account.variables["region"] = None

    complete, told = account.look()

    assert not complete
    assert "terraform.tfvars" in told["Region"][1]
    assert "Region" == list(told)[-1]


def test_the_region_of_the_environment(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_REGION counts, as it does for Terraform."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    account.variables["region"] = None
    account.profile()
    account.availability()

    assert "eu-west-1" == account.look()[1]["Region"][1]


@pytest.mark.parametrize("part", ["program", "variables"])
def test_terraform_cannot_be_used(
    account: Account, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """What it lacks, or which variable it refuses, is told once."""

    def refuse(*_: Any) -> None:
        raise terraform.TerraformMissingError("No such thing.")

    monkeypatch.setattr(terraform, part, refuse)
    complete, told = account.look()

    assert not complete
    assert [("missing", "No such thing.")] == [row for row in told.values() if row[0] != "ok"]


def test_the_command_line(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status 1 where something is missing; a profile that does not exist is one such thing."""
    monkeypatch.setattr(boto3, "Session", lambda: account)
    account.variables["region"] = None
    assert 1 == preflight.main(["-var=name=x"])

    def no_such_profile() -> None:
        raise BotoCoreError

    monkeypatch.setattr(boto3, "Session", no_such_profile)
    assert 1 == preflight.main([])
    assert "missing  credentials" in capsys.readouterr().out.splitlines()[-1]

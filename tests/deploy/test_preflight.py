"""Covers deploy/preflight.py, with moto; Bedrock, which moto lacks, is botocore's Stubber."""

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
GRANTED = {
    "modelId": MODEL,
    "agreementAvailability": {"status": "AVAILABLE"},
    "authorizationStatus": "AUTHORIZED",
    "entitlementAvailability": "AVAILABLE",
    "regionAvailability": "AVAILABLE",
}
PROFILE_MODELS = {
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
    """An AWS account in moto with prepared answers of Bedrock, and Terraform's variables."""

    def __init__(self) -> None:
        self.session: Any = boto3.Session()
        self.bedrock = self.session.client("bedrock", region_name="eu-west-1")
        self.answers = Stubber(self.bedrock)
        self.variables: dict[str, Any] = {
            "region": "eu-west-1",
            "model_id": PROFILE,
            "account_logging": False,
        }
        self.arguments: list[str] = []

    def client(self, name: str, region_name: str) -> Any:
        if name == "bedrock":
            return self.bedrock
        return self.session.client(name, region_name=region_name)

    @property
    def region_name(self) -> str | None:
        return None

    def profile(self) -> None:
        """Prepares Bedrock's answer about the profile."""
        expected = {"inferenceProfileIdentifier": PROFILE}
        self.answers.add_response("get_inference_profile", PROFILE_MODELS, expected)

    def availability(self, **status: Any) -> None:
        """Prepares Bedrock's answer about the model."""
        answer = {**GRANTED, **status}
        self.answers.add_response("get_foundation_model_availability", answer, {"modelId": MODEL})

    def check(self) -> tuple[bool, dict[str, tuple[str, str]]]:
        """Whether no requirement is missing, and each line by its name."""
        lines: list[str] = []
        with self.answers:
            complete = preflight.preflight(self, self.arguments, lines.append)  # type: ignore[arg-type]
            self.answers.assert_no_pending_responses()
        report = {}
        for line in lines:
            result, rest = line.split(maxsplit=1)
            name, _, text = rest.partition(": ")
            assert name not in report
            report[name] = (result, text)
        return complete, report


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


def test_each_requirement_is_reported_as_ok(account: Account) -> None:
    """In a line each; the status of a profile's model is read once, whatever its Region's."""
    account.profile()
    account.availability(regionAvailability="NOT_AVAILABLE")  # the profile routes to other Regions

    complete, report = account.check()

    assert complete
    assert ["Terraform", "credentials", "variables", "Region", "model", "API Gateway's logs"] == (
        list(report)
    )
    assert {"ok"} == {result for result, _ in report.values()}
    assert "123456789012" in report["credentials"][1]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"authorizationStatus": "NOT_AUTHORIZED"}, "not authorized"),
        ({"entitlementAvailability": "NOT_AVAILABLE"}, "Anthropic"),
        ({"agreementAvailability": {"status": "NOT_AVAILABLE"}}, "AWS Marketplace"),
        ({"agreementAvailability": {"status": "PENDING"}}, "PENDING"),
    ],
)
def test_missing_access_to_a_model_is_reported_with_its_remedy(
    account: Account, state: dict[str, Any], expected: str
) -> None:
    """For each part of the access."""
    account.profile()
    account.availability(**state)

    complete, report = account.check()

    assert not complete
    assert "missing" == report["model"][0]
    assert MODEL in report["model"][1]
    assert expected in report["model"][1]


@pytest.mark.parametrize(
    "model_id", [MODEL, f"arn:aws:bedrock:eu-west-1::foundation-model/{MODEL}"]
)
def test_a_model_has_to_be_available_in_the_region(account: Account, model_id: str) -> None:
    """Unless it is an inference profile."""
    account.variables["model_id"] = model_id
    account.answers.add_client_error("get_inference_profile", "ValidationException")
    account.availability(regionAvailability="NOT_AVAILABLE")

    complete, report = account.check()

    assert not complete
    assert "choose another region" in report["model"][1]


def test_an_unknown_model_is_reported_as_missing(account: Account) -> None:
    """Neither a profile nor a model has that id."""
    account.answers.add_client_error("get_inference_profile", "ResourceNotFoundException")
    account.answers.add_client_error(
        "get_foundation_model_availability", "ResourceNotFoundException"
    )

    complete, report = account.check()

    assert not complete
    assert ("missing", "It does not exi") == (report["model"][0], report["model"][1][:15])


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_a_refused_request_to_bedrock_is_reported_as_unknown(account: Account, code: str) -> None:
    """Deploying does not need that permission, so the check passes."""
    account.answers.add_client_error("get_inference_profile", code)

    complete, report = account.check()

    assert complete
    assert "unknown" == report["model"][0]


def test_a_custom_model_is_reported_as_unknown(account: Account) -> None:
    """Bedrock reports no status of imported and provisioned models."""
    arn = "arn:aws:bedrock:eu-west-1:123456789012:imported-model/abc"
    account.variables["model_id"] = arn
    account.answers.add_client_error("get_inference_profile", "ValidationException")

    complete, report = account.check()

    assert complete
    assert ("unknown", True) == (report["model"][0], arn in report["model"][1])


def test_a_region_without_bedrock_is_reported_as_unknown(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a line, without a traceback."""

    def no_endpoint(**_: str) -> None:
        raise BotoCoreError

    monkeypatch.setattr(account.bedrock, "get_inference_profile", no_endpoint)

    assert "unknown" == account.check()[1]["model"][0]


def test_a_missing_logging_role_is_reported_with_the_variable(account: Account) -> None:
    """Without the role API Gateway would refuse the stage."""
    account.variables["region"] = "eu-north-1"  # where no role is set
    account.profile()
    account.availability()

    complete, report = account.check()

    assert not complete
    assert "account_logging = true" in report["API Gateway's logs"][1]


def test_a_logging_role_that_terraform_creates_may_be_missing(account: Account) -> None:
    """With account_logging."""
    account.variables |= {"region": "eu-north-1", "account_logging": True}
    account.profile()
    account.availability()

    assert account.check()[0]


def test_missing_credentials_are_reported_alone(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the remedy; checks that depend on them are skipped."""
    monkeypatch.setattr("botocore.session.Session.get_credentials", lambda _: None)
    account.session = boto3.Session()

    complete, report = account.check()

    assert not complete
    assert ["Terraform", "credentials"] == list(report)
    assert "aws sso login" in report["credentials"][1]


def test_a_missing_region_is_reported(account: Account) -> None:
    """If neither Terraform's variable nor the environment has one."""
    account.variables["region"] = None

    complete, report = account.check()

    assert not complete
    assert "terraform.tfvars" in report["Region"][1]
    assert "Region" == list(report)[-1]


def test_the_region_of_the_environment_is_used(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS_REGION, as by Terraform."""
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    account.variables["region"] = None
    account.profile()
    account.availability()

    assert "eu-west-1" == account.check()[1]["Region"][1]


@pytest.mark.parametrize("part", ["program", "variables"])
def test_an_error_of_terraform_is_reported_once(
    account: Account, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """If it cannot run, and if it refuses a variable."""

    def refuse(*_: Any) -> None:
        raise terraform.TerraformMissingError("No such thing.")

    monkeypatch.setattr(terraform, part, refuse)
    complete, report = account.check()

    assert not complete
    assert [("missing", "No such thing.")] == [row for row in report.values() if row[0] != "ok"]


def test_the_exit_status_is_1_if_a_requirement_is_missing(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A profile that does not exist included."""
    monkeypatch.setattr(boto3, "Session", lambda: account)
    account.variables["region"] = None
    assert 1 == preflight.main(["-var=name=x"])

    def no_such_profile() -> None:
        raise BotoCoreError

    monkeypatch.setattr(boto3, "Session", no_such_profile)
    assert 1 == preflight.main([])
    assert "missing  credentials" in capsys.readouterr().out.splitlines()[-1]

"""Covers deploy/preflight.py, with moto; what moto lacks is botocore's Stubber.

test_bedrock_checks.py, test_account_checks.py and test_state.py have the single checks.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import BotoCoreError
from botocore.stub import Stubber
from moto import mock_aws

from deploy import plans, preflight, terraform
from deploy.environments import Environment

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


SESSION = boto3.Session()  # one for all tests: it caches the service models
Found = tuple[bool, dict[str, tuple[str, str]]]


class Quotas:
    """The account's quotas, of which moto has other ones."""

    def list_service_quotas(self, **_: str) -> Any:
        name = "Global cross-region model inference tokens per minute for Claude Sonnet 4.6"
        return {"Quotas": [{"QuotaName": name, "Value": 2_000_000.0}]}

    def get_service_quota(self, **_: str) -> Any:
        return {"Quota": {"Value": 10_000.0}}


class Account:
    """An AWS account in moto with prepared answers of Bedrock, and Terraform's variables."""

    def __init__(self) -> None:
        self.session: Any = SESSION
        self.bedrock = self.session.client("bedrock", region_name="eu-west-1")
        self.answers = Stubber(self.bedrock)
        self.variables: dict[str, Any] = {
            "account_logging": False,
            "auth": "iam",
            "history_tokens": 16_000,
            "max_output_tokens": 4_000,
            "model_id": PROFILE,
            "name": "chat",
            "region": "eu-west-1",
            "reserved_concurrency": None,
            "throttle_rate": 50,
        }
        self.state: dict[str, Any] = {}
        self.arguments: list[str] = []

    def client(self, name: str, region_name: str) -> Any:
        if name == "bedrock":
            return self.bedrock
        if name == "service-quotas":
            return Quotas()
        client = self.session.client(name, region_name=region_name)
        if name == "lambda":  # moto lacks this operation
            limit = {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000}
            client.get_account_settings = lambda: {"AccountLimit": limit}
        return client

    @property
    def region_name(self) -> str | None:
        return None

    def profile(self) -> None:
        """Prepares Bedrock's answer about the profile."""
        expected = {"inferenceProfileIdentifier": PROFILE}
        self.answers.add_response("get_inference_profile", PROFILE_MODELS, expected)

    def availability(self, **status: Any) -> None:
        """Prepares Bedrock's answers about the model."""
        answer = {**GRANTED, **status}
        self.answers.add_response("get_foundation_model_availability", answer, {"modelId": MODEL})
        if not status:
            self.details()

    def details(self) -> None:
        """Prepares Bedrock's description of the model."""
        details = {
            "modelArn": f"arn:aws:bedrock:eu-west-1::foundation-model/{MODEL}",
            "modelId": MODEL,
            "modelName": "Claude Sonnet 4.6",
            "modelLifecycle": {"status": "ACTIVE"},
        }
        self.answers.add_response("get_foundation_model", {"modelDetails": details})

    def check(self, purpose: str = "report", saved: Path | None = None) -> Found:
        """Whether the purpose is possible, and each line by its name."""
        lines: list[str] = []
        with self.answers:
            complete = preflight.preflight(
                self,  # type: ignore[arg-type]
                self.arguments,
                lines.append,
                purpose,
                saved,
            )
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
        organizations = SESSION.client("organizations", region_name="us-east-1")
        organizations.create_organization(FeatureSet="ALL")
        made = Account()
        client = made.session.client("apigateway", region_name="eu-west-1")
        iam = SESSION.client("iam")
        role = iam.create_role(RoleName="logs", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        operation = {"op": "replace", "path": "/cloudwatchRoleArn", "value": role}
        client.update_account(patchOperations=[operation])
        monkeypatch.setattr(terraform, "program", lambda: "/bin/terraform")
        monkeypatch.setattr(terraform, "variables", lambda *_: made.variables)
        monkeypatch.setattr(terraform, "state", lambda: made.state)
        monkeypatch.delenv("FORCE", raising=False)
        yield made


def test_each_requirement_is_reported_as_ok(account: Account) -> None:
    """In a line each; the status of a profile's model is read once, whatever its Region's."""
    account.profile()
    account.availability(regionAvailability="NOT_AVAILABLE")  # the profile routes to other Regions
    account.details()

    complete, report = account.check()

    assert complete
    assert [
        *("Terraform", "credentials", "variables", "Region", "state", "name"),
        *("model", "lifecycle", "Regions of the model", "quota of tokens"),
        *("concurrency", "quota of requests", "API Gateway's logs", "smoke test"),
    ] == list(report)
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


def table(name: str = "chat") -> dict[str, Any]:
    """A state with a table."""
    arn = f"arn:aws:dynamodb:eu-west-1:123456789012:table/{name}"
    attributes = {"name": name, "arn": arn}
    resource = {
        "mode": "managed",
        "type": "aws_dynamodb_table",
        "instances": [{"attributes": attributes}],
    }
    return {"resources": [resource]}


@pytest.mark.parametrize("purpose", ["report", "plan", "deploy", "destroy"])
def test_the_state_of_another_deployment_is_refused_for_every_purpose(
    account: Account, purpose: str
) -> None:
    """Before a plan: nothing else is checked."""
    account.state = table("other")

    complete, report = account.check(purpose)

    assert not complete
    assert "refused" == report["state"][0]
    assert "state" == list(report)[-1]


def test_force_names_the_deployment_that_may_be_lost(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the checks continue."""
    account.state = table("other")
    monkeypatch.setenv("FORCE", "other")
    account.profile()
    account.availability()

    assert account.check("deploy")[0]


def protected() -> None:
    boto3.client("dynamodb", region_name="eu-west-1").create_table(
        TableName="chat",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        DeletionProtectionEnabled=True,
    )


@pytest.mark.parametrize("purpose", ["report", "plan", "deploy"])
def test_a_live_deployment_without_its_state_is_refused(account: Account, purpose: str) -> None:
    """A colleague has it: with the defaults, and no state."""
    protected()

    complete, report = account.check(purpose)

    assert not complete
    assert "refused" == report["name"][0]
    assert "terraform/backend.tf" in report["name"][1]


def test_a_protected_table_is_refused_before_it_is_destroyed_in_part(account: Account) -> None:
    """Only destroying asks; the model does not matter to it."""
    account.state = table()
    protected()

    complete, report = account.check("destroy")

    assert not complete
    assert ["state", "deletion"] == list(report)[-2:]
    assert "--no-deletion-protection-enabled" in report["deletion"][1]


def test_a_plan_is_possible_without_access_to_the_model(account: Account) -> None:
    """It is reported, and stops only a deployment."""
    for expected, purpose in ((True, "plan"), (False, "deploy")):
        account.profile()
        account.availability(authorizationStatus="NOT_AUTHORIZED")

        complete, report = account.check(purpose)

        assert expected == complete
        assert "missing" == report["model"][0]


def test_expired_credentials_are_reported_in_plain_words(account: Account) -> None:
    """For a plan, too."""
    sts = account.session.client("sts", region_name="us-east-1")
    answers = Stubber(sts)
    answers.add_client_error("get_caller_identity", "ExpiredToken", "The security token ...")
    answers.activate()
    account.session = type("", (), {"client": lambda *_, **__: sts})()

    complete, report = account.check("plan")

    assert not complete
    assert report["credentials"][1].startswith("The credentials have expired. Sign in")


@pytest.fixture
def saved(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A plan of the default environment, and its record."""
    plan = tmp_path / "plan.tfplan"
    plan.write_text("plan")
    record = plans.describe(plan, Environment("", tmp_path), {})
    record |= {"name": "chat", "region": "eu-west-1", "account": "123456789012"}
    record["variables"] = account.variables
    plans.record_of(plan).write_text(json.dumps(record))
    monkeypatch.setattr(terraform, "variables", lambda *_: pytest.fail("These are the plan's."))
    return plan


def test_a_saved_plan_is_checked_with_its_own_variables(account: Account, saved: Path) -> None:
    """Those of this run do not matter to it."""
    account.profile()
    account.availability()

    complete, report = account.check("deploy", saved)

    assert complete
    assert "chat in eu-west-1 of account 123456789012" == report["plan's deployment"][1]


def test_a_saved_plan_of_another_region_is_refused(
    account: Account, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Region of the environment has changed since."""
    record = json.loads(plans.record_of(saved).read_text())
    record["variables"]["region"] = None
    plans.record_of(saved).write_text(json.dumps(record))
    monkeypatch.setenv("AWS_REGION", "us-east-1")

    complete, report = account.check("deploy", saved)

    assert not complete
    assert "refused" == report["plan's deployment"][0]


def test_a_changed_plan_is_refused_alone(account: Account, saved: Path) -> None:
    """Nothing else is checked."""
    saved.write_text("another plan")

    complete, report = account.check("deploy", saved)

    assert not complete
    assert ["Terraform", "credentials", "plan"] == list(report)

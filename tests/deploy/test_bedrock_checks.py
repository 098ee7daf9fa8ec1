"""Covers deploy/bedrock_checks.py: the model's lifecycle, Regions, quota, and denials."""

from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from deploy import bedrock_checks
from deploy.checks import DoubtfulError, MissingError, UnknownError

MODEL = "anthropic.claude-sonnet-4-6"
ACCOUNT = "123456789012"
NOW = datetime(2026, 11, 29, tzinfo=UTC)


def lifecycle(**stage: Any) -> tuple[str, str]:
    client = boto3.client("bedrock", region_name="eu-west-1")
    answers = Stubber(client)
    details = {
        "modelArn": f"arn:aws:bedrock:eu-west-1::foundation-model/{MODEL}",
        "modelId": MODEL,
        "modelName": "Claude Sonnet 4.6",
        "modelLifecycle": stage,
    }
    answers.add_response(
        "get_foundation_model", {"modelDetails": details}, {"modelIdentifier": MODEL}
    )
    with answers:
        return bedrock_checks.lifecycle(client, MODEL, lambda: NOW)


def test_an_active_model_is_accepted() -> None:
    """With the date of its end, if there is one."""
    assert ("Claude Sonnet 4.6", "Claude Sonnet 4.6 is active") == lifecycle(status="ACTIVE")
    assert (
        "ends on 2027-02-17"
        in lifecycle(status="ACTIVE", endOfLifeTime=datetime(2027, 2, 17, tzinfo=UTC))[1]
    )


def test_a_legacy_model_is_a_warning_with_its_end() -> None:
    """It still works, and its name is known."""
    with pytest.raises(DoubtfulError, match="legacy model and ends on 2027-02-17") as warned:
        lifecycle(status="LEGACY", endOfLifeTime=datetime(2027, 2, 17, tzinfo=UTC))

    assert "Claude Sonnet 4.6" == warned.value.value


def test_a_model_that_has_ended_is_missing() -> None:
    """Every question would fail."""
    with pytest.raises(MissingError, match="ended on 2026-11-28"):
        lifecycle(status="LEGACY", endOfLifeTime=datetime(2026, 11, 28, tzinfo=UTC))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("... with an explicit deny in a service control policy", DoubtfulError),
        ("... because no identity-based policy allows it", UnknownError),
    ],
)
def test_a_denial_by_the_organization_is_a_warning(message: str, expected: type[Exception]) -> None:
    """A policy that denies Regions denies reading, too; a missing permission says nothing."""
    client = boto3.client("bedrock", region_name="eu-west-1")
    answers = Stubber(client)
    answers.add_client_error("get_inference_profile", "AccessDeniedException", message)
    with answers, pytest.raises(expected):
        bedrock_checks.access(client, f"global.{MODEL}")


def organization(code: str = "", owner: str = "999999999999") -> Any:
    client = boto3.client("organizations", region_name="us-east-1")
    answers = Stubber(client)
    if code:
        answers.add_client_error("describe_organization", code)
    else:
        found = {"Organization": {"MasterAccountId": owner}}
        answers.add_response("describe_organization", found)
    answers.activate()
    return client


@pytest.mark.parametrize(
    ("model_id", "regions", "expected"),
    [
        (f"global.{MODEL}", {"", "eu-west-1"}, "aws:RequestedRegion unspecified"),
        (f"eu.{MODEL}", {"eu-west-1", "eu-north-1"}, "RequestedRegion eu-north-1, eu-west-1"),
    ],
)
def test_a_profile_in_an_organization_is_a_warning(
    model_id: str, regions: set[str], expected: str
) -> None:
    """A member account cannot read a policy that denies Regions; the value to allow is named."""
    for client in (organization(), organization("AccessDeniedException")):
        with pytest.raises(DoubtfulError, match=expected):
            bedrock_checks.regions(client, model_id, {MODEL: regions}, ACCOUNT)


def test_an_unreachable_organization_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that may not be read."""
    client = organization()

    def unreachable(*_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://x")

    monkeypatch.setattr(client, "_make_api_call", unreachable)
    with pytest.raises(DoubtfulError):
        bedrock_checks.regions(client, f"global.{MODEL}", {MODEL: {""}}, ACCOUNT)


def test_without_policies_every_region_is_accepted() -> None:
    """Outside organizations, in the one that manages it, and where nothing is routed."""
    alone = organization("AWSOrganizationsNotInUseException")
    owner = organization(owner=ACCOUNT)
    routed = {MODEL: {"", "eu-west-1"}}

    assert "no organization" in bedrock_checks.regions(alone, f"global.{MODEL}", routed, ACCOUNT)[1]
    assert "management" in bedrock_checks.regions(owner, f"global.{MODEL}", routed, ACCOUNT)[1]
    assert "this Region only" in bedrock_checks.regions(None, MODEL, {}, ACCOUNT)[1]


QUOTAS = {
    "Global cross-region model inference tokens per minute for Anthropic Claude Sonnet 4.6": 400e3,
    "Cross-Region InvokeModel tokens per minute for Anthropic Claude Sonnet 4.6": 200e3,
    "Cross-Region InvokeModel tokens per minute for Anthropic Claude Sonnet 4.6 1M Context": 9e6,
    "On-demand InvokeModel tokens per minute for Anthropic Claude Sonnet 4.6": 100e3,
    "On-demand InvokeModel requests per minute for Anthropic Claude Sonnet 4.6": 50,
}


def quota(model_id: str, *, name: str = "Claude Sonnet 4.6", routed: bool = True) -> Any:
    client = boto3.client("service-quotas", region_name="eu-west-1")
    answers = Stubber(client)
    rows = [{"QuotaName": title, "Value": value} for title, value in QUOTAS.items()]
    asked = {"ServiceCode": "bedrock"}
    answers.add_response("list_service_quotas", {"Quotas": rows[:1], "NextToken": "t"}, asked)
    answers.add_response("list_service_quotas", {"Quotas": rows[1:]}, {**asked, "NextToken": "t"})
    with answers:
        return bedrock_checks.quota(client, model_id, name, routed, 10_000)


@pytest.mark.parametrize(
    ("model_id", "routed", "answers"),
    [(f"global.{MODEL}", True, 40), (f"eu.{MODEL}", True, 20), (MODEL, False, 10)],
)
def test_the_quota_is_that_of_the_kind_of_model_id(
    model_id: str, routed: bool, answers: int
) -> None:
    """Global, of a geography, or on demand; the shorter name is that of the model itself."""
    assert answers == quota(model_id, routed=routed)[0]


def test_a_quota_of_few_answers_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what the settings ask for."""
    monkeypatch.setattr(bedrock_checks, "LEAST_ANSWERS_A_MINUTE", 41)
    with pytest.raises(DoubtfulError, match="400,000, which is 40 answers a minute of 10,000"):
        quota(f"global.{MODEL}")


def test_a_model_whose_name_begins_another_ones_has_its_own_quota() -> None:
    """Sonnet 4 is not Sonnet 4.6."""
    with pytest.raises(
        UnknownError, match=r"no quota of global cross-region.*for Claude Sonnet 4\."
    ):
        quota(f"global.{MODEL}", name="Claude Sonnet 4")

"""The checks of `make preflight` that concern the model: access, lifecycle, Regions, quota.

No model is invoked. Unconfirmed without an account: Bedrock's answer about a model that the account
has never used, and the names of quotas, which are read as the Bedrock User Guide and the General
Reference write them. The names and values of availability are those of botocore's model of
GetFoundationModelAvailability; the remedies are those of the Bedrock User Guide, "Request access to
models".
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from deploy.checks import DoubtfulError, MissingError, UnknownError, call

# The fields of GetFoundationModelAvailability, with the remedy for each. Bedrock subscribes an
# account to a model when an identity that may subscribe invokes it for the first time; the
# function's role may not.
GRANTED = ("AVAILABLE", "AUTHORIZED")
AVAILABILITY = {
    "regionAvailability": "It is not available in this Region: choose another region or model_id.",
    "authorizationStatus": "Your identity is not authorized for it: ask an administrator of this "
    "account.",
    "entitlementAvailability": "The account is not entitled to it: open it once in the playground "
    "of the Bedrock console, which also has the form that Anthropic requires.",
    "agreementAvailability": "Its offer has not been accepted: open it once in the playground of "
    "the Bedrock console, with an identity that may subscribe in AWS Marketplace.",
}
# Fewer answers a minute than this are a quota that a few users notice.
LEAST_ANSWERS_A_MINUTE = 10


def routed_models(client: Any, model_id: str) -> dict[str, set[str]]:
    """The models of an inference profile, with their Regions; empty for any other model id."""
    try:
        profile = call(client.get_inference_profile, inferenceProfileIdentifier=model_id)
    except MissingError:
        return {}
    found: dict[str, set[str]] = {}
    for arn in sorted(each["modelArn"] for each in profile["models"]):
        found.setdefault(arn.rpartition("/")[2], set()).add(arn.split(":")[3])
    return found


def access(client: Any, model_id: str) -> tuple[dict[str, set[str]], str]:
    """The models behind the model id, each of which the account may use."""
    routed = routed_models(client, model_id)
    for each in routed or [model_id]:
        status = _availability(client, each)
        for name, remedy in AVAILABILITY.items():
            # A profile routes to other Regions: its models need not be available in this one.
            if status[name] not in GRANTED and not (routed and name == "regionAvailability"):
                raise MissingError(f"{each} has {name} {status[name]}. {remedy}")
    return routed or {model_id: set()}, f"{model_id} may be used"


def _availability(client: Any, model_id: str) -> dict[str, str]:
    """Bedrock's availability status of one model."""
    kind, _, name = model_id.rpartition("/")
    if kind and not kind.endswith(":foundation-model"):
        raise UnknownError(f"{model_id} is a custom model, for which Bedrock reports no status.")
    status = call(client.get_foundation_model_availability, modelId=name)
    return {**status, "agreementAvailability": status["agreementAvailability"]["status"]}


def lifecycle(
    client: Any, model: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> tuple[str, str]:
    """The model's name, if it is active."""
    details = call(client.get_foundation_model, modelIdentifier=model)["modelDetails"]
    name = details.get("modelName") or model
    stage = details.get("modelLifecycle", {})
    ends = stage.get("endOfLifeTime")
    until = f" and ends on {ends:%Y-%m-%d}" if ends else ""
    if ends and ends <= now():
        raise MissingError(
            f"{name} ended on {ends:%Y-%m-%d}: every question fails. Choose another model_id."
        )
    if stage.get("status") == "LEGACY":
        raise DoubtfulError(
            f"{name} is a legacy model{until}: AWS gives it to no new accounts and takes it from "
            "accounts that do not use it. Choose its successor as model_id.",
            name,
        )
    return name, f"{name} is {str(stage.get('status', 'of unknown status')).lower()}{until}"


def regions(
    organizations: Any, model_id: str, routed: Mapping[str, set[str]], account: str
) -> tuple[bool, str]:
    """Whether policies of an organization may deny the Regions to which a profile routes.

    Bedrock User Guide, "Global cross-Region inference": a call through a global profile has the
    Region `unspecified`, which a policy that denies all Regions but some denies, too. A member
    account cannot read such a policy.
    """
    found = sorted({each for some in routed.values() for each in some} - {""})
    if not found and "global." not in model_id:
        return True, "the model is called in this Region only"
    where = "every Region (global.)" if "global." in model_id else ", ".join(found)
    try:
        owner = organizations.describe_organization()["Organization"].get("MasterAccountId")
    except ClientError as error:
        if error.response["Error"]["Code"] == "AWSOrganizationsNotInUseException":
            return True, f"{where}; the account is in no organization whose policies could deny it"
        owner = None
    except BotoCoreError:
        owner = None
    if owner == account:  # policies do not apply to it
        return True, f"{where}; this is the management account of its organization"
    value = "unspecified" if "global." in model_id else where
    raise DoubtfulError(
        f"The model is called in {where}. If your organization denies Regions by a policy (SCP), "
        f"it must allow bedrock with aws:RequestedRegion {value}: otherwise every question fails "
        "with model_unavailable, which `make smoke` shows. This cannot be read from here; a "
        "model_id of another geography is the alternative."
    )


def quota(quotas: Any, model_id: str, name: str, routed: bool, tokens: int) -> tuple[int, str]:
    """How many answers a minute the account's quota of tokens allows.

    Bedrock User Guide, "Quotas": a request deducts its input and `max_tokens` when it starts.
    """
    kind = "global cross-region" if "global." in model_id else "cross-region"
    kind = kind if routed else "on-demand"
    exactly = re.compile(rf"{re.escape(name.lower())}(?![\w.])")
    found: list[tuple[int, float, str]] = []
    arguments: dict[str, str] = {}
    while True:
        page = call(quotas.list_service_quotas, ServiceCode="bedrock", **arguments)
        for each in page["Quotas"]:
            title = each["QuotaName"].lower()
            if title.startswith(kind) and "tokens per minute" in title and exactly.search(title):
                found.append((len(title), each["Value"], each["QuotaName"]))
        if not page.get("NextToken"):
            break
        arguments = {"NextToken": page["NextToken"]}
    if not found:
        raise UnknownError(f"There is no quota of {kind} tokens per minute for {name}.")
    _, value, title = min(found)  # a longer name is that of a variant
    answers = int(value // tokens)
    text = f"{title}: {value:,.0f}, which is {answers:,} answers a minute of {tokens:,} tokens each"
    if answers < LEAST_ANSWERS_A_MINUTE:
        raise DoubtfulError(
            f"{text} (history_tokens and max_output_tokens). Request an increase, or reduce them."
        )
    return answers, text

"""The checks of `make preflight` that concern the account: credentials, concurrency, logging role.

Sources: Lambda Developer Guide, "Configuring reserved concurrency" (100 stay unreserved) and
"Lambda quotas" (new accounts have less); API Gateway Developer Guide, "Set up CloudWatch logging"
(one role per account and Region) and "Quotas" (L-8A5B8E43, requests per second of the account).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from deploy.checks import DoubtfulError, MissingError, UnknownError, call, in_plain_words
from deploy.state import Identity
from deploy.terraform import TOKENS

UNRESERVED = 100  # what AWS keeps for functions without a reservation
CONCURRENCY_QUOTA = "L-B99A9384"
API_RATE_QUOTA = "L-8A5B8E43"


def credentials(client: Any) -> tuple[str, str]:
    """The account's id, if AWS accepts the credentials."""
    try:
        identity = client.get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        raise MissingError(in_plain_words(error)) from None
    return identity["Account"], identity["Arn"]


def concurrency(client: Any, name: str, reserved: int | None) -> tuple[int, str]:
    """The concurrency that the function can have, in which the reservation fits."""
    limit = call(client.get_account_settings)["AccountLimit"]
    total, unreserved = limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]
    more = f"request more (Service Quotas, Lambda, {CONCURRENCY_QUOTA})"
    if reserved is None:
        if total <= UNRESERVED:
            raise DoubtfulError(
                f"The account runs at most {total} invocations at once, of all its functions, and "
                f"an answer is one for as long as it takes: {more}."
            )
        return unreserved, f"{unreserved} of {total} are unreserved"
    most = max(0, unreserved + _reserved_now(client, name) - UNRESERVED)
    if reserved > most:
        raise MissingError(
            f"reserved_concurrency = {reserved} does not fit: AWS keeps {UNRESERVED} of the "
            f"account's {total} unreserved, so at most {most} are left. Reduce it, leave it out, "
            f"or {more}."
        )
    return reserved, f"{reserved} of {total} reserved, at most {most}"


def _reserved_now(client: Any, name: str) -> int:
    """What the deployed function has reserved already."""
    try:
        found = call(client.get_function_concurrency, FunctionName=name)
    except (MissingError, UnknownError):
        return 0
    return int(found.get("ReservedConcurrentExecutions", 0))


def request_rate(client: Any, wanted: float) -> tuple[float, str]:
    """The account's rate of requests to API Gateway, which the stage's does not exceed."""
    found = call(client.get_service_quota, ServiceCode="apigateway", QuotaCode=API_RATE_QUOTA)[
        "Quota"
    ]["Value"]
    if found < wanted:
        raise DoubtfulError(
            f"throttle_rate is {wanted:g} requests a second, and the account's quota {found:g}, "
            "posts to clients included: reduce it, or request more (Service Quotas, API Gateway)."
        )
    return found, f"{found:g} requests a second, of which throttle_rate allows clients {wanted:g}"


def logging_role(clients: Callable[[str], Any], created: bool, meant: Identity) -> tuple[str, str]:
    """The role with which API Gateway writes access logs, and whose it is."""
    arn = call(clients("apigateway").get_account).get("cloudwatchRoleArn") or ""
    role = arn.rpartition("/")[2]
    own = f"{meant.name}-{meant.region}-api-logs"
    other = re.fullmatch(rf"(?P<name>.+)-{re.escape(meant.region)}-api-logs", role)
    if created:
        if arn and role != own:
            raise DoubtfulError(
                f"account_logging = true replaces {arn}, which something else set for the whole "
                "account and Region, and `make destroy` leaves none: set account_logging = false."
            )
        return own, "Terraform creates the role (account_logging)"
    if not arn:
        raise MissingError(
            "API Gateway has no logging role, and refuses the stage without one. Set "
            "account_logging = true: Terraform then creates it, for the account and Region."
        )
    if not _exists(clients("iam"), role):
        raise MissingError(
            f"API Gateway's logging role {arn} does not exist any more, so it writes no logs. Set "
            "account_logging = true: Terraform then creates one, for the account and Region."
        )
    if role == own:
        raise DoubtfulError(
            f"{arn} was made by this deployment, and account_logging = false removes it: every "
            "WebSocket API of the account and Region then lacks one. Set account_logging = true."
        )
    if other:
        raise DoubtfulError(
            f"{arn} belongs to the deployment {other['name']}: when that is destroyed, this one "
            "writes no access logs and can add no stage."
        )
    return arn, arn


def _exists(iam: Any, role: str) -> bool:
    """Whether IAM has the role; True where it does not say."""
    try:
        iam.get_role(RoleName=role)
    except ClientError as error:
        return bool(error.response["Error"]["Code"] != "NoSuchEntity")
    except BotoCoreError:
        return True
    return True


def token(variables: Mapping[str, Any], environment: Mapping[str, str]) -> tuple[bool, str]:
    """Whether the smoke test after the deployment can sign in."""
    if variables.get("auth") in TOKENS and not environment.get("TOKEN"):
        raise DoubtfulError(
            f"auth is {variables['auth']} and TOKEN is not set, so the deployment will not be "
            "tested: set TOKEN to a token of its issuer."
        )
    return True, f"auth is {variables.get('auth')}"

"""What a check of `make preflight` may find, and the words for AWS's errors.

Rules
- A check returns a value and a description, or raises one of the four errors below.
- An error of AWS becomes one of them here, and nowhere else: a missing permission is unknown, since
  deploying does not need it, unless a policy of the organization denies it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

T = TypeVar("T")

NOT_ALLOWED = ("AccessDenied", "AccessDeniedException", "AccessDeniedError")
NOT_KNOWN = ("ResourceNotFoundException", "ValidationException")

SIGN_IN = (
    "Sign in (aws sso login), name a profile (AWS_PROFILE=...), or set AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY."
)
# What an error of the credentials means, by AWS's code or botocore's class.
CREDENTIALS = {
    "ExpiredToken": "The credentials have expired.",
    "ExpiredTokenException": "The credentials have expired.",
    "TokenRefreshRequired": "The credentials have expired.",
    "UnauthorizedSSOTokenError": "The SSO session has expired.",
    "SSOTokenLoadError": "There is no SSO session.",
    "TokenRetrievalError": "The SSO session has expired.",
    "LoginRefreshRequired": "The session of `aws login` has expired.",
    "LoginTokenLoadError": "There is no session of `aws login`.",
    "NoCredentialsError": "There are no credentials.",
    "PartialCredentialsError": "The credentials are incomplete.",
    "CredentialRetrievalError": "The profile's credentials could not be fetched.",
    "InvalidClientTokenId": "AWS does not know this access key, or its session token is missing.",
    "UnrecognizedClientException": "AWS does not know this access key.",
    "SignatureDoesNotMatch": "The secret access key is wrong, or this machine's clock is.",
    "RequestExpired": "This machine's clock is wrong.",
}
# IAM User Guide, "Troubleshoot access denied error messages".
BY_ORGANIZATION = "explicit deny in a service control policy"


class MissingError(Exception):
    """A requirement is missing. The message says which, and what to do."""


class UnknownError(Exception):
    """A requirement cannot be checked. The message says why."""


class DoubtfulError(Exception):
    """A requirement may be missing, now or soon. The message says why, and what to do.

    `value` is what the check would have returned.
    """

    def __init__(self, message: str, value: Any = None) -> None:
        super().__init__(message)
        self.value = value


class RefusedError(Exception):
    """The deployment would do damage. The message says what, and what to do instead."""


@dataclass(slots=True)
class Report:
    """Prints a line for each requirement, and records whether any is missing or refused."""

    say: Callable[[str], None]
    complete: bool = True

    def check(self, name: str, check: Callable[[], tuple[T, str]]) -> T | None:
        """The value that the check returns, with a description; None if it has none."""
        found: T | None = None
        try:
            found, description = check()
            self.say(f"ok       {name}: {description}")
        except UnknownError as error:
            self.say(f"unknown  {name}: {error}")
        except DoubtfulError as error:
            found = error.value
            self.say(f"warning  {name}: {error}")
        except MissingError as error:
            self.complete = False
            self.say(f"missing  {name}: {error}")
        except RefusedError as error:
            self.complete = False
            self.say(f"refused  {name}: {error}")
        return found


def call(operation: Callable[..., Any], **arguments: Any) -> Any:
    """The response of AWS, with its errors translated to this module's."""
    try:
        return operation(**arguments)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in NOT_ALLOWED and BY_ORGANIZATION in str(error):
            raise DoubtfulError(
                "A policy of your organization (SCP) denies it, which often means that the Region "
                f"may not be used: ask its administrators, or choose another region. {error}"
            ) from None
        if code in NOT_ALLOWED:
            raise UnknownError(f"Your identity may not read it: {error}") from None
        if code in NOT_KNOWN:
            raise MissingError(f"It does not exist in this Region: {error}") from None
        raise UnknownError(str(error)) from None
    except BotoCoreError as error:
        raise UnknownError(str(error)) from None


def in_plain_words(error: Exception) -> str:
    """What an error of the credentials means, and how to get others."""
    code = type(error).__name__
    if isinstance(error, ClientError):
        code = error.response["Error"]["Code"]
    meaning = CREDENTIALS.get(code)
    return f"{meaning} {SIGN_IN} ({error})" if meaning else f"{error}. {SIGN_IN}"

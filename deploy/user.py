"""`make user EMAIL=...`: invites a user to the deployment's Cognito user pool.

Rules
- Cognito sends the invitation, with a temporary password. This program never has a password.
- Nothing of an existing user is changed, except with `--resend`, which replaces the temporary
  password of a user who has not signed in yet.
- An error is one sentence: what is wrong, and what to do.

With `auth = "jwt"` users are the issuer's, and with `iam` they are identities of AWS.
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from deploy.checks import CREDENTIALS, in_plain_words
from deploy.terraform import TerraformMissingError, outputs

ADDRESS = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
PERMISSION = "cognito-idp:AdminCreateUser"

# Who decides about users where Terraform makes no pool.
ELSEWHERE = {
    "iam": "users are identities of AWS: grant them execute-api:Invoke on the API's $connect route",
    "jwt": "the issuer of the tokens manages the users",
    "none": "everyone who knows the URL may connect",
}
# Amazon Cognito user pools API reference, AdminCreateUser and "Common errors".
MEANINGS: Mapping[str, str] = {
    "UsernameExistsException": "{email} is a user already. If the invitation was lost or has "
    "expired, send another: make user EMAIL={email} ARGS=--resend",
    "UnsupportedUserStateException": "{email} has signed in already, so there is no invitation to "
    "send again. A lost password is replaced on the sign-in page.",
    "UserNotFoundException": "{email} is not a user yet: leave --resend out.",
    "ResourceNotFoundException": "The user pool {pool} does not exist in {region}: run `make plan` "
    "to see what else is missing.",
    "InvalidParameterException": "Cognito does not accept {email}: {reason}",
    "CodeDeliveryFailureException": "Cognito cannot send email to {email}: {reason}",
    "LimitExceededException": "Cognito's limit is reached, which for email is 50 messages a day "
    "unless the pool sends through SES: {reason}",
    "TooManyRequestsException": "There are too many requests: try again in a minute.",
    "AccessDeniedException": f"Your AWS identity may not invite users; it needs {PERMISSION} on "
    "{pool}: {reason}",
}


class InvitationError(Exception):
    """The user was not invited. The message says why, and what to do."""


def address(text: str) -> str:
    """The email address in an argument. Raises InvitationError if it is none."""
    email = text.strip()
    if not ADDRESS.fullmatch(email):
        raise InvitationError(f"{email!r} is not an email address: make user EMAIL=ada@example.com")
    return email


def pool_of(known: Mapping[str, Any]) -> str:
    """The deployment's user pool, from Terraform's outputs. Raises InvitationError."""
    if "websocket_url" not in known:
        raise InvitationError("Nothing is deployed: run `make deploy`.")
    if pool := known.get("user_pool_id"):
        return str(pool)
    auth = str(known.get("auth"))
    raise InvitationError(
        f"There is no user pool: auth is {auth}, so {ELSEWHERE.get(auth, '')}. "
        'With auth = "cognito" Terraform makes one.'
    )


def invite(
    email: str, known: Mapping[str, Any], client_in: Callable[[str], Any], *, resend: bool = False
) -> str:
    """Invites a user; returns what happened, as a sentence. Raises InvitationError."""
    pool, region = pool_of(known), str(known["region"])
    # The invitation proves that its receiver has the address: the password came with it.
    attributes = [{"Name": "email", "Value": email}, {"Name": "email_verified", "Value": "true"}]
    try:
        client_in(region).admin_create_user(
            UserPoolId=pool,
            Username=email,
            UserAttributes=attributes,
            DesiredDeliveryMediums=["EMAIL"],
            **({"MessageAction": "RESEND"} if resend else {}),
        )
    except ClientError as error:
        code, reason = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        if code in CREDENTIALS:
            raise InvitationError(in_plain_words(error)) from None
        meaning = MEANINGS.get(code, "Cognito refused ({code}): {reason}")
        raise InvitationError(
            meaning.format(email=email, pool=pool, region=region, reason=reason, code=code)
        ) from None
    except BotoCoreError as error:
        raise InvitationError(in_plain_words(error)) from None
    places = [known.get("page_url"), "make chat DEPLOYED=1"]
    return (
        f"{email} is invited, by an email with a temporary password that is valid for seven days. "
        f"To sign in: {' or '.join(each for each in places if each)}"
    )


def client_in(region: str) -> Any:
    """Cognito's client, with the user's credentials."""
    return boto3.Session().client("cognito-idp", region_name=region)


def main(arguments: list[str] | None = None, say: Callable[[str], None] = print) -> int:
    """Invites the user. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.user", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("email", help="the user's address, to which the invitation is sent")
    parser.add_argument("--resend", action="store_true", help="send another invitation")
    options = parser.parse_args(arguments)
    try:
        email = address(options.email)  # before Terraform is started
        say(invite(email, outputs(), client_in, resend=options.resend))
    except (InvitationError, TerraformMissingError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

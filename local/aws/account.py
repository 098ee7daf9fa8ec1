"""The AWS account of the local stack: made up, so that no real credentials are needed or used."""

import functools
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import boto3

ACCOUNT = "123456789012"
REGION = "us-east-1"
# moto accepts any credentials.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_SESSION_TOKEN": "local",
}
# Keeps the files in a developer's ~/.aws out of a process.
NO_CONFIGURATION = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


@functools.cache
def session() -> "boto3.Session":
    """The boto3 session with these credentials. Shared, because it caches the service models.

    boto3 still reads the other AWS settings of the process: a profile that does not exist is an
    error.
    """
    import boto3  # noqa: PLC0415 - slow to import; most importers of this module do not need it

    return boto3.Session(
        CREDENTIALS["AWS_ACCESS_KEY_ID"],
        CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        CREDENTIALS["AWS_SESSION_TOKEN"],
        region_name=REGION,
    )

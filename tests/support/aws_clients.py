"""boto3 clients that tests share: making one takes longer than most tests do.

For tests that change neither a client nor what it is made of, such as the Region.
"""

import functools
from typing import Any

import boto3

import bedrock_stream
import posting
from store import table


@functools.cache
def session() -> boto3.Session:
    """One session: it reads botocore's data on a service once."""
    return boto3.Session()


@functools.cache
def dynamodb() -> Any:
    """DynamoDB's client, for all tables."""
    return session().client("dynamodb", config=table.client_config())


@functools.cache
def bedrock_at(url: str, stall_seconds: float = 5.0) -> Any:
    """The client of a Bedrock endpoint."""
    config = bedrock_stream.client_config(stall_seconds)
    return session().client("bedrock-runtime", endpoint_url=url, config=config)


@functools.cache
def connections_at(url: str) -> Any:
    """The client of an `@connections` endpoint."""
    config = posting.client_config()
    return session().client("apigatewaymanagementapi", endpoint_url=url, config=config)

"""Posts to connections through `@connections`: the seam between the function and API Gateway.

Rules
- `signing_poster` posts. Where this version of botocore or urllib3 lacks something that it needs,
  boto3's own call posts instead (`ClientPoster`), and a log line (`posting.slow`) reports it.
- One attempt for each post. The HTTP status is returned as it is; where there is none, the
  exception is boto3's.

Does not know what is posted, what a status means, or whether to try again.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from botocore.config import Config
from botocore.exceptions import ClientError

import log

with suppress(ImportError):  # at init, before the first event; `poster` reports the failure
    import signing_poster  # noqa: F401

if TYPE_CHECKING:
    from types_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient

# A post takes some ten milliseconds within a Region.
CONNECT_SECONDS = 2.0
READ_SECONDS = 3.0


def client_config() -> Config:
    """The client's configuration. One attempt: the caller decides about retries."""
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 1},
        tcp_keepalive=True,
    )


def callback_url(api_id: str, stage: str, region: str) -> str:
    """The URL of `@connections` in API Gateway's default endpoint.

    Not from the event's domain: with a custom domain that has another path, and its base path
    mapping is unknown here. Of the partitions, China alone has another DNS suffix among those in
    which Bedrock's endpoints are public.
    """
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{api_id}.execute-api.{region}.{suffix}/{stage}"


class Poster(Protocol):
    """Posts to the connections of one API."""

    def post(self, connection_id: str, body: bytes) -> int:
        """Posts, and returns the response's status.

        Raises:
            BotoCoreError: there are no credentials, or no response came.
        """
        ...


def poster(client: "ApiGatewayManagementApiClient") -> Poster:
    """Returns the fast poster, or boto3's own call where something that it needs is missing."""
    try:
        from signing_poster import SigningPoster  # noqa: PLC0415 - it may be what fails

        return SigningPoster(client)
    except (ImportError, AttributeError, KeyError, TypeError) as error:
        log.write("WARN", "posting.slow", cause=f"{type(error).__name__}: {error}")
        return ClientPoster(client)


class ClientPoster:
    """Posts by boto3's own call."""

    def __init__(self, client: "ApiGatewayManagementApiClient") -> None:
        self._client = client

    def post(self, connection_id: str, body: bytes) -> int:
        """See `Poster`."""
        try:
            posted = self._client.post_to_connection(ConnectionId=connection_id, Data=body)
        except ClientError as error:
            return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
        return int(posted["ResponseMetadata"]["HTTPStatusCode"])

"""Posts to connections: the request that boto3 would send, without a client's work around each.

Rules
- What a request is made of is botocore's. A client rehearses one call, once, and its endpoint,
  headers and signing scope are taken from that; its signer signs every post, with the credentials
  that its session refreshes.
- One connection is kept open, and one post is under way at a time.
- A status is given as it is. Where there is none, what is raised is what the client would raise.

Left out are `amz-sdk-invocation-id` and `amz-sdk-request`, which are not signed and count a
client's own retries: it has none here.

Does not know what is posted, what a status means, or whether to try again.
"""

import ssl
import weakref
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.handlers import add_recursion_detection_header
from botocore.httpsession import create_urllib3_context, get_cert_path
from botocore.utils import percent_encode
from urllib3.util.wait import wait_for_read

if TYPE_CHECKING:
    from botocore.signers import RequestSigner
    from types_boto3_apigatewaymanagementapi import ApiGatewayManagementApiClient

# A post takes some ten milliseconds within a Region.
CONNECT_SECONDS = 2.0
READ_SECONDS = 3.0


def client_config() -> Config:
    """How the client is to be made. One attempt: whoever posts knows how long there is to wait."""
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 1},
        tcp_keepalive=True,
    )


class Poster:
    """Posts to the connections of one API. `url` is where they are: what all requests begin with.

    Behind a proxy the client's own HTTP session sends: proxies are configured in many ways.
    """

    def __init__(self, client: "ApiGatewayManagementApiClient") -> None:
        rehearsed = _rehearse(client)
        self.url: str = rehearsed["url"].removesuffix(_ANY)
        self._headers: dict[str, str] = dict(rehearsed["headers"])
        self._context: dict[str, Any] = rehearsed["context"]
        self._signer: RequestSigner = rehearsed["signer"]
        signing = self._context.get("signing", {})
        self._scope = (
            signing.get("signing_name", self._signer.signing_name),
            signing.get("region", self._signer.region_name),
            self._context.get("auth_type") or self._signer.signature_version,
        )
        # botocore tells its session to nobody; what it found out of proxies and CA bundles is here.
        self._session: Any = client._endpoint.http_session  # type: ignore[attr-defined]  # noqa: SLF001
        self._proxied = self._session._proxy_config.proxy_url_for(self.url) is not None  # noqa: SLF001
        self._line = _Line(self.url, self._session, client.meta.config)
        weakref.finalize(self, self._line.close)

    def post(self, connection_id: str, body: bytes) -> int:
        """Posts, and gives the status of the answer.

        Raises:
            BotoCoreError: there are no credentials, or no answer came.
        """
        request = self._signed(connection_id, body)
        if self._proxied:
            return int(self._session.send(request).status_code)
        return self._line.send(request.url, body, request.headers)

    def _signed(self, connection_id: str, body: bytes) -> Any:
        # Prepared before it is signed: an AWSRequest is prepared by reading its body, and again.
        url = self.url + percent_encode(connection_id)
        headers: Any = dict(self._headers)
        request: Any = AWSPreparedRequest("POST", url, headers, body, stream_output=False)
        request.params = {}
        request.context = dict(self._context)
        add_recursion_detection_header({"headers": request.headers})  # changes with each event
        name, region, version = self._scope
        # A new one each time: it has the credentials of this moment.
        self._signer.get_auth_instance(name, region, version).add_auth(request)
        return request


class _Line:
    """One connection, kept open: what urllib3's pool and botocore's session do, for one at a time.

    They translate a failure twice; here it is told by where it happened.
    """

    def __init__(self, url: str, session: Any, config: Any) -> None:
        parts = urlsplit(url)
        self._url = url
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._session = session
        self._seconds: tuple[float, float] = config.connect_timeout, config.read_timeout
        self._connection: HTTPConnection | None = None

    def close(self) -> None:
        """Closes; the next `send` opens again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """One exchange, over the same connection where it still stands."""
        connection = self._open()
        try:
            with suppress(BrokenPipeError):  # whoever refuses a body may have said why
                connection.request("POST", urlsplit(url).path, body, headers)
            response = connection.getresponse()
            try:
                response.read()  # or the connection could not be used again
            except IncompleteRead:
                self.close()  # what is missing are only words about the status
        except TimeoutError as error:
            self.close()
            raise ReadTimeoutError(endpoint_url=url, error=error) from error
        except (HTTPException, OSError) as error:
            self.close()
            raise ConnectionClosedError(endpoint_url=url, error=error) from error
        return response.status

    def _open(self) -> HTTPConnection:
        standing = self._connection
        # Readable before anything was asked: it was closed from the other side.
        if standing and standing.sock and not wait_for_read(standing.sock, timeout=0.0):
            return standing
        self.close()
        try:
            self._connection = self._connected()
        except TimeoutError as error:
            raise ConnectTimeoutError(endpoint_url=self._url, error=error) from error
        except ssl.SSLError as error:
            raise SSLError(endpoint_url=self._url, error=error) from error
        except OSError as error:
            raise EndpointConnectionError(endpoint_url=self._url, error=error) from error
        return self._connection

    def _connected(self) -> HTTPConnection:
        connect_seconds, read_seconds = self._seconds
        if self._secure:
            connection: HTTPConnection = HTTPSConnection(
                self._host, self._port, timeout=connect_seconds, context=self._tls
            )
        else:
            connection = HTTPConnection(self._host, self._port, timeout=connect_seconds)
        try:
            connection.connect()
        except BaseException:
            connection.close()  # the handshake may have failed on an open socket
            raise
        for option in self._session._socket_options:  # noqa: SLF001 - see Poster
            connection.sock.setsockopt(*option)
        connection.sock.settimeout(read_seconds)
        return connection

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """As botocore sets it up; made late, for reading the CA bundle costs milliseconds."""
        context: ssl.SSLContext = create_urllib3_context()
        verify = self._session._verify  # noqa: SLF001 - see Poster
        context.check_hostname = bool(verify)
        context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
        if verify:
            context.load_verify_locations(get_cert_path(verify))
        return context


# -- the rehearsal ---------------------------------------------------------------------------------

_ANY = "ANY-CONNECTION"  # no encoding changes it


def _rehearse(client: "ApiGatewayManagementApiClient") -> dict[str, Any]:
    """What a client makes of a call, as its `before-call` event tells; nothing is sent.

    https://docs.aws.amazon.com/boto3/latest/guide/events.html
    """
    event = "before-call.apigatewaymanagementapi.PostToConnection"
    seen: dict[str, Any] = {}

    def instead(
        params: dict[str, Any], request_signer: "RequestSigner", context: dict[str, Any], **_: Any
    ) -> tuple[AWSResponse, dict[str, Any]]:
        seen.update(params, signer=request_signer, context=dict(context))
        return AWSResponse(params["url"], 200, {}, None), {}  # type: ignore[arg-type]

    events: Any = client.meta.events
    events.register_last(event, instead)
    client.post_to_connection(ConnectionId=_ANY, Data=b"")
    events.unregister(event, instead)
    return seen

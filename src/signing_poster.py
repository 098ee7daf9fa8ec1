"""Posts to connections through `@connections`: the request that boto3 would send, made cheaply.

A boto3 call costs about three times the CPU of a post made here (`bench/posting.py`), and an answer
has some fifteen posts a second.

Rules
- The request is botocore's own. One call of a client is captured, once, before it is sent: its
  endpoint, headers and signing scope serve every post, and its signer signs each, with the
  credentials that its session refreshes.
- One HTTP connection is kept open, and one post is in flight at a time.
- The HTTP status is returned as it is. Where there is none, the exception is the one that the
  client would raise.
- Some of this is private or undocumented in botocore and urllib3. Where a version lacks a part,
  importing this module or making a `SigningPoster` fails; a post does not. `posting` handles that.

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
from botocore.exceptions import (
    BotoCoreError,
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


class SigningPoster:
    """Signs and sends each post itself. `url` is the API's endpoint, with which all requests begin.

    Behind a proxy the client's own HTTP session sends: proxies are configured in many ways.
    """

    def __init__(self, client: "ApiGatewayManagementApiClient") -> None:
        captured = _capture_request(client)
        self.url: str = captured["url"].removesuffix(_ANY)
        self._headers: dict[str, str] = dict(captured["headers"])
        self._context: dict[str, Any] = captured["context"]
        self._signer: RequestSigner = captured["signer"]
        signing = self._context.get("signing", {})
        self._scope = (
            signing.get("signing_name", self._signer.signing_name),
            signing.get("region", self._signer.region_name),
            self._context.get("auth_type") or self._signer.signature_version,
        )
        # botocore has no public way to what it found out about proxies and CA bundles.
        self._session: Any = client._endpoint.http_session  # type: ignore[attr-defined]  # noqa: SLF001
        self._proxied = self._session._proxy_config.proxy_url_for(self.url) is not None  # noqa: SLF001
        self._http = _HttpConnection(self.url, self._session, client.meta.config)
        weakref.finalize(self, self._http.close)
        # Signed now, so that whatever this botocore lacks is known before the first post.
        with suppress(BotoCoreError):  # without credentials each post raises it
            self._signed(_ANY, b"")

    def post(self, connection_id: str, body: bytes) -> int:
        """Posts, and returns the response's status.

        Raises:
            BotoCoreError: there are no credentials, or no response came.
        """
        request = self._signed(connection_id, body)
        if self._proxied:
            return int(self._session.send(request).status_code)
        return self._http.send(request.url, body, request.headers)

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


class _HttpConnection:
    """One HTTP connection, kept open: what urllib3's pool and botocore's session do for many.

    Its failures are translated here, once, by the step in which they happened.
    """

    def __init__(self, url: str, session: Any, config: Any) -> None:
        parts = urlsplit(url)
        self._url = url
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        # Read now, so that a version of botocore that lacks them is known before the first post.
        self._socket_options: Any = session._socket_options  # noqa: SLF001
        self._verify: Any = session._verify  # noqa: SLF001
        self._seconds: tuple[float, float] = config.connect_timeout, config.read_timeout
        self._connection: HTTPConnection | None = None

    def close(self) -> None:
        """Closes the connection; the next `send` opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """One request and its response, over the open connection if there is one."""
        connection = self._open()
        try:
            with suppress(BrokenPipeError):  # a server that refuses a body may have sent a response
                connection.request("POST", urlsplit(url).path, body, headers)
            response = connection.getresponse()
            try:
                response.read()  # else the connection could not be used again
            except IncompleteRead:
                self.close()  # the status is there; only the text about it is cut
        except TimeoutError as error:
            self.close()
            raise ReadTimeoutError(endpoint_url=url, error=error) from error
        except (HTTPException, OSError) as error:
            self.close()
            raise ConnectionClosedError(endpoint_url=url, error=error) from error
        return response.status

    def _open(self) -> HTTPConnection:
        connection = self._connection
        # Readable before anything was sent: the server has closed it.
        if connection and connection.sock and not wait_for_read(connection.sock, timeout=0.0):
            return connection
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
        for option in self._socket_options:
            connection.sock.setsockopt(*option)
        connection.sock.settimeout(read_seconds)
        return connection

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """As botocore sets it up; made late, for reading the CA bundle takes milliseconds."""
        context: ssl.SSLContext = create_urllib3_context()
        context.check_hostname = bool(self._verify)
        context.verify_mode = ssl.CERT_REQUIRED if self._verify else ssl.CERT_NONE
        if self._verify:
            context.load_verify_locations(get_cert_path(self._verify))
        return context


# -- capturing a request ---------------------------------------------------------------------------

_ANY = "ANY-CONNECTION"  # URL encoding leaves it as it is


def _capture_request(client: "ApiGatewayManagementApiClient") -> dict[str, Any]:
    """The request that a client makes of a call, from its `before-call` event; nothing is sent.

    https://docs.aws.amazon.com/boto3/latest/guide/events.html
    """
    event = "before-call.apigatewaymanagementapi.PostToConnection"
    seen: dict[str, Any] = {}

    def capture(
        params: dict[str, Any], request_signer: "RequestSigner", context: dict[str, Any], **_: Any
    ) -> tuple[AWSResponse, dict[str, Any]]:
        seen.update(params, signer=request_signer, context=dict(context))
        return AWSResponse(params["url"], 200, {}, None), {}  # type: ignore[arg-type]

    events: Any = client.meta.events
    events.register_last(event, capture)
    try:
        client.post_to_connection(ConnectionId=_ANY, Data=b"")
    finally:
        events.unregister(event, capture)
    return seen

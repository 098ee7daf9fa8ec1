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
from contextlib import suppress
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore import exceptions as raised
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.config import Config
from botocore.handlers import add_recursion_detection_header
from botocore.httpsession import create_urllib3_context, get_cert_path
from botocore.utils import percent_encode
from urllib3 import exceptions as met
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.connection import is_connection_dropped

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
        self.url = rehearsed["url"].removesuffix(_ANY)
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
        proxy = self._session._proxy_config.proxy_url_for(self.url)  # noqa: SLF001
        config: Any = client.meta.config
        self._seconds: tuple[float, float] = config.connect_timeout, config.read_timeout
        self._line = None if proxy else _line(self.url, self._session)
        if self._line is not None:
            weakref.finalize(self, self._line.close)

    def post(self, connection_id: str, body: bytes) -> int:
        """Posts, and gives the status of the answer.

        Raises:
            BotoCoreError: there are no credentials, or no answer came.
        """
        request = self._signed(connection_id, body)
        if self._line is None:
            return int(self._session.send(request.prepare()).status_code)
        try:
            return self._exchange(self._line, request)
        except Exception as error:
            self._line.close()
            kind = next(kind for causes, kind in _TRANSLATED if isinstance(error, causes))
            raise kind(endpoint_url=self.url, error=error) from error

    def _signed(self, connection_id: str, body: bytes) -> AWSRequest:
        url = self.url + percent_encode(connection_id)
        request = AWSRequest("POST", url, headers=self._headers, data=body)
        add_recursion_detection_header({"headers": request.headers})  # changes with each event
        request.context = dict(self._context)
        name, region, version = self._scope
        # A new one each time: it bears the credentials of this moment.
        self._signer.get_auth_instance(name, region, version).add_auth(request)
        return request

    def _exchange(self, line: HTTPConnection, request: AWSRequest) -> int:
        """As urllib3's connection pool does it, for a pool of one."""
        if is_connection_dropped(line):
            line.close()
        line.timeout, read_seconds = self._seconds
        with suppress(BrokenPipeError):  # whoever refuses a body may have said why
            line.request(
                "POST",
                urlsplit(str(request.url)).path,
                body=request.data,
                headers=dict(request.headers.items()),
                preload_content=False,
                decode_content=False,
                enforce_content_length=False,
            )
        line.timeout = read_seconds
        response = line.getresponse()
        response.read()  # or the connection could not be used again
        return response.status


def _line(url: str, session: Any) -> HTTPConnection:
    """A connection as botocore's session would make it, not yet open."""
    parts = urlsplit(url)
    options = session._socket_options  # noqa: SLF001 - see Poster
    if parts.scheme == "http":
        return HTTPConnection(parts.hostname or "", parts.port, socket_options=options)
    verify = session._verify  # noqa: SLF001 - see Poster
    return HTTPSConnection(
        parts.hostname or "",
        parts.port,
        socket_options=options,
        ssl_context=create_urllib3_context(),
        cert_reqs="CERT_REQUIRED" if verify else "CERT_NONE",
        ca_certs=get_cert_path(verify) if verify else None,
    )


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


# -- failures --------------------------------------------------------------------------------------

# What botocore's session makes of urllib3's failures (`URLLib3Session.send`), and urllib3's pool of
# a connection's before that (`HTTPConnectionPool.urlopen`). The first that fits.
_TRANSLATED: tuple[tuple[tuple[type[Exception], ...], type[raised.BotoCoreError]], ...] = (
    ((met.NewConnectionError,), raised.EndpointConnectionError),
    ((met.ConnectTimeoutError,), raised.ConnectTimeoutError),
    ((met.ReadTimeoutError, TimeoutError), raised.ReadTimeoutError),
    ((met.SSLError, ssl.SSLError), raised.SSLError),
    ((met.ProtocolError, HTTPException, OSError), raised.ConnectionClosedError),
    ((Exception,), raised.HTTPClientError),
)

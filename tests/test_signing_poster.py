"""Covers src/signing_poster.py: its requests and failures equal those of boto3's own client."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import boto3
import botocore.auth
import botocore.client
import botocore.session
import pytest
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.endpoints import ConnectionsEndpoint
from support.lambda_environments import PATIENCE

from posting import client_config
from signing_poster import SigningPoster

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def client(url: str, config: Config | None = None) -> Any:
    return boto3.client(
        "apigatewaymanagementapi", endpoint_url=url, config=config or client_config()
    )


def poster_of(connections: ConnectionsEndpoint) -> SigningPoster:
    """A poster of its own, made in the test's environment."""
    return SigningPoster(client(connections.url))


# -- the request -----------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "a+token/of==temporary credentials"])
@pytest.mark.parametrize("connection_id", ["L0SM9cOFvHcCIhw=", "a/b c+d~é", "plain"])
@pytest.mark.parametrize("trace", [None, "Root=1-5759e988-bd862e3f;Parent=5;Sampled=1"])
def test_the_request_equals_that_of_boto3(
    connections: ConnectionsEndpoint,
    monkeypatch: pytest.MonkeyPatch,
    connection_id: str,
    token: str | None,
    trace: str | None,
) -> None:
    """The same target, headers, signature and body, except for the headers about retries."""
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: NOW)
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it has the earlier credentials
    poster = poster_of(connections)
    if trace:  # Lambda sets it for each event
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "chat")
        monkeypatch.setenv("_X_AMZN_TRACE_ID", trace)
    body = '{"text":"naïve 🙂"}'.encode()

    client(connections.url).post_to_connection(ConnectionId=connection_id, Data=body)
    assert 200 == poster.post(connection_id, body)

    (target, headers, sent), ours = connections.requests
    for unsigned in ("amz-sdk-invocation-id", "amz-sdk-request"):
        del headers[unsigned]
    # The metadata after the versions (`m/`) differs between any two clients.
    headers["User-Agent"] = " ".join(sorted(headers["User-Agent"].split(" m/")[0].split()))
    ours[1]["User-Agent"] = " ".join(sorted(ours[1]["User-Agent"].split(" m/")[0].split()))
    assert (target, headers, sent) == ours
    assert (token, trace) == (headers.get("X-Amz-Security-Token"), headers.get("X-Amzn-Trace-Id"))
    assert "SignedHeaders=host;x-amz-date" in headers["Authorization"]


def test_the_signing_scope_is_that_of_the_client(
    connections: ConnectionsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client determines the Region and the service name."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    poster_of(connections).post("c=", b"a")

    assert "/eu-central-1/execute-api/aws4_request" in connections.requests[0][1]["Authorization"]


def test_refreshed_credentials_sign_the_next_post(connections: ConnectionsEndpoint) -> None:
    issued = iter(range(1, 9))

    def issue() -> dict[str, str]:
        soon = datetime.now(UTC) + timedelta(seconds=60)  # always due to be refreshed
        turn = next(issued)
        return {
            "access_key": f"KEY{turn}",
            "secret_key": "s",
            "token": f"T{turn}",
            "expiry_time": soon.isoformat(),
        }

    session: Any = botocore.session.Session()
    refreshed = RefreshableCredentials.create_from_metadata(issue(), issue, "test")
    session._credentials = refreshed
    poster = SigningPoster(
        boto3.Session(botocore_session=session).client(
            "apigatewaymanagementapi", endpoint_url=connections.url, config=client_config()
        )
    )
    for _ in range(3):
        poster.post("c=", b"a")

    keys = [sent["Authorization"].split("=")[1][:4] for _, sent, _ in connections.requests]
    # T2 signed the request that is discarded at creation.
    assert ["T3", "T4", "T5"] == [s["X-Amz-Security-Token"] for _, s, _ in connections.requests]
    assert ["KEY3", "KEY4", "KEY5"] == keys


def test_a_post_does_not_call_the_client(
    connections: ConnectionsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is called once, when the poster is created, which sends nothing."""
    calls: list[str] = []
    base: Any = botocore.client.BaseClient
    original = base._make_api_call

    def counted(self: Any, operation: str, params: Any) -> Any:
        calls.append(operation)
        return original(self, operation, params)

    monkeypatch.setattr(base, "_make_api_call", counted)
    poster = poster_of(connections)
    assert [] == connections.requests
    for _ in range(20):
        poster.post("c=", b"a")

    assert ["PostToConnection"] == calls
    assert 20 == len(connections.frames)


# -- the connection --------------------------------------------------------------------------------


def test_all_posts_use_one_connection(connections: ConnectionsEndpoint) -> None:
    """The status of a response does not close it."""
    connections.answers = [200, 410, 429, 500, 302]
    poster = poster_of(connections)

    assert [200, 410, 429, 500, 302, 200] == [poster.post("c=", b"a") for _ in range(6)]
    assert 1 == len(set(connections.callers))


def read_request(connection: socket.socket) -> bytes:
    """Reads a request whose body is "a"."""
    request = b""
    while not request.endswith(b"\r\n\r\na"):
        request += connection.recv(65536)
    return request


@contextmanager
def raw_server(*responses: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Runs a server that sends each connection one of these responses and closes it.

    Yields its URL and the requests received so far.
    """
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for response in responses:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    requests.append(read_request(connection))
                    if response == b"silence":
                        connection.recv(1)
                    else:
                        connection.sendall(response)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", requests
        server.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)


def test_a_closed_connection_is_replaced() -> None:
    """An idle connection that the server has closed causes no failure and no second post."""
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsome text"
    with raw_server(ok, closing, ok) as (url, requests):
        poster = SigningPoster(client(url))
        for _ in range(3):
            assert 200 == poster.post("c=", b"a")
            http = poster._http._connection
            if http and http.sock:
                http.sock.recv(1, socket.MSG_PEEK)  # until it is closed

    assert 3 == len(requests)


def test_a_proxy_of_the_environment_is_used(
    connections: ConnectionsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same way as by boto3."""
    monkeypatch.setenv("HTTP_PROXY", connections.url.removesuffix("/prod"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    poster = SigningPoster(client("http://gateway.example/prod"))

    assert 200 == poster.post("c=", b"a")
    assert "http://gateway.example/prod/@connections/c%3D" == connections.requests[0][0]
    assert ["a"] == connections.frames


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "localhost.pem"
    path.write_bytes(
        signed.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@contextmanager
def https_server(certificate: Path) -> Iterator[int]:
    """Runs an HTTPS server that accepts every post; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(HTTPServer):
        def handle_error(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Server(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(PATIENCE)


def test_certificates_are_verified_as_by_botocore(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown certificate or another host's is rejected; AWS_CA_BUNDLE makes one known.

    Verification is off only for a client that was created with `verify=False`.
    """
    with https_server(certificate) as port:
        url = f"https://localhost:{port}"
        unknown = outcome(lambda: SigningPoster(client(url)).post("c=", b"a"))
        unchecked: Any = boto3.client("apigatewaymanagementapi", endpoint_url=url, verify=False)
        assert 200 == SigningPoster(unchecked).post("c=", b"a")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        other = outcome(lambda: SigningPoster(client(f"https://127.0.0.1:{port}")).post("c=", b"a"))
        known = SigningPoster(client(url))
        assert 200 == known.post("c=", b"a")
        known._http.close()

    assert ("SSLError", "SSLError") == (unknown, other)


# -- failures --------------------------------------------------------------------------------------


def outcome(call: Callable[[], object]) -> str:
    """Returns the name of the exception that botocore raised, or an empty text."""
    try:
        call()
    except BotoCoreError as error:
        return type(error).__name__
    return ""


@pytest.mark.parametrize(
    ("response", "name"),
    [
        (b"", "ConnectionClosedError"),
        (b"not HTTP at all\r\n\r\n", "ConnectionClosedError"),
        (b"HTTP/1.1 20", "ConnectionClosedError"),
        (b"silence", "ReadTimeoutError"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", ""),
    ],
    ids=["closed", "not-http", "cut-in-status", "silence", "cut-in-body"],
)
def test_a_malformed_response_raises_the_same_as_botocore(response: bytes, name: str) -> None:
    """A post raises the exception that the client raises, or none if that raises none."""
    short_timeout = Config(read_timeout=0.1) if name == "ReadTimeoutError" else Config()
    config = client_config().merge(short_timeout)
    with raw_server(response, response) as (url, _):
        boto3_client = client(url, config)
        theirs = outcome(lambda: boto3_client.post_to_connection(ConnectionId="c=", Data=b"a"))
        ours = outcome(lambda: SigningPoster(client(url, config)).post("c=", b"a"))

    assert (name, name) == (theirs, ours)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ConnectionRefusedError(), "EndpointConnectionError"),
        (socket.gaierror(), "EndpointConnectionError"),
        (TimeoutError(), "ConnectTimeoutError"),
    ],
)
def test_a_failed_connection_raises_the_same_as_botocore(
    monkeypatch: pytest.MonkeyPatch, error: OSError, name: str
) -> None:
    """Refused, host not found, or timed out."""

    def fail(*_: object) -> None:
        raise error

    boto3_client, poster = client("http://127.0.0.1:9"), SigningPoster(client("http://127.0.0.1:9"))
    monkeypatch.setattr(socket.socket, "connect", fail)
    theirs = outcome(lambda: boto3_client.post_to_connection(ConnectionId="c=", Data=b"a"))

    assert (name, name) == (theirs, outcome(lambda: poster.post("c=", b"a")))


def test_a_post_without_credentials_fails_and_sends_nothing(
    connections: ConnectionsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poster can be created without credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)

    assert "NoCredentialsError" == outcome(lambda: poster_of(connections).post("c=", b"a"))
    assert [] == connections.requests


def test_a_post_is_one_attempt_with_short_timeouts(connections: ConnectionsEndpoint) -> None:
    """The caller decides about retries and pauses."""
    connections.answers = [0, 500]
    config: Any = client_config()
    poster = poster_of(connections)

    assert "ConnectionClosedError" == outcome(lambda: poster.post("c=", b"a"))
    assert 500 == poster.post("c=", b"a")
    assert 2 == len(connections.requests)
    assert 1 == config.retries["total_max_attempts"]
    assert (2.0, 3.0) == (config.connect_timeout, config.read_timeout) == poster._http._seconds

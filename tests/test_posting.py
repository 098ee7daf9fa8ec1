"""Covers src/posting.py: which poster is used, and boto3's own call."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
import botocore.handlers
import botocore.httpsession
import botocore.signers
import botocore.utils
import pytest
import urllib3.util.wait
from botocore.exceptions import ConnectionClosedError
from support.endpoints import ConnectionsEndpoint

from posting import ClientPoster, callback_url, client_config, poster
from signing_poster import SigningPoster

SRC = Path(__file__).parents[1] / "src"


def client(url: str) -> Any:
    return boto3.client("apigatewaymanagementapi", endpoint_url=url, config=client_config())


def warnings(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if "posting.slow" in line]


def test_the_signing_poster_is_used(
    connections: ConnectionsEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the tested versions nothing is missing, and nothing is logged."""
    assert isinstance(poster(client(connections.url)), SigningPoster)
    assert [] == warnings(capsys)
    assert [] == connections.requests


# The object that has the attribute, which is found through the client.
PARTS: Mapping[str, Callable[[Any], Any]] = {
    "create_urllib3_context": lambda _: botocore.httpsession,
    "get_cert_path": lambda _: botocore.httpsession,
    "add_recursion_detection_header": lambda _: botocore.handlers,
    "percent_encode": lambda _: botocore.utils,
    "wait_for_read": lambda _: urllib3.util.wait,
    "get_auth_instance": lambda _: botocore.signers.RequestSigner,
    "_endpoint": lambda client: client,
    "http_session": lambda client: client._endpoint,
    "_proxy_config": lambda client: client._endpoint.http_session,
    "_socket_options": lambda client: client._endpoint.http_session,
    "_verify": lambda client: client._endpoint.http_session,
}


@pytest.mark.parametrize("name", PARTS)
def test_the_client_posts_where_a_part_is_missing(
    connections: ConnectionsEndpoint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    """An import, an attribute that is read at once, and one that only a post needs: at creation."""
    botos = client(connections.url)
    with monkeypatch.context() as lacking:
        lacking.delitem(sys.modules, "signing_poster")
        lacking.delattr(PARTS[name](botos), name)
        slow = poster(botos)

    assert isinstance(slow, ClientPoster)
    assert name in warnings(capsys)[0]
    connections.answers = [200, 410]
    assert [200, 410] == [slow.post("L0SM9cOFvHcCIhw=", b"a"), slow.post("c=", b"b")]
    assert ["L0SM9cOFvHcCIhw%3D", "c%3D"] == [
        target.rpartition("/")[2] for target, _, _ in connections.requests
    ]
    assert [b"a", b"b"] == [body for _, _, body in connections.requests]


@pytest.mark.parametrize("missing", ["signing", "url"])
def test_another_form_of_the_call_is_no_failure(
    connections: ConnectionsEndpoint, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """A signer with other parameters, and a captured request without its URL."""
    botos = client(connections.url)
    with monkeypatch.context() as other:
        if missing == "url":
            other.setattr("signing_poster._capture_request", lambda _: {})
        else:
            signer = botocore.signers.RequestSigner
            other.setattr(signer, "get_auth_instance", lambda _self, *, name: name)
        slow = poster(botos)

    assert isinstance(slow, ClientPoster)
    assert 200 == slow.post("c=", b"a")


def test_a_failed_call_of_the_client_raises(connections: ConnectionsEndpoint) -> None:
    """Where there is no status, the exception is boto3's, after one attempt."""
    connections.answers = [0]

    with pytest.raises(ConnectionClosedError):
        ClientPoster(client(connections.url)).post("c=", b"a")
    assert 1 == len(connections.requests)


def test_the_module_is_loaded_before_the_first_event() -> None:
    """Importing `posting` imports `signing_poster`, so that no event waits for it."""
    program = "import sys, posting; print('signing_poster' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "True\n" == found.stdout


@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("eu-west-1", "https://abc.execute-api.eu-west-1.amazonaws.com/live"),
        ("us-gov-west-1", "https://abc.execute-api.us-gov-west-1.amazonaws.com/live"),
        ("cn-north-1", "https://abc.execute-api.cn-north-1.amazonaws.com.cn/live"),
    ],
)
def test_the_callback_url_is_that_of_the_apis_default_endpoint(region: str, url: str) -> None:
    """As botocore's own endpoint rules have it, of this service in this Region."""
    client = boto3.client("apigatewaymanagementapi", region_name=region)
    assert url == callback_url("abc", "live", region)
    assert url.removeprefix("https://abc.") == client.meta.endpoint_url[8:] + "/live"

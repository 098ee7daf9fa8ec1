"""Covers local/page.py: which files are served, and with which headers."""

import asyncio
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.e2e_clients import PATIENCE, ROOT

from local.auth.authorizers import Auth
from local.auth.modes import AUDIENCE, AUTH_MODES
from local.page import FOLDER, HEADERS, serving

OPEN = {"websocket_url": "ws://127.0.0.1:3001", "auth": "none"}
SIGNED_IN = {
    "websocket_url": "wss://chat.example/prod",
    "auth": "jwt",
    "issuer": "https://issuer.example/pool",
}


@dataclass
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes


def get(path: str, config: Mapping[str, str | None] = OPEN, method: str = "GET") -> Response:
    """Sends one request with the path as it is, from a thread, as another process would."""

    def request(url: str) -> Response:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
        connection.request(method, path)
        received = connection.getresponse()
        response = Response(received.status, dict(received.headers), received.read())
        connection.close()
        return response

    async def scenario() -> Response:
        async with serving(config, 0) as url:
            return await asyncio.to_thread(request, url)

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("path", "file", "kind"),
    [
        ("/", "index.html", "text/html"),
        ("/index.html", "index.html", "text/html"),
        ("/app.js", "app.js", "text/javascript"),
        ("/vendor/purify.es.js", "vendor/purify.es.js", "text/javascript"),
        ("/style.css", "style.css", "text/css"),
        ("/icon.svg", "icon.svg", "image/svg+xml"),
        ("/vendor/marked.LICENSE.txt", "vendor/marked.LICENSE.txt", "text/plain"),
    ],
)
def test_each_file_is_served_with_its_type(path: str, file: str, kind: str) -> None:
    """Unchanged, and not cached."""
    response = get(path)
    assert (200, f"{kind}; charset=utf-8") == (response.status, response.headers["Content-Type"])
    assert (FOLDER / file).read_bytes() == response.body
    assert "no-cache" == response.headers["Cache-Control"]


@pytest.mark.parametrize(
    "path",
    [
        "/none.html",
        "/headers.json",
        "/vendor",
        "/vendor/",
        "/../README.md",
        "/..%2fREADME.md",
        "/%2e%2e/pyproject.toml",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/index.html%00.js",
    ],
)
def test_no_other_file_is_served(path: str) -> None:
    """No listing, and no file outside of the page; the headers are the same."""
    response = get(path)
    assert 404 == response.status
    assert "Content-Security-Policy" in response.headers


def test_the_page_accepts_only_get() -> None:
    """POST is refused."""
    assert 405 == get("/", method="POST").status


@pytest.mark.parametrize(
    ("config", "connect"),
    [
        (OPEN, "ws://127.0.0.1:3001"),
        (SIGNED_IN, "wss://chat.example https://issuer.example"),
    ],
)
def test_the_headers_are_those_of_a_deployment(config: dict[str, str | None], connect: str) -> None:
    """Those of web/headers.json; the page may connect only to what its configuration names."""
    templates: dict[str, Any] = json.loads(HEADERS.read_text())
    response = get("/", config)
    assert templates == {
        name: response.headers[name].replace(f"'self' {connect};", "'self' ${connect};")
        for name in templates
    }


def test_the_configuration_is_served_as_json() -> None:
    """As `config.json`."""
    response = get("/config.json", SIGNED_IN)
    assert SIGNED_IN == json.loads(response.body)
    assert "application/json" in response.headers["Content-Type"]


@pytest.mark.parametrize("auth", AUTH_MODES)
def test_each_auth_mode_configures_the_page(auth: Auth) -> None:
    """For JWTs also the issuer, the client id and what to request."""

    async def scenario() -> Mapping[str, str | None]:
        async with AUTH_MODES[auth](ROOT / "src", lambda _line: None) as mode:
            return mode.page

    page = asyncio.run(scenario())
    assert auth == page["auth"]
    if auth == "jwt":
        assert (AUDIENCE, "openid", "id_token") == (page["client_id"], page["scope"], page["token"])
        assert str(page["issuer"]).startswith("http://127.0.0.1:")
    else:
        assert {"auth"} == set(page)


def test_the_content_security_policy_has_no_exceptions() -> None:
    """Nothing inline, no wildcard, and only what is named."""
    policy = json.loads(HEADERS.read_text())["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert not any(word in policy for word in ("unsafe", "*", "http:", "blob:"))

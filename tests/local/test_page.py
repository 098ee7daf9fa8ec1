"""Covers local/page.py: what is served, under which headers, and what is not."""

import asyncio
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.e2e_clients import ROOT

from local.auth.entry import AUDIENCE, ENTRIES, Auth
from local.page import FOLDER, HEADERS, serving

OPEN = {"websocket_url": "ws://127.0.0.1:3001", "auth": "none"}
SIGNED_IN = {
    "websocket_url": "wss://chat.example/prod",
    "auth": "jwt",
    "issuer": "https://issuer.example/pool",
}


@dataclass
class Got:
    status: int
    headers: Mapping[str, str]
    body: bytes


def get(path: str, config: Mapping[str, str | None] = OPEN, method: str = "GET") -> Got:
    """One request as it is, from a thread, as from another process."""

    def ask(url: str) -> Got:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        connection.request(method, path)
        answer = connection.getresponse()
        got = Got(answer.status, dict(answer.headers), answer.read())
        connection.close()
        return got

    async def scenario() -> Got:
        async with serving(config, 0) as url:
            return await asyncio.to_thread(ask, url)

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
def test_files(path: str, file: str, kind: str) -> None:
    """Each as it is, and as what it is."""
    got = get(path)
    assert (200, f"{kind}; charset=utf-8") == (got.status, got.headers["Content-Type"])
    assert (FOLDER / file).read_bytes() == got.body
    assert "no-cache" == got.headers["Cache-Control"]


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
def test_nothing_else(path: str) -> None:
    """No listing, and no file that is not the page's; under the same headers."""
    got = get(path)
    assert 404 == got.status
    assert "Content-Security-Policy" in got.headers


def test_it_only_gives() -> None:
    """Nothing can be sent to it."""
    assert 405 == get("/", method="POST").status


@pytest.mark.parametrize(
    ("config", "connect"),
    [
        (OPEN, "ws://127.0.0.1:3001"),
        (SIGNED_IN, "wss://chat.example https://issuer.example"),
    ],
)
def test_headers(config: dict[str, str | None], connect: str) -> None:
    """Those of web/headers.json; the page may talk to what its configuration names alone."""
    told: dict[str, Any] = json.loads(HEADERS.read_text())
    got = get("/", config)
    assert told == {
        name: got.headers[name].replace(f"'self' {connect};", "'self' ${connect};") for name in told
    }


def test_config() -> None:
    """What the page has to know, as JSON."""
    got = get("/config.json", SIGNED_IN)
    assert SIGNED_IN == json.loads(got.body)
    assert "application/json" in got.headers["Content-Type"]


@pytest.mark.parametrize("auth", ENTRIES)
def test_what_a_page_knows_about_entering(auth: Auth) -> None:
    """How people are let in; under JWT also by whom, and for what they ask there."""

    async def scenario() -> Mapping[str, str | None]:
        async with ENTRIES[auth](ROOT / "src", lambda _line: None) as entry:
            return entry.page

    page = asyncio.run(scenario())
    assert auth == page["auth"]
    if auth == "jwt":
        assert (AUDIENCE, "openid", "id_token") == (page["client_id"], page["scope"], page["token"])
        assert str(page["issuer"]).startswith("http://127.0.0.1:")
    else:
        assert {"auth"} == set(page)


def test_the_policy_makes_no_exception() -> None:
    """Nothing inline, nothing from everywhere, nothing that is not named."""
    policy = json.loads(HEADERS.read_text())["Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert not any(word in policy for word in ("unsafe", "*", "http:", "blob:"))

"""Covers bedrock_chat/page_config.py and json_requests.py: what a page says, and what is read."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiohttp import web
from support.threads import in_a_thread

from bedrock_chat import json_requests, page_config
from bedrock_chat.issuer import Client
from bedrock_chat.json_requests import UnreachableError
from bedrock_chat.page_config import PageConfig, read
from local.loopback import serving

URL = "wss://chat.example/live"
SIGNED_IN = {
    "websocket_url": URL,
    "auth": "jwt",
    "issuer": "https://issuer.example",
    "client_id": "page",
    "scope": "openid email",
    "token": "access_token",
}
CLIENT = Client(
    issuer="https://issuer.example", client_id="page", scope="openid email", kind="access_token"
)


@contextmanager
def page(text: str, status: int = 200, **headers: str) -> Iterator[str]:
    """A web server that answers so to requests of /chat/config.json."""

    async def respond(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text, headers=headers)

    app = web.Application()
    app.add_routes([web.get("/chat/config.json", respond)])
    with in_a_thread(serving(app)) as url:
        yield url


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (SIGNED_IN, PageConfig(URL, sign=False, client=CLIENT)),
        ({"websocket_url": URL, "auth": "iam"}, PageConfig(URL, sign=True, client=None)),
        ({"websocket_url": URL, "auth": "none"}, PageConfig(URL, sign=False, client=None)),
        ({**SIGNED_IN, "client_id": None}, PageConfig(URL, sign=False, client=None)),
    ],
)
@pytest.mark.parametrize("name", ["", "index.html", "?session_id=x#top"])
def test_a_page_names_its_server(config: dict[str, Any], expected: PageConfig, name: str) -> None:
    """Whatever the page's own address has after its folder."""
    with page(json.dumps(config)) as url:
        assert expected == read(f"{url}/chat/{name}")


@pytest.mark.parametrize(
    ("text", "status", "reason"),
    [
        ("<html>", 200, "returned no JSON object."),
        ("[]", 200, "returned no JSON object."),
        ("[" * 9999, 200, "returned no JSON object."),
        (" " * (json_requests.MAX_BYTES + 1), 200, "returned no JSON object."),
        ("{}", 200, "names no WebSocket URL: is it a chat's web page?"),
        ('{"websocket_url": "https://x"}', 200, "names no WebSocket URL: is it a chat's web page?"),
        ("", 404, "returned status 404."),
        ("{}", 500, "returned status 500."),
    ],
)
def test_an_unusable_page_is_reported_in_one_sentence(text: str, status: int, reason: str) -> None:
    """Which names the file, without the query."""
    with page(text, status) as url, pytest.raises(UnreachableError) as caught:
        read(f"{url}/chat/?token=secret")

    assert f"{url}/chat/config.json {reason}" == str(caught.value)


def test_redirects_are_not_followed() -> None:
    """They would lead to another host than the user named."""
    with page(json.dumps(SIGNED_IN)) as target:
        there = {"Location": f"{target}/chat/config.json"}
        with page("", 302, **there) as url, pytest.raises(UnreachableError, match="status 302"):
            read(f"{url}/chat/")


def test_a_page_that_cannot_be_reached_is_reported(closed_port: int) -> None:
    """With the system's reason."""
    with pytest.raises(UnreachableError) as caught:
        read(f"http://127.0.0.1:{closed_port}/")
    assert f"Cannot reach http://127.0.0.1:{closed_port}/config.json: Connection refused." == str(
        caught.value
    )


def test_a_server_that_does_not_answer_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a time."""
    monkeypatch.setattr(json_requests, "TIMEOUT_SECONDS", 0.05)

    async def wait(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    app = web.Application()
    app.add_routes([web.get("/config.json", wait)])
    with in_a_thread(serving(app)) as url, pytest.raises(UnreachableError, match="no response"):
        read(f"{url}/")


@pytest.mark.parametrize(
    ("url", "protected"),
    [
        ("https://chat.example/", True),
        ("http://127.0.0.1:3002/", True),
        ("http://localhost:3002/", True),
        ("http://chat.example/", False),
        ("http://127.0.0.1.example/", False),
        ("https://", False),
        ("https://[", False),
        ("wss://chat.example/", False),
        ("file:///etc/passwd", False),
    ],
)
def test_only_protected_urls_are_requested(url: str, protected: bool) -> None:
    """TLS, or this machine."""
    assert protected == page_config.is_page(url)
    if not protected:
        with pytest.raises(UnreachableError, match="is not an https:// URL"):
            json_requests.document(url)

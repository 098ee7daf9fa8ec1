"""The page as it was deployed: what is in the bucket, and what CloudFront says with it."""

import json

import pytest
from support.deployments import FIRST, Site, signed
from support.pages import Page
from websockets.sync.client import connect
from websockets.typing import Origin

from local.page import FOLDER, HEADERS, TYPES

pytestmark = pytest.mark.timeout(300)  # the first to come waits for the deployment


@pytest.fixture(scope="module")
def page(site: Site) -> Page:
    site.serving(FIRST)
    return Page(site.url, site.outputs["page_url"])


def test_the_files_are_those_of_the_repository(page: Page) -> None:
    """Byte for byte, each under its own name, and of the kind that the local page says it is."""
    files = {
        str(file.relative_to(FOLDER)): (file.read_bytes(), f"{TYPES[file.suffix]}; charset=utf-8")
        for file in FOLDER.rglob("*")
        if file.is_file() and file != HEADERS
    }

    found = {key: page.file(key) for key in page.names() if key != "config.json"}
    assert files == {key: (each.content, each.kind) for key, each in found.items()}
    assert {"no-cache"} == {each.cache_control for each in found.values()}


def test_the_page_is_told_where_to_connect(site: Site, page: Page) -> None:
    """Its configuration is this deployment's, and never stale."""
    config = page.file("config.json")

    assert {
        "websocket_url": site.outputs["websocket_url"],
        "auth": "iam",
        "issuer": None,
        "client_id": None,
        "scope": "openid",
        "token": "id_token",
    } == json.loads(config.content)
    assert "no-cache" == config.cache_control


def test_the_headers_are_those_of_the_repository(site: Site, page: Page) -> None:
    """All of web/headers.json and nothing else, with the API as the place to connect to."""
    api = site.outputs["websocket_url"].rpartition("/")[0]
    told = {
        name: value.replace("${connect}", api)
        for name, value in json.loads(HEADERS.read_text()).items()
    }

    assert told == page.headers()


def test_nobody_reads_the_bucket_but_the_distribution(page: Page) -> None:
    """It is closed to everybody; the distribution may read, and signs what it asks."""
    closed, policy, control = page.access()
    allowed = [each for each in policy if each["Effect"] == "Allow"]

    assert {True} == set(closed.values())
    assert [{"AWS:SourceArn": page.arn}] == [each["Condition"]["StringEquals"] for each in allowed]
    assert ["s3:GetObject"] == [each["Action"] for each in allowed]
    assert ("always", "sigv4", "s3") == control


def test_a_browser_connects_from_the_page_alone(site: Site) -> None:
    """That is the one origin that the function takes, and it does."""
    page = Origin(site.outputs["page_url"].rstrip("/"))
    with connect(signed(site.serving(FIRST)), origin=page) as socket:
        socket.send('{"action":"ping"}')
        pong = json.loads(socket.recv())

    assert {"type": "pong"} == pong
    assert [page] == json.loads(site.read().function.environment["ALLOWED_ORIGINS"])

"""The web page as deployed: the bucket's objects, and the headers that CloudFront adds."""

import json

import pytest
from support.deployments import FIRST, Site, signed
from support.pages import Page
from websockets.sync.client import connect
from websockets.typing import Origin

from local.page import FOLDER, HEADERS, TYPES

pytestmark = pytest.mark.timeout(300)  # the first test waits for the deployment


@pytest.fixture(scope="module")
def page(site: Site) -> Page:
    site.serving(FIRST)
    return Page(site.url, site.outputs["page_url"])


def test_the_files_are_those_of_the_repository(page: Page) -> None:
    """Byte for byte, under the same names, with the content types of the local page."""
    files = {
        str(file.relative_to(FOLDER)): (file.read_bytes(), f"{TYPES[file.suffix]}; charset=utf-8")
        for file in FOLDER.rglob("*")
        if file.is_file() and file != HEADERS
    }

    found = {key: page.file(key) for key in page.names() if key != "config.json"}
    assert files == {key: (each.content, each.kind) for key, each in found.items()}
    assert {"no-cache"} == {each.cache_control for each in found.values()}


def test_the_pages_configuration_is_the_deployments(site: Site, page: Page) -> None:
    """URL and authentication; it is revalidated like the other files."""
    config = page.file("config.json")

    assert {
        "websocket_url": site.outputs["websocket_url"],
        "auth": "iam",
        "issuer": None,
        "client_id": None,
        "scope": None,
        "token": None,
        "logout_url": None,
    } == json.loads(config.content)
    assert "no-cache" == config.cache_control


def test_the_headers_are_those_of_the_repository(site: Site, page: Page) -> None:
    """All of web/headers.json and no others, with the API's origin in the policy."""
    api = site.outputs["websocket_url"].rpartition("/")[0]
    expected = {
        name: value.replace("${connect}", api)
        for name, value in json.loads(HEADERS.read_text()).items()
    }

    assert expected == page.headers()


def test_only_the_distribution_reads_the_bucket(page: Page) -> None:
    """Public access is blocked; the distribution may read, and signs its requests."""
    closed, policy, control = page.access()
    allowed = [each for each in policy if each["Effect"] == "Allow"]

    assert {True} == set(closed.values())
    assert [{"AWS:SourceArn": page.arn}] == [each["Condition"]["StringEquals"] for each in allowed]
    assert ["s3:GetObject"] == [each["Action"] for each in allowed]
    assert ("always", "sigv4", "s3") == control


def test_the_pages_origin_is_the_only_allowed_one(site: Site) -> None:
    """The function accepts a connection from it."""
    page = Origin(site.outputs["page_url"].rstrip("/"))
    with connect(signed(site.serving(FIRST)), origin=page) as socket:
        socket.send('{"action":"ping"}')
        pong = json.loads(socket.recv())

    assert {"type": "pong"} == pong
    assert [page] == json.loads(site.read().function.environment["ALLOWED_ORIGINS"])

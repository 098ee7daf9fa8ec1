"""Serves the web page: the files of web/, and the `config.json` that the page reads.

Rules: loopback only. A file is served if it is in the folder and of a known type, under its own
name and with the headers that a deployment sends (web/headers.json). Everything else is 404.

What it does not know: what the page does with its configuration, and who may connect.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

from local import loopback

FOLDER = Path(__file__).resolve().parents[1] / "web"
HEADERS = FOLDER / "headers.json"
INDEX, CONFIG = "index.html", "config.json"
TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}

Config = Mapping[str, str | None]


def headers(config: Config) -> dict[str, str]:
    """The response headers, which allow the page to connect to the URLs of its configuration."""
    urls = [config["websocket_url"], config.get("issuer")]
    connect = " ".join("{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in urls if url)
    templates = json.loads(HEADERS.read_text())
    return {name: text.replace("${connect}", connect) for name, text in templates.items()}


def files() -> dict[str, Path]:
    """The files of the page by name, as they are now."""
    found = (path for path in FOLDER.rglob("*") if path.suffix in TYPES and path != HEADERS)
    return {path.relative_to(FOLDER).as_posix(): path for path in found}


def app(config: Config) -> web.Application:
    """The page as an application. It reads files anew for each request."""
    common = {**headers(config), "Cache-Control": "no-cache"}

    async def respond(request: web.Request) -> web.Response:
        name = request.match_info["name"] or INDEX
        if name == CONFIG:
            return web.json_response(config, headers=common)
        file = files().get(name)
        if file is None:
            return web.Response(status=404, text="Not found.\n", headers=common)
        return web.Response(
            body=file.read_bytes(),
            content_type=TYPES[file.suffix],
            charset="utf-8",
            headers=common,
        )

    page = web.Application()
    page.add_routes([web.get("/{name:.*}", respond)])
    return page


@contextlib.asynccontextmanager
async def serving(config: Config, port: int) -> AsyncIterator[str]:
    """Serves the page and yields its URL; port 0 is any free one. Raises as `loopback.serving`."""
    async with loopback.serving(app(config), port) as url:
        yield f"{url}/"

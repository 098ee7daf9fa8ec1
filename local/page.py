"""The web page on a port of its own: the files of web/, and the `config.json` beside them.

Rules: loopback only. What is served is what is found in the folder and of a known kind, under its
own name and with the headers that a deployment gives it (web/headers.json). All else is 404.

What it does not know: what the page does with its configuration, and who may connect.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web

HOST = "127.0.0.1"
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
    """The response headers of a page that may talk to what its configuration names."""
    urls = [config["websocket_url"], config.get("issuer")]
    connect = " ".join("{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in urls if url)
    told = json.loads(HEADERS.read_text())
    return {name: text.replace("${connect}", connect) for name, text in told.items()}


def files() -> dict[str, Path]:
    """What there is of the page now, by name."""
    found = (path for path in FOLDER.rglob("*") if path.suffix in TYPES and path != HEADERS)
    return {path.relative_to(FOLDER).as_posix(): path for path in found}


def app(config: Config) -> web.Application:
    """What is served. A file that is changed is served as it is now."""
    always = {**headers(config), "Cache-Control": "no-cache"}

    async def answer(request: web.Request) -> web.Response:
        name = request.match_info["name"] or INDEX
        if name == CONFIG:
            return web.json_response(config, headers=always)
        file = files().get(name)
        if file is None:
            return web.Response(status=404, text="There is no such page.\n", headers=always)
        return web.Response(
            body=file.read_bytes(),
            content_type=TYPES[file.suffix],
            charset="utf-8",
            headers=always,
        )

    made = web.Application()
    made.add_routes([web.get("/{name:.*}", answer)])
    return made


@contextlib.asynccontextmanager
async def serving(config: Config, port: int) -> AsyncIterator[str]:
    """Serves the page and gives its URL; a `port` of 0 is any free one. Raises OSError."""
    runner = web.AppRunner(app(config), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        yield f"http://{HOST}:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()

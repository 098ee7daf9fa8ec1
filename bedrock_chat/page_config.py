"""What a server's web page says about it: its WebSocket URL, and how its users authenticate.

The page's `config.json` is public, and the same that the page itself reads (docs/web.md).
"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from bedrock_chat.issuer import Client
from bedrock_chat.json_requests import UnreachableError, document, is_protected


@dataclass(frozen=True, slots=True)
class PageConfig:
    """A server. `client` is None if its users do not sign in."""

    websocket_url: str
    sign: bool
    client: Client | None


def is_page(url: str) -> bool:
    """Return whether this is the URL of a page: https, or http on this machine."""
    return is_protected(url)


def read(page: str) -> PageConfig:
    """Return the configuration of the page at this URL. Raises UnreachableError."""
    parts = urlsplit(page)
    url = parts._replace(path=f"{parts.path.rpartition('/')[0]}/config.json", query="", fragment="")
    found = document(url.geturl())
    values = {name: found.get(name) for name in ("websocket_url", "issuer", "client_id", "scope")}
    texts = {name: value if isinstance(value, str) else "" for name, value in values.items()}
    if urlsplit(texts["websocket_url"]).scheme not in ("ws", "wss"):
        raise UnreachableError(f"{url.geturl()} names no WebSocket URL: is it a chat's web page?")
    client = None
    if texts["issuer"] and texts["client_id"]:
        client = Client(
            issuer=texts["issuer"],
            client_id=texts["client_id"],
            scope=texts["scope"] or "openid",
            kind="access_token" if found.get("token") == "access_token" else "id_token",
        )
    return PageConfig(texts["websocket_url"], found.get("auth") == "iam", client)

"""HTTP requests for JSON documents, by the standard library.

Rules
- TLS, or this machine: nothing is sent to another host unencrypted.
- No redirects are followed: a token or a code goes to the host that it was meant for, or nowhere.
- An error's message contains the URL without its query, and nothing that was sent or received.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode, urlsplit

TIMEOUT_SECONDS = 10.0
MAX_BYTES = 256 * 1024  # as in src/authorizer.py
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

Json = Mapping[str, Any]


class UnreachableError(Exception):
    """There is no usable response. The message says whose, and why."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def is_protected(url: str) -> bool:
    """Return whether what this URL transfers cannot be read or changed on its way."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return (parts.scheme == "https" and bool(host)) or (parts.scheme == "http" and host in LOOPBACK)


def request(url: str, form: Mapping[str, str] | None = None) -> tuple[int, Json]:
    """Return the status and the JSON object of the response; `form` is posted.

    Raises UnreachableError if there is no response, or no JSON object in a successful one.
    """
    shown = url.partition("?")[0]
    if not is_protected(url):
        raise UnreachableError(f"{shown} is not an https:// URL.")
    body = urlencode(form).encode() if form is not None else None
    sent = urllib.request.Request(url, body, {"Accept": "application/json"})  # noqa: S310 - checked
    try:
        try:
            response = _OPENER.open(sent, timeout=TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            status, content = int(response.status), response.read(MAX_BYTES + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise UnreachableError(f"Cannot reach {shown}: {_reason(error)}.") from None
    try:
        document = json.loads(content) if len(content) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        return status, document
    if status == 200:
        raise UnreachableError(f"{shown} returned no JSON object.")
    return status, {}


def document(url: str) -> Json:
    """Return the JSON object at this URL. Raises UnreachableError."""
    status, found = request(url)
    if status != 200:
        raise UnreachableError(f"{url.partition('?')[0]} returned status {status}.")
    return found


def _reason(error: BaseException) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no response within {TIMEOUT_SECONDS:.0f} s"
    return getattr(cause, "strerror", None) or type(cause).__name__

"""A user with a browser, for the terminal client's sign-in at the local issuer.

The browser is an HTTP client: it opens a URL, chooses a user on the issuer's page, and follows the
redirect to the terminal.
"""

import html
import re
import shlex
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

PATIENCE = 30.0


def fetch(url: str) -> tuple[int, str]:
    """Return the status and the text of a response, redirects followed."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def choose(url: str, user: str) -> tuple[int, str]:
    """Sign in as this user, or with "Cancel" not at all; return the terminal's response."""
    status, page = fetch(url)
    assert 200 == status, page
    links = {
        text: html.unescape(link) for link, text in re.findall(r'<a href="([^"]*)">([^<]*)', page)
    }
    return fetch(urllib.parse.urljoin(url, links[user]))


def browser_of(user: str, opened: list[str]) -> Callable[[str], None]:
    """Return what replaces `open_browser`; it appends each URL to `opened`."""

    def open_browser(url: str) -> None:
        opened.append(url)
        threading.Thread(target=choose, args=(url, user)).start()

    return open_browser


def variable_browser(user: str) -> str:
    """Return the value of the variable BROWSER with which Python starts this browser."""
    return f"{shlex.join([sys.executable, str(Path(__file__).resolve()), user])} %s"


if __name__ == "__main__":
    choose(sys.argv[2], sys.argv[1])

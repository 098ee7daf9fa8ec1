"""The token for a server, from the issuer that its users sign in at.

Rules
- A stored token is used until it expires; then the refresh token renews it, and only without both
  the user signs in, in a browser, before the first connection.
- A token is part of no message and no URL.
- The URL is printed as well: a browser may not start, or be the wrong one.
"""

import os
import threading
import time
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress

from bedrock_chat import issuer, loopback
from bedrock_chat.issuer import Client, SignInError, Tokens
from bedrock_chat.token_file import TokenFile

MARGIN_SECONDS = 60.0  # a token must not expire on its way to the server


class SignIn:
    """A user's sign-in at one server."""

    def __init__(
        self,
        client: Client,
        file: TokenFile,
        say: Callable[[str], None],
        ports: Sequence[int] = loopback.PORTS,
    ) -> None:
        self._client = client
        self._file = file
        self._say = say
        self._ports = ports
        self._tokens = file.read()
        self.may_be_stale = self._tokens is not None
        """Whether the token is a stored one, which the server has not accepted in this run."""

    def token(self) -> str:
        """Return a valid token, renewed if necessary. Raises SignInError, UnreachableError."""
        tokens = self._tokens
        if tokens is None:
            raise SignInError("You are not signed in.")
        if tokens.expires_at - MARGIN_SECONDS > time.time():
            return tokens.token
        if not tokens.refresh_token:
            raise SignInError("The sign-in has expired. Start the client again to sign in.")
        endpoints = issuer.discover(self._client.issuer)
        return self._keep(issuer.refresh(self._client, endpoints, tokens.refresh_token))

    def ensure(self) -> None:
        """Have a token, for which the user may have to sign in. Raises as `token`."""
        if self._tokens is not None:
            with suppress(SignInError):
                self.token()
                return
        self.again()

    def again(self) -> None:
        """Sign in, in the browser. Raises SignInError, UnreachableError."""
        self._file.delete()
        self.may_be_stale = False
        endpoints = issuer.discover(self._client.issuer)
        with loopback.receiver(self._ports) as receiver:
            url = issuer.authorization_url(self._client, endpoints, receiver.attempt)
            self._say(f"Sign in with your browser. If it does not open: {url}")
            open_browser(url)
            code = receiver.code()
        self._keep(issuer.redeem(self._client, endpoints, receiver.attempt, code))

    def accepted(self) -> None:
        """Note that the server has accepted the token."""
        self.may_be_stale = False

    def _keep(self, tokens: Tokens) -> str:
        self._tokens = tokens
        self._file.write(tokens)
        return tokens.token


def open_browser(url: str) -> None:
    """Open the URL in the user's browser, without waiting for it.

    Not in one that runs in a terminal, which would take over this one, unless BROWSER names it.
    """
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return
    if type(browser) is webbrowser.GenericBrowser and not os.environ.get("BROWSER"):
        return
    threading.Thread(target=browser.open, args=(url,), daemon=True).start()

"""Receives an issuer's redirect on this machine (RFC 8252, 7.3).

Rules
- Only this machine can connect, and only a redirect with the attempt's state is an answer; any
  other request is refused and does not end the attempt.
- The ports are fixed, because issuers such as Cognito compare redirect URIs exactly: register each.
- Nothing of a request is logged: its URL contains the code.

`localhost` in the redirect URI is what Cognito's documentation has allowed longest; listening is on
127.0.0.1, to which browsers connect if nothing listens on ::1.
"""

import hmac
import queue
import socketserver
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from bedrock_chat.issuer import Attempt, SignInError, reason

# docs/terminal.md and terraform/ list the same. Three, so that some may be in use.
PORTS = (8976, 8977, 8978)
ANSWER_SECONDS = 300.0  # for a password, a second factor, a new password
POLL_SECONDS = 0.05

DONE = "You can close this tab and return to the terminal."
REFUSED = "This is not the answer that the terminal is waiting for."
NOT_FOUND = "Not found."
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
    "Referrer-Policy": "no-referrer",
}


def redirect_uri(port: int) -> str:
    """Return the redirect URI to register for a port."""
    return f"http://localhost:{port}/"


class _Server(socketserver.ThreadingTCPServer):  # a browser may connect and send nothing
    allow_reuse_address = True  # a port is free at once after another sign-in
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Ignore a browser that closed its connection; the base class would print a traceback."""


class Receiver:
    """A server that waits for the answer to one attempt."""

    def __init__(self, server: _Server, answers: "queue.Queue[Mapping[str, str]]") -> None:
        self.attempt = Attempt(redirect_uri(server.server_address[1]))
        self._answers = answers

    def code(self, seconds: float = ANSWER_SECONDS) -> str:
        """Wait for the code. Raises SignInError if it does not come, or the issuer refuses."""
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise SignInError(f"No sign-in within {seconds / 60:.0f} minutes.") from None
        if "code" not in answer:
            raise SignInError(f"The issuer refused the sign-in: {reason(answer)}.")
        return answer["code"]


@contextmanager
def receiver(ports: Sequence[int] = PORTS) -> Iterator[Receiver]:
    """Listen on the first of these ports that is free. Raises SignInError if none is."""
    answers: queue.Queue[Mapping[str, str]] = queue.Queue()
    made: Receiver | None = None

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert made is not None  # noqa: S101 - the server is started below
            parts = urlsplit(self.path)
            answer = dict(parse_qsl(parts.query))
            if parts.path != "/":
                self._respond(404, NOT_FOUND)
            elif not _answers_attempt(answer, made.attempt):
                self._respond(400, REFUSED)
            else:
                self._respond(200, DONE)
                answers.put(answer)

        def _respond(self, status: int, text: str) -> None:
            body = f"<!doctype html><title>Sign in</title><p>{text}".encode()
            self.send_response_only(status)
            for name, value in {**HEADERS, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with _listening(ports, Handler) as server:
        made = Receiver(server, answers)
        thread = threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,), daemon=True)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()


def _answers_attempt(answer: Mapping[str, str], attempt: Attempt) -> bool:
    expected, given = attempt.state.encode(), answer.get("state", "").encode()
    return hmac.compare_digest(expected, given) and bool({"code", "error"} & set(answer))


def _listening(ports: Sequence[int], handler: type[BaseHTTPRequestHandler]) -> _Server:
    for port in ports:
        try:
            return _Server(("127.0.0.1", port), handler)
        except OSError:
            continue
    listed = ", ".join(map(str, ports))
    raise SignInError(
        f"Cannot receive the sign-in: the ports {listed} are in use by other programs."
    )

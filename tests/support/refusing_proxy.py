"""A proxy before a control plane, which refuses requests as AWS does, or reports them to a test.

Rules: a refused request never reaches the control plane; every other one is passed on unchanged.
"""

import contextlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_READS = ("Get", "Describe", "List", "Head", "Query")
_ACTION = re.compile(rb"(?:^|&)Action=(\w+)")


@dataclass(frozen=True)
class Call:
    """A request to AWS. `action` is its name in protocols that have one, or else its method."""

    action: str
    path: str
    body: bytes

    @property
    def changes(self) -> bool:
        """Whether it creates, changes or deletes something."""
        return not self.action.upper().startswith(("GET", "HEAD")) and not self.action.startswith(
            _READS
        )


class Refuser:
    """Decides about each call, one at a time. `refuses` returns the error's code, or nothing."""

    def __init__(self) -> None:
        self.refuses: Callable[[Call], str | None] = lambda _call: None
        self.refused: list[Call] = []
        self._lock = threading.Lock()

    def decide(self, call: Call) -> str | None:
        with self._lock:
            code = self.refuses(call)
            if code:
                self.refused.append(call)
            return code


@contextmanager
def refusing(url: str) -> Iterator[tuple[str, Refuser]]:
    """The URL of a proxy before `url`, and what decides about its requests."""
    refuser = Refuser()
    behind = urlsplit(url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_request(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            form = _ACTION.search(body) if b"Action=" in body[:4096] else None
            target = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
            action = target or (form[1].decode() if form else self.command)
            code = refuser.decide(Call(action, self.path, body))
            if code:
                xml = form or "s3/aws4_request" in self.headers.get("Authorization", "")
                self._answer(403, _error_headers(code), _xml(code) if xml else _json(code))
                return
            connection = HTTPConnection(behind)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            headers = [
                (name, value)
                for name, value in answer.getheaders()
                if name.lower() not in {"connection", "content-length", "transfer-encoding"}
            ]
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self._answer(answer.status, headers, answer.read(), length)
            connection.close()

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_request  # noqa: N815

        def _answer(
            self,
            status: int,
            headers: list[tuple[str, str]],
            body: bytes,
            length: str | None = None,
        ) -> None:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", length or str(len(body)))
            with contextlib.suppress(ConnectionError):  # the client was interrupted, and is gone
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Writes nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, name="refusing", daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", refuser
        finally:
            server.shutdown()


def _error_headers(code: str) -> list[tuple[str, str]]:
    return [("X-Amzn-ErrorType", code), ("Content-Type", "application/json")]


def _json(code: str) -> bytes:
    return json.dumps({"__type": code, "message": "refused by the test"}).encode()


def _xml(code: str) -> bytes:
    error = f"<Error><Code>{code}</Code><Message>refused by the test</Message></Error>"
    return f"<ErrorResponse>{error}</ErrorResponse>".encode()

"""Endpoints for the function under test: real HTTP, which unmodified boto3 calls.

Both serve in threads of this process, each request in its own or in one event loop.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

from support.aws_clients import connections_at

from signing_poster import SigningPoster


@dataclass
class ConnectionsEndpoint:
    """An `@connections` endpoint that keeps what is posted.

    `answers` are the statuses of the next posts, in turn; 200 when they run out. A status of 0
    hangs up without an answer. `on_post` is called while a post is in flight, with its number from
    0, in a thread of its own.
    `requests` are the targets, headers and bodies as they came, `callers` the ports that they came
    from.
    """

    answers: list[int] = field(default_factory=list)
    on_post: Callable[[int], object] = lambda _number: None
    frames: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    callers: list[int] = field(default_factory=list)
    url: str = ""

    def poster(self) -> SigningPoster:
        """What posts here, made as the function makes it."""
        return SigningPoster(connections_at(self.url))

    def take(self, path: str, body: bytes) -> int:
        status = self.answers.pop(0) if self.answers else 200
        self.paths.append(unquote(path))
        self.on_post(len(self.paths) - 1)
        if status == 200:
            self.frames.append(body.decode())
        return status


def at(number: int, action: Callable[[], object]) -> Callable[[int], object]:
    """An `on_post` that does something while the post of this number is in flight."""
    return lambda current: action() if current == number else None


@contextmanager
def connections() -> Iterator[Callable[[], ConnectionsEndpoint]]:
    """Serves `@connections`; gives what makes a new endpoint at the same URL, for each test."""
    current = ConnectionsEndpoint()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            endpoint = current
            body = self.rfile.read(int(self.headers["Content-Length"]))
            endpoint.requests.append((self.path, dict(self.headers), body))
            endpoint.callers.append(self.client_address[1])
            status = endpoint.take(self.path, body)
            if not status:
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    def renewed() -> ConnectionsEndpoint:
        nonlocal current
        current = ConnectionsEndpoint(url=f"http://127.0.0.1:{server.server_port}/prod")
        return current

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield renewed
        finally:
            server.shutdown()
            thread.join()

"""Endpoints for the function under test: real HTTP, so that unmodified boto3 talks to them."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import boto3
from support.pids import PATIENCE

from posting import client_config
from signing_poster import SigningPoster


@dataclass
class ConnectionsEndpoint:
    """An `@connections` endpoint that keeps what is posted.

    `answers` are the statuses of the next posts, in turn; 200 when they run out. A status of 0
    hangs up without an answer. Each post takes `delay` seconds. `requests` are the targets, headers
    and bodies as they came, `callers` the ports that they came from.
    """

    answers: list[int] = field(default_factory=list)
    delay: float = 0.0
    frames: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    callers: list[int] = field(default_factory=list)
    url: str = ""

    def poster(self) -> SigningPoster:
        """What posts here, made as the function makes it."""
        return SigningPoster(
            boto3.client("apigatewaymanagementapi", endpoint_url=self.url, config=client_config())
        )

    def take(self, path: str, body: bytes) -> int:
        status = self.answers.pop(0) if self.answers else 200
        self.paths.append(unquote(path))
        if self.delay:
            time.sleep(self.delay)
        if status == 200:
            self.frames.append(body.decode())
        return status


@contextmanager
def connections() -> Iterator[ConnectionsEndpoint]:
    kept = ConnectionsEndpoint()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.requests.append((self.path, dict(self.headers), body))
            kept.callers.append(self.client_address[1])
            status = kept.take(self.path, body)
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

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        kept.url = f"http://127.0.0.1:{server.server_port}/prod"
        try:
            yield kept
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def bedrock() -> Iterator[str]:
    """The scripted Bedrock endpoint as a process of its own; gives its URL."""
    command = [sys.executable, "-m", "local.bedrock", "--model", "scripted"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("listening: "), line
            yield line.removeprefix("listening: ").strip()
        finally:
            process.stdin.close()  # it ends when its input does
            process.wait(PATIENCE)

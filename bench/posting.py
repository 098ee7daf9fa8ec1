"""What a post costs: `python -m bench.posting`. CPU of this process alone, ours beside boto3's.

The endpoint takes everything at once, in a process of its own; both sides have session credentials,
as in Lambda, and run in turn. Minima of many runs: what else the machine does only adds.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src")]

import boto3  # noqa: E402 - after the line above, as the next ones

from bench import report  # noqa: E402
from bench.row import Row, against, alone  # noqa: E402
from posting import client_config  # noqa: E402
from signing_poster import SigningPoster  # noqa: E402

POSTS, RUNS, QUICK_RUNS = 200, 25, 5
CONNECTION = "L0SM9cOFvHcCIhw="
FRAME = b'{"type":"delta","request_id":"eDpRhGn8q2bgNo0=","seq":7,"text":"some words some words "}'
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "ASIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "example",
    "AWS_SESSION_TOKEN": "t" * 800,  # about as long as Lambda's
    "AWS_DEFAULT_REGION": "us-east-1",
}


@contextmanager
def taking() -> Iterator[str]:
    """An endpoint in a process of its own; gives its URL."""
    command = [sys.executable, str(ROOT / "bench" / "probes" / "taking.py")]
    with subprocess.Popen(  # noqa: S603 - ours
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("no pipe")
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/prod"
        finally:
            process.stdin.close()


def microseconds(post: Callable[[], object]) -> float:
    """CPU for each of `POSTS` posts."""
    began = time.process_time()
    for _ in range(POSTS):
        post()
    return (time.process_time() - began) / POSTS * 1e6


def measure(quick: bool) -> list[Row]:
    """The rows."""
    os.environ.update(CREDENTIALS)
    with taking() as url:
        client = boto3.client("apigatewaymanagementapi", endpoint_url=url, config=client_config())
        poster = SigningPoster(client)
        ways: dict[str, Callable[[], object]] = {
            "ours": lambda: poster.post(CONNECTION, FRAME),
            "boto3": lambda: client.post_to_connection(ConnectionId=CONNECTION, Data=FRAME),
            "signing": lambda: poster._signed(CONNECTION, FRAME),  # noqa: SLF001 - its floor
        }
        least = dict.fromkeys(ways, float("inf"))
        for _ in range(QUICK_RUNS if quick else RUNS):
            for name, way in ways.items():
                least[name] = min(least[name], microseconds(way))
    return [
        against(
            "CPU of a post", least["ours"], "us", "boto3's client", least["boto3"], most=0.35,
            note="same signature, same bytes but for two unsigned headers",
        ),
        alone("CPU of a post's signature alone", least["signing"], "us", note="botocore's signer"),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.stdout.write(report.table(measure("--quick" in sys.argv)))

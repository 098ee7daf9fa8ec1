"""CPU of a post, ours and boto3's, in this process: `python -m bench.posting`.

The endpoint accepts every post at once, in its own process. Both sides have session credentials, as
in Lambda, and their runs are interleaved. The figures are minima: other load only adds.
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

import boto3  # noqa: E402 - needs the path above, as the next ones

from bench import report  # noqa: E402
from bench.row import Row, against, alone  # noqa: E402
from posting import SigningPoster, client_config  # noqa: E402

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
def accepting_endpoint() -> Iterator[str]:
    """Runs an endpoint in its own process; yields its URL."""
    command = [sys.executable, str(ROOT / "bench" / "probes" / "accepting_endpoint.py")]
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
    """Returns the CPU time per post over `POSTS` posts."""
    start = time.process_time()
    for _ in range(POSTS):
        post()
    return (time.process_time() - start) / POSTS * 1e6


def measure(quick: bool) -> list[Row]:
    """Returns the rows."""
    os.environ.update(CREDENTIALS)
    with accepting_endpoint() as url:
        client = boto3.client("apigatewaymanagementapi", endpoint_url=url, config=client_config())
        poster = SigningPoster(client)
        cases: dict[str, Callable[[], object]] = {
            "ours": lambda: poster.post(CONNECTION, FRAME),
            "boto3": lambda: client.post_to_connection(ConnectionId=CONNECTION, Data=FRAME),
            "signing": lambda: poster._signed(CONNECTION, FRAME),  # noqa: SLF001 - a lower bound
        }
        minimum = dict.fromkeys(cases, float("inf"))
        for _ in range(QUICK_RUNS if quick else RUNS):
            for name, case in cases.items():
                minimum[name] = min(minimum[name], microseconds(case))
    return [
        against(
            "CPU of a post", minimum["ours"], "us", "boto3's client", minimum["boto3"],
            at_most=0.35, note="same signature and bytes, except two unsigned headers",
        ),
        alone("CPU of a post's signature", minimum["signing"], "us", note="botocore's signer"),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.stdout.write(report.table(measure("--quick" in sys.argv)))

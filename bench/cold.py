"""What a cold start costs: importing and making clients, in fresh processes, by CPU time.

- Ours is the zip as it is deployed, unpacked; its peers are what other designs import to have a
  model and the same three clients. All run in the peers' environment, with its Python: Lambda's
  version where there is one, else another, for which the zip has no bytecode. The note says which.
- The interpreter's own start is in none of the figures.

Does not know how long AWS takes to fetch and unpack the zip.
"""

import contextlib
import platform
import statistics
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.row import Row, against, alone
from deploy.package import ROOT, build

PEERS = Path(__file__).parent / "peers"
PYTHON = ROOT / ".venv" / "peers" / "bin" / "python"
SEED_MOST, BOTO3_MOST = 0.14, 0.62  # of the peer's CPU time

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "y",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "CALLBACK_URL": "https://a.execute-api.us-east-1.amazonaws.com/p",
    "MODEL_ID": "anthropic.claude-3-5-sonnet-20240620-v1:0",
    "TABLE_NAME": "none",
}
PROGRAM = """
import sys, time
sys.path.insert(0, sys.argv[1])
began = time.process_time()
__import__(sys.argv[2])
print(time.process_time() - began)
"""


def cpu_seconds(folder: Path, module: str, *, alone: bool) -> float:
    """The CPU time of importing the module from the folder, in a fresh process.

    `alone`: with nothing else to import from but Python's own library, as in Lambda.
    """
    options = ("-I", "-B", "-S") if alone else ("-I", "-B")
    done = subprocess.run(  # noqa: S603 - our own peers
        [PYTHON, *options, "-c", PROGRAM, str(folder), module],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return float(done.stdout.split()[-1])


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The function's zip, as Lambda has it: its folder, its size in bytes, and what made it."""

    folder: Path
    size: int
    made: str


@contextlib.contextmanager
def unpacked() -> Iterator[Unpacked]:
    """The zip for this machine, unpacked for as long as it is needed."""
    machine = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    with tempfile.TemporaryDirectory() as name:
        path, made = build("lambda", Path(name), machine)
        folder = Path(name) / "task"
        with zipfile.ZipFile(path) as packed:
            packed.extractall(folder)
        yield Unpacked(folder, path.stat().st_size, made)


def measure(quick: bool) -> list[Row]:
    """Medians of interleaved runs."""
    runs = 3 if quick else 15
    version = subprocess.run(  # noqa: S603 - as above
        [PYTHON, "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    with unpacked() as zipped:
        cases = {
            "ours": (zipped.folder, "handler"),
            "seed": (PEERS, "cold_seed"),
            "boto3": (PEERS, "cold_boto3"),
            "chat": (PEERS, "cold_chat_bedrock"),
        }
        seen: dict[str, list[float]] = {case: [] for case in cases}
        for _ in range(runs):
            for case, (folder, module) in cases.items():
                seconds = cpu_seconds(folder, module, alone=case == "ours")
                seen[case].append(seconds * 1000)
    median = {case: statistics.median(values) for case, values in seen.items()}
    note = f"{version}; {zipped.made}; {runs} runs"
    what, ours = "cold start, CPU", median["ours"]
    return [
        against(what, ours, "ms", "LangChain chain", median["seed"], most=SEED_MOST, note=note),
        against(what, ours, "ms", "plain boto3", median["boto3"], most=BOTO3_MOST, note=note),
        against(what, ours, "ms", "ChatBedrock", median["chat"], note=note),
        alone("deployable zip", zipped.size / 1e6, "MB", most=5),
    ]

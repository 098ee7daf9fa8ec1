"""CPU time of a cold start: imports and the creation of clients, in new processes.

- Ours is the deployed zip, unpacked. The peers import what other designs need for a model and the
  same three clients. All run in the peers' environment, with its Python: Lambda's version if it is
  installed, otherwise another one, for which the zip has no bytecode. The note names the version.
- The start of the interpreter is not included.

Not measured: the time that AWS takes to fetch and unpack the zip.
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
MAX_SEED_RATIO, MAX_BOTO3_RATIO = 0.14, 0.62  # of the peer's CPU time

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


def cpu_seconds(folder: Path, module: str, *, isolated: bool) -> float:
    """Returns the CPU time of importing the module from the folder, in a new process.

    `isolated` leaves only Python's standard library on the path, as in Lambda.
    """
    options = ("-I", "-B", "-S") if isolated else ("-I", "-B")
    process = subprocess.run(  # noqa: S603 - our own peers
        [PYTHON, *options, "-c", PROGRAM, str(folder), module],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return float(process.stdout.split()[-1])


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The function's unpacked zip: its folder, its size in bytes, and the tools that built it."""

    folder: Path
    size: int
    build: str


@contextlib.contextmanager
def unpacked() -> Iterator[Unpacked]:
    """Builds the zip for this machine's architecture and unpacks it to a temporary folder."""
    machine = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    with tempfile.TemporaryDirectory() as name:
        path, tools = build("lambda", Path(name), machine)
        folder = Path(name) / "task"
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        yield Unpacked(folder, path.stat().st_size, tools)


def measure(quick: bool) -> list[Row]:
    """Returns the rows: medians of interleaved runs."""
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
        samples: dict[str, list[float]] = {case: [] for case in cases}
        for _ in range(runs):
            for case, (folder, module) in cases.items():
                seconds = cpu_seconds(folder, module, isolated=case == "ours")
                samples[case].append(seconds * 1000)
    median = {case: statistics.median(values) for case, values in samples.items()}
    note = f"{version}; {zipped.build}; {runs} runs"
    name, ours = "cold start, CPU", median["ours"]
    return [
        against(
            name, ours, "ms", "LangChain chain", median["seed"], at_most=MAX_SEED_RATIO, note=note
        ),
        against(
            name, ours, "ms", "plain boto3", median["boto3"], at_most=MAX_BOTO3_RATIO, note=note
        ),
        against(name, ours, "ms", "ChatBedrock", median["chat"], note=note),
        alone("deployable zip", zipped.size / 1e6, "MB", at_most=5),
    ]

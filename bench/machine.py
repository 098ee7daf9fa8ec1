"""The machine of a run and the versions of the peers. Contains no secrets.

Written for Linux; elsewhere, facts that are unavailable are replaced or left out.
"""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PEERS_PYTHON = ROOT / ".venv" / "peers" / "bin" / "python"
SHOWN = ("Python", "langchain-classic", "langchain-core", "langchain-aws", "boto3", "botocore")

_VERSIONS = """
import importlib.metadata as m, json, platform
found = {d.metadata["name"].lower().replace("_", "-"): d.version for d in m.distributions()}
found["Python"] = platform.python_version()
print(json.dumps(found))
"""


def facts() -> dict[str, str]:
    """Returns the date and the properties of the machine that the figures depend on."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else "?"),
        "python": platform.python_version(),
        "kernel": platform.system(),
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def peers() -> dict[str, str]:
    """Returns the versions of the peers, or nothing if their environment does not exist."""
    if not PEERS_PYTHON.exists():
        return {}
    process = subprocess.run(  # noqa: S603 - our own interpreter
        [PEERS_PYTHON, "-c", _VERSIONS], capture_output=True, text=True, check=True, timeout=60
    )
    found = json.loads(process.stdout)
    return {name: found[name] for name in SHOWN if name in found}

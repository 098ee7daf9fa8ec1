"""Where tests leave what explains a failure: under build/logs, replaced by the next run."""

import os
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "build" / "logs"


def log_file(name: str) -> Path:
    """The path of a log with this name, of this worker alone."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    return FOLDER / (f"{name}-{worker}.log" if worker else f"{name}.log")

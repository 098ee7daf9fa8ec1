"""The zips, built once in a run; as Lambda unpacks them, and run by Lambda's Python alone."""

import fcntl
import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support.e2e_clients import skip_or_fail

from deploy.package import build, interpreter
from deploy.wheels import PYTHON, this_architecture


def shared(config: pytest.Config) -> Path:
    """The folder of the zips that all workers of this run use."""
    folder: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    return (folder.parent if hasattr(config, "workerinput") else folder) / "zips"


def built(folder: Path, name: str, architecture: str = this_architecture()) -> Path:
    """The zip of the repository's sources; the first worker that needs it builds it."""
    place = folder / architecture
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{name}.zip"
    with (place / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            build(name, place, architecture)
    return path


def lambda_python() -> str:
    """Lambda's Python on this machine: the zips' compiled code is for no other version."""
    return interpreter() or skip_or_fail(f"There is no Python {PYTHON} to run the zips with.")


def isolated(python: str, program: str, folder: Path, stdin: Any, **variables: str) -> Any:
    """What the program prints last, as JSON. It imports from `folder` and Python's own library."""
    done = subprocess.run(
        [python, "-I", "-S", "-B", "-c", program, str(folder)],
        input=json.dumps(stdin),
        env=variables,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def unpacked(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path) as packed:
        packed.extractall(folder)
    return folder

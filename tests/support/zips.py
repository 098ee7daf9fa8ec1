"""The zips as Lambda unpacks them, run by Lambda's Python with nothing else to import from."""

import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any

from support.e2e_clients import skip_or_fail

from deploy.package import interpreter
from deploy.wheels import PYTHON


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

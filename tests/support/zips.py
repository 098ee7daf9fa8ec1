"""The zips as Lambda unpacks them, run with nothing else to import from."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from deploy.package import interpreter

LAMBDA_PYTHON = interpreter()
PYTHONS = [pytest.param(sys.executable, id="this Python")]
if LAMBDA_PYTHON and LAMBDA_PYTHON != sys.executable:
    PYTHONS.append(pytest.param(LAMBDA_PYTHON, id="Lambda's Python"))


def isolated(python: str, program: str, folder: Path, given: Any, **variables: str) -> Any:
    done = subprocess.run(
        [python, "-I", "-S", "-B", "-c", program, str(folder)],
        input=json.dumps(given),
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

"""Runs a deployed function's code once, as Lambda's Invoke does, in a process of its own.

Rules
- The code is the zip that was uploaded, with the environment variables of the version.
- An error of the function, also one at its start, is returned as Lambda returns it.

What it does not know: another Python version or architecture than this one's (packages with
compiled code for another one are replaced by the installed ones), memory, timeouts, and AWS: the
endpoints of a function that is tried do not exist.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.wheels import this_architecture
from local.aws.account import CREDENTIALS, NO_CONFIGURATION, REGION

# Packages with compiled code: in a zip they are for its Python version and architecture.
COMPILED = ("cryptography", "cffi", "_cffi_backend", "msgspec")

TIMEOUT_SECONDS = 60  # on a busy machine; Lambda's own limit at the start is 10

_PROGRAM = """
import importlib, json, sys

class Context:
    aws_request_id = "trial"
    def get_remaining_time_in_millis(self):
        return 60_000

module, _, name = sys.argv[1].rpartition(".")
try:
    result = getattr(importlib.import_module(module), name)(json.load(sys.stdin), Context())
except BaseException as error:
    print(json.dumps({"errorMessage": str(error), "errorType": type(error).__name__}))
    sys.exit(1)
print(json.dumps(result))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A version of a function: its zip, and the settings that matter to running it."""

    packed: bytes = field(repr=False)
    handler: str
    runtime: str
    architecture: str
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


def unpack(packed: bytes | Path, runtime: str, architecture: str, folder: Path) -> Path:
    """Unpacks a zip into `folder`, without compiled packages that cannot run here."""
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    runs_here = (runtime, architecture) == (python, this_architecture())
    with zipfile.ZipFile(io.BytesIO(packed) if isinstance(packed, bytes) else packed) as archive:
        names = archive.namelist()
        archive.extractall(folder, [n for n in names if runs_here or not n.startswith(COMPILED)])
    return folder


def invoke(code: Code, event: Any) -> tuple[Any, bool]:
    """What the function returns, or its error; and whether it is an error."""
    with tempfile.TemporaryDirectory(prefix="function-") as folder:
        try:
            unpack(code.packed, code.runtime, code.architecture, Path(folder))
        except zipfile.BadZipFile as error:
            return {"errorMessage": str(error), "errorType": "Runtime.InvalidZip"}, True
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, code.handler],
            input=json.dumps(event),
            cwd=folder,  # first on the path for imports
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "AWS_REGION": REGION,
                "AWS_DEFAULT_REGION": REGION,
                **CREDENTIALS,
                **NO_CONFIGURATION,
                **code.environment,
            },
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    try:
        return json.loads(done.stdout.splitlines()[-1]), done.returncode != 0
    except (IndexError, ValueError):  # it ended before it could say anything
        return {"errorMessage": done.stderr[-500:], "errorType": "Runtime.ExitError"}, True

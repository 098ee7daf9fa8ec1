"""Control planes in processes of their own, and what is deployed to them by hand."""

import contextlib
import functools
import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from local.aws.account import REGION

ROOT = Path(__file__).resolve().parents[2]
SESSION = boto3.Session("x", "y", region_name=REGION)
ROLE = "arn:aws:iam::123456789012:role/r"


@contextmanager
def serving(module: str) -> Iterator[str]:
    """`python -m module`; gives its URL."""
    command = [sys.executable, "-m", module]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            yield child.stdout.readline().removeprefix("listening: ").strip()
        finally:
            child.stdin.close()  # it ends when its input does


@functools.cache
def client(url: str, service: Any) -> Any:
    """A client that does not try again."""
    once = Config(retries={"total_max_attempts": 1})
    return SESSION.client(service, endpoint_url=url, config=once)


def code(source: str = "") -> bytes:
    """The zip of a function with this handler.py; by default it does nothing."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("handler.py"), source)
    return packed.getvalue()


def function(url: str, name: str, **settings: Any) -> Any:
    """Makes a function, and gives the client."""
    functions = client(url, "lambda")
    with contextlib.suppress(ClientError):  # another one has made it
        client(url, "iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")
    functions.create_function(
        FunctionName=name,
        Role=ROLE,
        Handler="handler.x",
        Runtime="python3.13",
        Code={"ZipFile": code()},
        **settings,
    )
    return functions

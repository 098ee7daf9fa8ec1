"""Covers how local/deployment/stack.py unpacks zips; tests/terraform covers the rest of it."""

import base64
import hashlib
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from support.control_planes import code

from deploy.wheels import this_architecture
from local.deployment.deployed import DeployedFunction, NotServableError
from local.deployment.stack import unpack


def function(sha256: str) -> DeployedFunction:
    return DeployedFunction(
        arn="arn:aws:lambda:us-east-1:123456789012:function:f:live",
        name="f",
        handler="handler.x",
        runtime="python3.0",
        architecture="arm64",
        code_sha256=sha256,
        role="arn:aws:iam::123456789012:role/r",
        timeout=3,
        environment={},
    )


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A zip."""
    path = tmp_path / "lambda.zip"
    path.write_bytes(code())
    return path


def digest(path: Path) -> str:
    return base64.b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()


def test_the_deployed_code_is_unpacked(tmp_path: Path, packed: Path) -> None:
    """Completely, except for code compiled for another Python or architecture."""
    with zipfile.ZipFile(packed, "a") as content:
        content.writestr("msgspec/_core.so", b"")
    other = function(digest(packed))
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    same = replace(other, runtime=python, architecture=this_architecture())

    assert {"handler.py"} == {p.name for p in unpack(packed, other, tmp_path / "a").iterdir()}
    assert {"handler.py", "msgspec"} == {
        path.name for path in unpack(packed, same, tmp_path / "b").iterdir()
    }


def test_code_that_was_not_deployed_is_refused(tmp_path: Path, packed: Path) -> None:
    """A zip with another hash is refused before it is unpacked."""
    with pytest.raises(NotServableError, match=r"lambda\.zip is not the code .* f was deployed"):
        unpack(packed, function("another"), tmp_path / "code")

    assert not (tmp_path / "code").exists()

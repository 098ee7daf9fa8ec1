"""Covers deploy/package.py and deploy/wheels.py: the zips as Lambda unpacks and runs them."""

import asyncio
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import boto3
import pytest
from support.e2e_clients import ROOT, SERVER
from support.endpoints import ConnectionsEndpoint
from support.zips import LAMBDA_PYTHON, PYTHONS, isolated, unpacked

from deploy import package, wheels
from deploy.package import build, interpreter, sources
from deploy.terraform import TerraformMissingError
from local.aws.account import CREDENTIALS
from local.stack import backends

LIMIT = 10_000_000  # bytes; Lambda takes 50 MB, and what is small starts sooner
PLACES: list[tuple[Any, str]] = [
    (service, region)
    for service in ("apigatewaymanagementapi", "bedrock-runtime", "dynamodb")
    for region in ("us-east-1", "eu-central-1", "us-gov-west-1", "cn-north-1")
]
HERE = {"aarch64": "arm64", "x86_64": "x86_64"}.get(platform.machine())

# Run with nothing but the standard library and the zip's content to import from.
ISOLATED = """
import json, sys
sys.path.insert(0, sys.argv[1])
given = json.load(sys.stdin)
import handler

class Context:
    aws_request_id = "here"
    def get_remaining_time_in_millis(self):
        return 60_000

answers = [handler.lambda_handler(event, Context()) for event in given]
modules = {name: getattr(each, "__file__", None) for name, each in sys.modules.items()}
cached = [each.__spec__.cached for each in sys.modules.values() if getattr(each, "__spec__", None)]
print(json.dumps({"answers": answers, "modules": modules, "cached": cached}))
"""
HOSTS = """
import json, sys
sys.path.insert(0, sys.argv[1])
import boto3
places = json.load(sys.stdin)
found = []
for name, region in places:
    client = boto3.client(name, region)
    signer = client._request_signer
    found.append([client.meta.endpoint_url, signer.signing_name, signer.region_name])
print(json.dumps(found))
"""
AUTHORIZER = """
import json, sys
sys.path.insert(0, sys.argv[1])
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
key = ec.generate_private_key(ec.SECP256R1())
token = jwt.encode({"sub": json.load(sys.stdin)}, key, "ES256")
print(json.dumps([jwt.decode(token, key.public_key(), ["ES256"])["sub"], jwt.__file__]))
"""


def test_the_same_bytes_again(packed: Path, tmp_path: Path) -> None:
    """Another folder, time zone, umask, age of the sources and day of building change nothing."""
    copy = shutil.copytree(package.SRC, tmp_path / "elsewhere")
    for path in copy.glob("*.py"):
        path.chmod(0o700)
        os.utime(path, (0, 0))
    program = "import sys; from pathlib import Path; from deploy.package import build; "
    program += "build('lambda', Path(sys.argv[1]), source=Path(sys.argv[2]))"
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "out"), str(copy)],
        cwd=ROOT,
        env={**os.environ, "TZ": "Pacific/Auckland", "PYTHONHASHSEED": "7", "LC_ALL": "C"},
        umask=0o077,
        check=True,
    )

    assert packed.read_bytes() == (tmp_path / "out" / "lambda.zip").read_bytes()


def test_a_change_of_the_sources_is_a_change_of_the_zip() -> None:
    """What is fixed is everything but the content."""
    assert package.zipped({"a.py": b"1"}, "") != package.zipped({"a.py": b"2"}, "")
    assert package.zipped({"a": b"", "b": b""}, "") == package.zipped({"b": b"", "a": b""}, "")


def test_small(packed: Path) -> None:
    """Well under the bound, bytecode and all."""
    assert packed.stat().st_size < LIMIT


def test_what_is_inside(packed: Path) -> None:
    """Our sources but the authorizer's, the pinned libraries, and data on three services."""
    with zipfile.ZipFile(packed) as content:
        paths = content.namelist()
        told = content.comment.decode()
    ours = {path.stem for path in package.SRC.glob("*.py")}
    data = {path.split("/")[2] for path in paths if path.startswith("botocore/data/")}
    libraries = {"boto3", "botocore", "dateutil", "jmespath", "s3transfer", "urllib3"}

    assert ours - {"authorizer"} == {
        path.removesuffix(".py") for path in paths if re.fullmatch(r"\w+\.py", path)
    } - {"six"}
    assert libraries == {path.partition("/")[0] for path in paths if re.match(r"[a-z0-9]+/", path)}
    assert {
        "_retry.json",
        "apigatewaymanagementapi",
        "bedrock-runtime",
        "dynamodb",
        "endpoints.json",
        "partitions.json",
        "sdk-default-configuration.json",
    } == data
    unwanted = r"(^|/)(tests?|local|clients|examples)/|^boto3/data/|\.pyi$|/scripts/"
    assert [] == [path for path in paths if re.search(unwanted, path)]
    assert {"METADATA"} == {path.rpartition("/")[2] for path in paths if ".dist-info/" in path}
    assert ("bytecode by Python 3.13." in told) == bool(LAMBDA_PYTHON)


@pytest.mark.parametrize("python", PYTHONS)
def test_it_answers_from_itself_alone(
    python: str, task_root: Path, connections: ConnectionsEndpoint
) -> None:
    """Isolated from all that is installed it imports and answers a chat."""
    connect, chat = (
        json.loads((ROOT / "events" / f"{name}.json").read_text()) for name in ("connect", "chat")
    )
    connect["requestContext"]["connectionId"] = chat["requestContext"]["connectionId"]

    async def run() -> Any:
        lines: list[str] = []
        async with backends("scripted", say=lines.append, log=lines.append) as running:
            variables = running.environment(connections.url)
            return await asyncio.to_thread(
                isolated,
                python,
                ISOLATED,
                task_root,
                [connect, chat],
                **{**variables, **CREDENTIALS, "AWS_DEFAULT_REGION": "us-east-1"},
            )

    seen = asyncio.run(run())
    frames = [json.loads(frame) for frame in connections.frames]
    ours = [file for file in seen["modules"].values() if file and str(task_root) in file]
    standard = (sys.base_prefix, str(Path(python).resolve().parents[1]))

    assert [{"statusCode": 200}] * 2 == seen["answers"]
    assert ["start", "delta", "done"] == list(dict.fromkeys(frame["type"] for frame in frames))
    for frame in frames:
        SERVER.validate(frame)
    assert {"handler", "boto3", "botocore", "urllib3", "six"} <= set(seen["modules"])
    assert [] == [
        file
        for file in seen["modules"].values()
        if file and file not in ours and not file.startswith(standard)
    ]
    if python == LAMBDA_PYTHON:
        assert [] == [
            path
            for path in seen["cached"]
            if path and str(task_root) in path and not Path(path).exists()
        ]


def test_hosts_are_those_of_the_whole_data(task_root: Path) -> None:
    """The trimmed list of endpoints leads to where the whole one leads, signed for the same."""
    whole = Path(boto3.__file__).parents[1]

    assert isolated(sys.executable, HOSTS, whole, PLACES, **CREDENTIALS) == (
        isolated(sys.executable, HOSTS, task_root, PLACES, **CREDENTIALS)
    )


@pytest.mark.parametrize(("architecture", "machine"), [("arm64", 183), ("x86_64", 62)])
def test_the_authorizer_has_what_its_architecture_runs(
    architecture: str, machine: int, tmp_path: Path
) -> None:
    """Its compiled parts are of that processor, for Lambda's Python, and it is small, too."""
    path, _ = build("authorizer", tmp_path, architecture)
    with zipfile.ZipFile(path) as content:
        paths = content.namelist()
        libraries = {name: content.read(name) for name in paths if name.endswith(".so")}

    assert path.stat().st_size < LIMIT
    assert {"authorizer.py", "jwt/__init__.py"} <= set(paths)
    assert not {"handler.py", "boto3/__init__.py"} & set(paths)
    assert len(libraries) == 2
    for name, library in libraries.items():
        assert machine == int.from_bytes(library[18:20], "little"), name  # ELF's e_machine
        assert "abi3" in name or "cpython-313-" in name
    if (architecture, sys.platform) == (HERE, "linux") and LAMBDA_PYTHON:
        root = unpacked(path, tmp_path / "task")
        sub, file = isolated(LAMBDA_PYTHON, AUTHORIZER, root, "somebody")
        assert "somebody" == sub
        assert str(root) in file


def test_without_a_python_of_lambdas_it_does_without_bytecode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sources are all there, and the zip tells what it lacks."""
    monkeypatch.setattr(package, "interpreter", lambda: None)
    path, made = build("lambda", tmp_path)
    with zipfile.ZipFile(path) as content:
        paths = content.namelist()
        assert made == content.comment.decode()

    assert made.startswith("no bytecode")
    assert "handler.py" in paths
    assert not [path for path in paths if path.endswith(".pyc")]


def test_a_python_that_does_not_run_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shim for a version that is not chosen, and an older version, are not taken."""
    shim = tmp_path / "python3.13"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    older = tmp_path / "versions" / "3.13.9" / "bin" / "python"
    older.parent.mkdir(parents=True)
    older.write_text("#!/bin/sh\necho 3.9.1\n")
    older.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(older))

    assert None is interpreter()


def test_only_what_is_imported_is_taken(tmp_path: Path) -> None:
    """Also what is imported inside a function, or by what is imported; each once."""
    (tmp_path / "entry.py").write_text("import json, a\ndef f():\n    from b import c\n")
    (tmp_path / "a.py").write_text("import entry\n")
    (tmp_path / "b.py").write_text("")
    (tmp_path / "unused.py").write_text("")

    assert {"entry.py", "a.py", "b.py"} == set(sources("entry", tmp_path))


@pytest.mark.parametrize("name", wheels.NAMES)
def test_versions_are_those_that_are_tested(name: str) -> None:
    """What is deployed has the versions of constraints.txt, and every file its hash."""
    tested = wheels.CONSTRAINTS.read_text().splitlines()
    pinned = [line.split() for line in wheels.requirements(name).read_text().splitlines()]

    assert sorted(wheels.NAMES[name], key=str.lower) == [
        line[0].partition("==")[0] for line in pinned
    ]
    for package_and_version, *hashes in pinned:
        assert package_and_version in tested
        assert hashes
        assert all(each.startswith("--hash=sha256:") for each in hashes)


def test_what_is_not_pinned_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a wheel of another hash in the folder nor one from the index gets into the zip."""
    (tmp_path / "six-1.17.0-py2.py3-none-any.whl").write_bytes(b"not what was pinned")
    pinned = tmp_path / "requirements.txt"
    pinned.write_text(f"six==1.17.0 --hash=sha256:{'0' * 64}\n")
    monkeypatch.setattr(wheels, "requirements", lambda _: pinned)

    with pytest.raises(wheels.WheelsError, match="pip cannot get the wheels"):
        wheels.wheels("lambda", "arm64", tmp_path)


def test_the_lock_has_each_architectures_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip would take for each architecture, once, in order, without taking it."""
    asked: list[tuple[str, ...]] = []

    def pip(*arguments: str) -> str:
        asked.append(arguments)
        hashes = {"b": "of-any", "A": f"of-{len(asked)}"}
        installed = [
            {
                "metadata": {"name": name, "version": "1"},
                "download_info": {"archive_info": {"hashes": {"sha256": digest}}},
            }
            for name, digest in hashes.items()
        ]
        return json.dumps({"install": installed})

    monkeypatch.setattr(wheels, "_pip", pip)

    assert "A==1 --hash=sha256:of-1 --hash=sha256:of-2\nb==1 --hash=sha256:of-any\n" == wheels.lock(
        "lambda"
    )
    assert all("--dry-run" in arguments for arguments in asked)
    assert ["aarch64" in str(arguments) for arguments in asked] == [True, False]


def test_as_terraforms_variables_say(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--configured` builds the authorizer where auth is jwt, for the function's architecture."""
    built = []

    def build_nothing(name: str, out: Path, architecture: str) -> tuple[Path, str]:
        built.append((name, architecture))
        path = out / name
        path.touch()
        return path, "made"

    monkeypatch.setattr(package, "build", build_nothing)
    chosen = {"architecture": "x86_64", "auth": "jwt"}
    monkeypatch.setattr(package, "variables", lambda *_: chosen)
    package.main(["--configured", "--out", str(tmp_path), "-var=name=x"])

    assert [("lambda", "x86_64"), ("authorizer", "x86_64")] == built
    assert f"{tmp_path / 'lambda'}: 0.00 MB, made\n" in capsys.readouterr().out


def test_what_cannot_be_built_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown argument, and what Terraform cannot tell, end it in a sentence."""

    def refuse(*_: object) -> None:
        raise TerraformMissingError("No such thing.")

    monkeypatch.setattr(package, "variables", refuse)
    with pytest.raises(SystemExit, match="No such thing"):
        package.main(["--configured"])
    with pytest.raises(SystemExit):
        package.main(["-var=name=x"])

"""Covers deploy/package.py and deploy/wheels.py: the zips, as Lambda unpacks and runs them."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from support.e2e_clients import ROOT, SERVER
from support.endpoints import ConnectionsEndpoint
from support.zips import isolated, lambda_python, unpacked

from deploy import package, wheels
from deploy.package import UnresolvedImportError, build, interpreter, modules, sources
from deploy.terraform import TerraformMissingError
from local.aws.account import CREDENTIALS
from local.stack import backends

# Bytes; Lambda accepts 50 MB, and a smaller zip starts sooner.
LIMITS = {"lambda": 5_000_000, "authorizer": 10_000_000}
PLACES: list[tuple[Any, str]] = [
    (service, region)
    for service in ("apigatewaymanagementapi", "bedrock-runtime", "dynamodb")
    for region in ("us-east-1", "eu-central-1", "us-gov-west-1", "cn-north-1")
]
MACHINES = {"arm64": 183, "x86_64": 62}  # e_machine in ELF's header

ISOLATED = """
import json, sys
sys.path.insert(0, sys.argv[1])
events = json.load(sys.stdin)
import handler

class Context:
    aws_request_id = "here"
    def get_remaining_time_in_millis(self):
        return 60_000

results = [handler.lambda_handler(event, Context()) for event in events]
modules = {name: getattr(each, "__file__", None) for name, each in sys.modules.items()}
cached = [each.__spec__.cached for each in sys.modules.values() if getattr(each, "__spec__", None)]
print(json.dumps({"results": results, "modules": modules, "cached": cached}))
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


def test_a_rebuild_gives_the_same_bytes(lambda_zip: Path, tmp_path: Path) -> None:
    """Folder, time zone, umask, modification times and hash seed do not change the zip."""
    copy = shutil.copytree(package.SRC, tmp_path / "elsewhere")
    for path in copy.rglob("*.py"):
        path.chmod(0o700)
        os.utime(path, (0, 0))
    program = "import sys; from pathlib import Path; from deploy.package import build; "
    program += "build('lambda', Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))"
    out = tmp_path / "out"
    subprocess.run(
        [sys.executable, "-c", program, str(out), wheels.this_architecture(), str(copy)],
        cwd=ROOT,
        env={**os.environ, "TZ": "Pacific/Auckland", "PYTHONHASHSEED": "7", "LC_ALL": "C"},
        umask=0o077,
        check=True,
    )

    assert lambda_zip.read_bytes() == (out / "lambda.zip").read_bytes()


def test_a_change_of_the_sources_changes_the_zip() -> None:
    """Only the content decides, in any order."""
    assert package.zipped({"a.py": b"1"}, "") != package.zipped({"a.py": b"2"}, "")
    assert package.zipped({"a": b"", "b": b""}, "") == package.zipped({"b": b"", "a": b""}, "")


def test_the_zip_contains_the_sources_the_wheels_and_data_of_three_services(
    lambda_zip: Path,
) -> None:
    """All of src/ but the authorizer, packages included; nothing that only tools or tests use."""
    with zipfile.ZipFile(lambda_zip) as content:
        paths = content.namelist()
        comment = content.comment.decode()
    ours = {path.relative_to(package.SRC).as_posix() for path in package.SRC.rglob("*.py")}
    data = {path.split("/")[2] for path in paths if path.startswith("botocore/data/")}
    packages = {path.partition("/")[0] for path in ours if "/" in path}
    libraries = {"boto3", "botocore", "dateutil", "jmespath", "msgspec", "s3transfer", "urllib3"}

    assert ours - {"authorizer.py"} == ours & set(paths)
    assert {"families", "store", "wire"} <= packages
    assert packages | libraries == {
        path.partition("/")[0] for path in paths if re.match(r"[a-z0-9]+/", path)
    }
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
    assert ("bytecode by Python 3.13." in comment) == bool(interpreter())


def test_the_zip_answers_without_anything_installed(
    task_root: Path, connections: ConnectionsEndpoint
) -> None:
    """In Lambda's Python, isolated from installed packages, it imports and answers a chat."""
    python = lambda_python()
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
    files = [file for file in seen["modules"].values() if file]
    standard = str(Path(python).resolve().parents[1])

    assert [{"statusCode": 200}] * 2 == seen["results"]
    assert ["start", "delta", "done"] == list(dict.fromkeys(frame["type"] for frame in frames))
    for frame in frames:
        SERVER.validate(frame)
    assert {"handler", "boto3", "botocore", "msgspec", "urllib3", "six"} <= set(seen["modules"])
    assert [] == [file for file in files if not file.startswith((str(task_root), standard))]
    assert [] == [
        path
        for path in seen["cached"]
        if path and path.startswith(str(task_root)) and not Path(path).exists()
    ], "a module of the zip has no bytecode"


def test_trimmed_data_leads_to_the_same_hosts(task_root: Path) -> None:
    """Endpoint, signing name and signing Region are those of botocore's complete data."""
    whole = Path(boto3.__file__).parents[1]

    assert isolated(sys.executable, HOSTS, whole, PLACES, **CREDENTIALS) == (
        isolated(sys.executable, HOSTS, task_root, PLACES, **CREDENTIALS)
    )


@pytest.mark.parametrize("name", package.ENTRIES)
@pytest.mark.parametrize("architecture", wheels.ARCHITECTURES)
def test_compiled_code_is_for_the_architecture(
    name: str, architecture: str, built: Callable[..., Path]
) -> None:
    """For that processor and Lambda's Python; and the zip is small."""
    path = built(name, architecture)
    with zipfile.ZipFile(path) as content:
        libraries = {each: content.read(each) for each in content.namelist() if ".so" in each}

    assert path.stat().st_size < LIMITS[name]
    assert libraries
    for library, code in libraries.items():
        assert MACHINES[architecture] == int.from_bytes(code[18:20], "little"), library
        assert "abi3" in library or "cpython-313-" in library


def test_the_authorizer_reads_tokens_without_anything_installed(
    tmp_path: Path, built: Callable[..., Path]
) -> None:
    """Its zip has neither the chat function nor boto3, and verifies a signature by itself."""
    root = unpacked(built("authorizer"), tmp_path)
    subject, file = isolated(lambda_python(), AUTHORIZER, root, "ann")

    assert (root / "authorizer.py").is_file()
    assert not (root / "handler.py").exists()
    assert not (root / "boto3").exists()
    assert "ann" == subject
    assert str(root) in file


def test_without_lambdas_python_the_zip_has_no_bytecode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All sources are there, and the zip's comment says what is missing."""
    monkeypatch.setattr(package, "interpreter", lambda: None)
    path, made = build("lambda", tmp_path)
    with zipfile.ZipFile(path) as content:
        paths = content.namelist()
        assert made == content.comment.decode()

    assert made.startswith("no bytecode")
    assert "handler.py" in paths
    assert not [path for path in paths if path.endswith(".pyc")]


def test_a_python_that_does_not_run_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pyenv shim of a version that is not active, and an older version, are not used."""
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


def files(folder: Path, **content: str) -> Path:
    """Modules in the folder; `__` in a name stands for a slash."""
    for name, source in content.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return folder


def test_only_imported_modules_are_included(tmp_path: Path) -> None:
    """Directly, indirectly, in circles, in functions, and under a condition."""
    entry = """
import json, a
def f():
    from b import c
if a.x:
    import d
else:
    try:
        import e
    except ImportError:
        import f
"""
    folder = files(
        tmp_path, entry=entry, a="import entry", b="c = 1", **dict.fromkeys("def", ""), unused=""
    )

    assert {f"{name}.py" for name in ("entry", *"abdef")} == set(sources("entry", folder))


def test_a_package_is_included_with_its_init(tmp_path: Path) -> None:
    """Whether a module of it is imported by its full name, from it, or relatively."""
    (tmp_path / "empty").mkdir()
    folder = files(
        tmp_path,
        entry="import one.deep\nfrom two import low, VALUE\nfrom three.low import x",
        one__deep="",
        two__low="",
        two__unused="",
        three__low="from . import next\nfrom .last import y\nx = 1",
        three__next="",
        three__last="y = 1",
    )
    for name in ("one", "two", "three"):
        (folder / name / "__init__.py").write_text("VALUE = 1")

    assert {
        "entry.py",
        "one/__init__.py",
        "one/deep.py",
        "two/__init__.py",
        "two/low.py",
        "three/__init__.py",
        "three/low.py",
        "three/next.py",
        "three/last.py",
    } == set(sources("entry", folder))


@pytest.mark.parametrize("test", ["TYPE_CHECKING", "typing.TYPE_CHECKING"])
def test_imports_for_type_checkers_are_not_followed(tmp_path: Path, test: str) -> None:
    """What runs otherwise is."""
    entry = f"""
if {test}:
    import types_only
else:
    import a
"""
    folder = files(tmp_path, entry=entry, a="")

    assert {"entry.py", "a.py"} == set(sources("entry", folder))


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("import nothing", "nothing"),
        ("from nothing import x", "nothing"),
        ("def f():\n    import nothing.below", "nothing.below"),
        ("try:\n    import nothing\nexcept ImportError:\n    pass", "nothing"),
        ("import wheel.left_out", "wheel.left_out"),
        ("from wheel.left_out import x", "wheel.left_out"),
        ("import without_init.a", "without_init"),
        ("from .nothing import y", "nothing"),
        ("import json.nothing", "json.nothing"),
        ("import os.nothing.below", "os.nothing.below"),
        ("from json.nothing import x", "json.nothing"),
    ],
)
def test_an_import_that_nothing_provides_is_refused(
    tmp_path: Path, source: str, missing: str
) -> None:
    """The module that imports, and what it imports, are named; a wheel's submodules count, too."""
    folder = files(tmp_path, entry="import a", a=source, without_init__a="")
    provided = {"wheel/__init__.py": b"", "wheel/part.py": b""}

    with pytest.raises(UnresolvedImportError, match=rf"^a\.py imports {missing}, which neither "):
        sources("entry", folder, provided)


OWN = """
import os.path as paths
from json import loads as read, dumps
if read:
    from typing import TYPE_CHECKING
    VALUE: int = 1
try:
    (first, *rest), total = ([1], 2), 0
except ValueError:
    with open("x") as opened:
        late = 1
class Own:
    inside = 1
def function(): local = 1
if TYPE_CHECKING:
    from typing import Any
else:
    other = 1
"""


@pytest.mark.parametrize(
    "name",
    [
        *("paths", "read", "dumps", "VALUE", "first", "rest", "total", "opened", "late"),
        *("Own", "function", "other", "below"),
    ],
)
@pytest.mark.parametrize("in_wheel", [False, True])
def test_a_name_that_a_module_binds_can_be_imported(
    tmp_path: Path, name: str, in_wheel: bool
) -> None:
    """Or that is a module below it: of the sources or of a wheel."""
    own = {"own/__init__.py": OWN.encode(), "own/below.py": b""}
    folder = files(tmp_path, entry=f"from own import {name}")
    if not in_wheel:
        files(tmp_path, own__below="")
        (tmp_path / "own" / "__init__.py").write_text(OWN)

    expected = {"entry.py"} if in_wheel else {"entry.py", "own/__init__.py"}
    if name == "below" and not in_wheel:
        expected.add("own/below.py")
    assert expected == set(sources("entry", folder, own if in_wheel else {}))


@pytest.mark.parametrize("name", ["os", "loads", "inside", "local", "Any", "nothing", "later"])
@pytest.mark.parametrize("in_wheel", [False, True])
def test_a_name_that_a_module_does_not_bind_is_refused(
    tmp_path: Path, name: str, in_wheel: bool
) -> None:
    """Also one that is bound in a function or class, under another name, or for type checkers."""
    folder = files(tmp_path, entry=f"from own import {name}")
    if not in_wheel:
        (tmp_path / "own.py").write_text(OWN)

    with pytest.raises(UnresolvedImportError, match=rf"^entry\.py imports own\.{name}, which"):
        sources("entry", folder, {"own.py": OWN.encode()} if in_wheel else {})


@pytest.mark.parametrize(
    "source",
    [
        *("from own import *", "from dynamic import x", "from star import x"),
        *("from compiled import x", "from json import x"),
        *("import os.path, xml.etree.ElementTree", "import msvcrt"),
    ],
)
def test_names_that_cannot_be_known_are_accepted(tmp_path: Path, source: str) -> None:
    """After a star import or with `__getattr__`, of compiled code, and of Python's own modules."""
    folder = files(
        tmp_path,
        entry=source,
        own="",
        dynamic="def __getattr__(name): return name",
        star="from own import *",
    )

    assert "entry.py" in sources("entry", folder, {"compiled.abi3.so": b""})


def test_a_module_that_was_left_out_of_a_wheel_is_refused(tmp_path: Path) -> None:
    """Even if the package resolves names dynamically, as the stand-in for msgspec does."""
    libraries = {"wheel/__init__.py": b"def __getattr__(name): ..."}
    folder = files(tmp_path, entry="from wheel import yaml")

    assert {"entry.py"} == set(sources("entry", folder, libraries))
    with pytest.raises(UnresolvedImportError, match=r"imports wheel\.yaml, which"):
        sources("entry", folder, libraries, {"wheel.yaml"})


def test_the_trimmed_modules_of_msgspec_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real wheels: one that is in the zip can, and one that is not cannot."""
    monkeypatch.setattr(package, "interpreter", lambda: None)  # bytecode makes no difference
    source = files(tmp_path / "src", handler="from msgspec import Meta, Struct, inspect, json")
    assert build("lambda", tmp_path, source=source)

    for name in ("yaml", "toml"):
        files(source, handler=f"from msgspec import {name}")
        with pytest.raises(UnresolvedImportError, match=rf"imports msgspec\.{name}, which"):
            build("lambda", tmp_path, source=source)


def test_modules_of_wheels_are_sources_and_compiled_files() -> None:
    """Packages by their `__init__`; neither stubs nor metadata."""
    paths = [
        "six.py",
        "msgspec/__init__.py",
        "msgspec/_core.cpython-313-x86_64-linux-gnu.so",
        "cryptography/hazmat/bindings/_rust.abi3.so",
        "msgspec/inspect.pyi",
        "six-1.17.0.dist-info/METADATA",
        "botocore/data/endpoints.json",
    ]

    assert {
        "six": paths[0],
        "msgspec": paths[1],
        "msgspec._core": paths[2],
        "cryptography.hazmat.bindings._rust": paths[3],
    } == modules(paths)


def test_the_command_refuses_an_unresolved_import_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No zip is written."""
    monkeypatch.setattr(package, "ENTRIES", {"lambda": "entry"})
    folder = files(tmp_path, entry="import aiohttp")
    monkeypatch.setattr(package.build, "__defaults__", (tmp_path, "arm64", folder))

    with pytest.raises(SystemExit, match=r"^entry\.py imports aiohttp, which neither"):
        package.main(["--out", str(tmp_path)])
    assert [] == list(tmp_path.glob("*.zip"))


@pytest.mark.parametrize("name", wheels.NAMES)
def test_deployed_versions_are_the_tested_versions(name: str) -> None:
    """They are those of constraints.txt, and every file is pinned by its hash."""
    tested = wheels.CONSTRAINTS.read_text().splitlines()
    pinned = [line.split() for line in wheels.requirements(name).read_text().splitlines()]

    assert sorted(wheels.NAMES[name], key=str.lower) == [
        line[0].partition("==")[0] for line in pinned
    ]
    for package_and_version, *hashes in pinned:
        assert package_and_version in tested
        assert hashes
        assert all(each.startswith("--hash=sha256:") for each in hashes)


def test_a_wheel_with_another_hash_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither from the folder nor from the package index."""
    (tmp_path / "six-1.17.0-py2.py3-none-any.whl").write_bytes(b"not what was pinned")
    pinned = tmp_path / "requirements.txt"
    pinned.write_text(f"six==1.17.0 --hash=sha256:{'0' * 64}\n")
    monkeypatch.setattr(wheels, "requirements", lambda _: pinned)

    with pytest.raises(wheels.WheelsError, match="pip cannot fetch the wheels"):
        wheels.wheels("lambda", "arm64", tmp_path)


def test_requirements_have_the_hashes_for_each_architecture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each hash once, in order; pip resolves them without downloading."""
    calls: list[tuple[str, ...]] = []

    def pip(*arguments: str) -> str:
        calls.append(arguments)
        hashes = {"b": "of-any", "A": f"of-{len(calls)}"}
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
    assert all("--dry-run" in arguments for arguments in calls)
    assert ["aarch64" in str(arguments) for arguments in calls] == [True, False]


@pytest.mark.parametrize("auth", ["cognito", "jwt"])
def test_configured_builds_what_terraforms_variables_choose(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], auth: str
) -> None:
    """The authorizer too if clients send tokens; both for the function's architecture."""
    built = []

    def build_nothing(name: str, out: Path, architecture: str) -> tuple[Path, str]:
        built.append((name, architecture))
        path = out / name
        path.touch()
        return path, "made"

    monkeypatch.setattr(package, "build", build_nothing)
    chosen = {"architecture": "x86_64", "auth": auth}
    monkeypatch.setattr(package, "variables", lambda *_: chosen)
    package.main(["--configured", "--out", str(tmp_path), "-var=name=x"])

    assert [("lambda", "x86_64"), ("authorizer", "x86_64")] == built
    assert f"{tmp_path / 'lambda'}: 0.00 MB, made\n" in capsys.readouterr().out


def test_the_command_fails_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an unknown argument, and when Terraform fails."""

    def refuse(*_: object) -> None:
        raise TerraformMissingError("No such thing.")

    monkeypatch.setattr(package, "variables", refuse)
    with pytest.raises(SystemExit, match="No such thing"):
        package.main(["--configured"])
    with pytest.raises(SystemExit):
        package.main(["-var=name=x"])

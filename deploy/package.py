"""`make package`: the zips that Lambda runs, the same bytes each time they are built.

Rules
- A zip contains what its entry module imports from src/, and the pinned wheels, and nothing else.
- Of the wheels' content only what is used (`trim`).
- Order, times, modes and compression are fixed, so that an equal content is an equal file, and
  Terraform sees a change only where there is one.
- Bytecode goes with the sources, for most of a cold start would be spent on compiling them. Only a
  Python of Lambda's version can make it. Where there is none the zip does without, and says so: in
  what is printed, and in its own comment (`unzip -z`). So machines with and without such a Python
  build different zips of the same content; each builds the same one again.

Does not know how the zips are deployed.
"""

import argparse
import ast
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from deploy import trim
from deploy.terraform import TerraformMissingError, variables
from deploy.wheels import ARCHITECTURES, PYTHON, WheelsError, wheels

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
BUILD = ROOT / "build"

# Entry module of each zip.
ENTRIES = {"lambda": "handler", "authorizer": "authorizer"}

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can tell
MODE = 0o100644  # a file that everybody may read: Lambda's user is nobody's owner
LEVEL = 9
TASK_ROOT = "/var/task"  # where Lambda unpacks it: tracebacks name the files there


class UnresolvedImportError(Exception):
    """The function imports what its zip would not have. The message names both."""


def build(
    name: str, out: Path = BUILD, architecture: str = "arm64", source: Path = SRC
) -> tuple[Path, str]:
    """Writes `<out>/<name>.zip`. Returns its path and how it was made.

    Raises:
        WheelsError: the wheels cannot be fetched.
        UnresolvedImportError: something is imported that the zip would not have.
    """
    content: dict[str, bytes] = {}
    for wheel in wheels(name, architecture, BUILD / "wheels" / architecture):
        content |= used(wheel)
    packages = {path.partition("/")[0].removesuffix(".py") for path in content}
    content |= sources(ENTRIES[name], source, packages)
    python = interpreter()
    made = f"zlib {zlib.ZLIB_RUNTIME_VERSION}"
    if python:
        content |= compiled(content, python)
        made = f"bytecode by Python {_version(python)}, {made}"
    else:
        made = f"no bytecode, {made}"
    path = out / f"{name}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    # At once, for somebody may be reading the one before.
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(zipped(content, made))
    unfinished.replace(path)
    return path, made


def sources(entry: str, folder: Path = SRC, packages: Iterable[str] = ()) -> dict[str, bytes]:
    """The modules of `folder` that `entry` imports, itself and directly or not, by path there.

    `packages` are the names that the wheels provide.

    Raises:
        UnresolvedImportError: an import is none of `folder`'s, the wheels' or Python's own.
    """
    found: dict[str, bytes] = {}
    known = sys.stdlib_module_names | set(packages)
    waiting = [(entry, "the entry point")]
    while waiting:
        name, importer = waiting.pop()
        path = _module(folder, name)
        if path is None and name.partition(".")[0] not in known:
            raise UnresolvedImportError(f"{importer} imports {name}, which is not in {folder}")
        if path is None or (place := path.relative_to(folder).as_posix()) in found:
            continue
        found[place] = path.read_bytes()
        waiting += [(each, place) for each in _imports(ast.parse(found[place]), name, folder)]
    return found


def _module(folder: Path, name: str) -> Path | None:
    """The file of that module: its own, or its package's `__init__.py`."""
    place = folder.joinpath(*name.split("."))
    return next(
        (path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None
    )


def _imports(tree: ast.AST, importer: str, folder: Path) -> Iterator[str]:
    """The modules that the code imports when it runs, each after the packages that hold it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise UnresolvedImportError(f"{importer} has a relative import")
            module = node.module or ""
            inside = [f"{module}.{each.name}" for each in node.names]
            names = [module, *(each for each in inside if _module(folder, each))]
        else:
            yield from _imports(node, importer, folder)
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:length]) for length in range(1, len(parts) + 1))


def used(wheel: Path) -> dict[str, bytes]:
    """What of the wheel runs in Lambda, by path there."""
    with zipfile.ZipFile(wheel) as packed:
        return dict(
            trim.trimmed(path, packed.read(path))
            for path in packed.namelist()
            if not path.endswith("/") and trim.kept(path)
        )


def interpreter() -> str | None:
    """A Python of Lambda's version, wherever it is: this one, on PATH, or one of pyenv's."""
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [
        sys.executable,
        shutil.which(f"python{PYTHON}"),
        *map(str, sorted(versions.glob(f"{PYTHON}.*/bin/python"))),
    ]
    for candidate in candidates:
        if candidate and _version(candidate).startswith(f"{PYTHON}."):
            return candidate
    return None


def compiled(content: Mapping[str, bytes], python: str) -> dict[str, bytes]:
    """The bytecode of the sources, by the path at which Python looks for it.

    Nothing in it depends on when or where it was made, and no source is looked at to trust it.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for path, source in content.items():
            if path.endswith(".py"):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(source)
        subprocess.run(
            [
                *(python, "-S", "-m", "compileall", "-q", "-s", folder, "-p", TASK_ROOT),
                *("--invalidation-mode", "unchecked-hash", folder),
            ],
            env={"PYTHONHASHSEED": "0"},
            check=True,
        )
        return {
            path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.pyc")
        }


def zipped(content: Mapping[str, bytes], comment: str) -> bytes:
    """The content as a zip: equal bytes for equal content."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as target:
        target.comment = comment.encode()
        for path in sorted(content):
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.create_system = 3  # Unix, wherever it is made, for the mode to count
            entry.external_attr = MODE << 16
            target.writestr(entry, content[path], zipfile.ZIP_DEFLATED, LEVEL)
    return packed.getvalue()


def _version(python: str) -> str:
    """Its version; "" where it does not run, as a shim of pyenv's for one that is not chosen."""
    asked = subprocess.run(
        [python, "-S", "-c", "import platform; print(platform.python_version())"],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip()


def main(given: list[str] | None = None) -> None:
    """Builds what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m deploy.package")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="arm64")
    parser.add_argument("--authorizer", action="store_true", help="build the authorizer, too")
    parser.add_argument(
        "--configured",
        action="store_true",
        help="as Terraform's variables say; what else is given is as for `terraform plan`",
    )
    parser.add_argument("--out", type=Path, default=BUILD)
    asked, arguments = parser.parse_known_args(given)
    try:
        if asked.configured:
            chosen = variables(("architecture", "auth"), arguments)
            asked.architecture, asked.authorizer = chosen["architecture"], chosen["auth"] == "jwt"
        elif arguments:
            parser.error(f"unknown: {' '.join(arguments)}")
        for name in ENTRIES if asked.authorizer else ("lambda",):
            path, made = build(name, asked.out, asked.architecture)
            print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {made}")
    except (WheelsError, TerraformMissingError, UnresolvedImportError) as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()

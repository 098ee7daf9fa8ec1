"""`make package`: the zips that Lambda runs, byte-identical on each build.

Rules
- A zip contains the modules of src/ that its entry module imports, directly or indirectly, and the
  pinned wheels. An import that neither of them nor Python itself provides is an error.
- A zip is for one architecture: the wheels contain compiled code.
- The wheels are reduced to what is used (`trim`).
- File order, times, modes and compression are fixed, so equal content gives an equal file and
  Terraform sees a change only when there is one.
- Bytecode is included, because compiling the sources would take most of a cold start. Only Lambda's
  version of Python can produce it. Without that version the zip has no bytecode, which is printed
  and recorded in the zip's comment (`unzip -z`). Machines with and without that version therefore
  build different zips from the same content; each of them rebuilds its own identically.

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
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from deploy import trim
from deploy.terraform import TerraformMissingError, variables
from deploy.wheels import ARCHITECTURES, PYTHON, WheelsError, wheels

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
BUILD = ROOT / "build"

# Entry module of each zip.
ENTRIES = {"lambda": "handler", "authorizer": "authorizer"}

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can store
MODE = 0o100644  # readable by all users: Lambda's user does not own the files
LEVEL = 9
TASK_ROOT = "/var/task"  # where Lambda unpacks the zip; tracebacks name the files there

_FOR_TYPE_CHECKERS = ("TYPE_CHECKING", "typing.TYPE_CHECKING")


class UnresolvedImportError(Exception):
    """A module imports another one that its zip would not contain. The message names both."""


def build(
    name: str, out: Path = BUILD, architecture: str = "arm64", source: Path = SRC
) -> tuple[Path, str]:
    """Writes `<out>/<name>.zip`. Returns its path and a description of how it was made.

    Raises:
        WheelsError: the wheels cannot be fetched.
        UnresolvedImportError: a module is imported that the zip would not contain.
    """
    content: dict[str, bytes] = {}
    for wheel in wheels(name, architecture, BUILD / "wheels" / architecture):
        content |= used(wheel)
    content |= sources(ENTRIES[name], source, modules(content))
    python = interpreter()
    made = f"zlib {zlib.ZLIB_RUNTIME_VERSION}"
    if python:
        content |= compiled(content, python)
        made = f"bytecode by Python {_version(python)}, {made}"
    else:
        made = f"no bytecode, {made}"
    path = out / f"{name}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Replaced atomically: another process may be reading the previous one.
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(zipped(content, made))
    unfinished.replace(path)
    return path, made


def sources(entry: str, folder: Path = SRC, available: Collection[str] = ()) -> dict[str, bytes]:
    """The modules of `folder` that `entry` imports, directly or indirectly, by path; and itself.

    `available` are the modules that the wheels provide.

    Raises:
        UnresolvedImportError: an import is in none of `folder`, `available` and Python's own.
    """
    found: dict[str, bytes] = {}
    waiting = [(entry, "the zip")]
    while waiting:
        name, importer = waiting.pop()
        path = _file(folder, name)
        if path is None:
            if name not in available and name.partition(".")[0] not in sys.stdlib_module_names:
                raise UnresolvedImportError(
                    f"{importer} imports {name}, which neither {folder} nor the wheels provide"
                )
        elif (place := path.relative_to(folder).as_posix()) not in found:
            found[place] = path.read_bytes()
            waiting += [(each, place) for each in _imports(found[place], place, folder)]
    return found


def modules(paths: Iterable[str]) -> set[str]:
    """The names of the modules in these files, sources or compiled."""
    parts = (path.partition(".") for path in paths)
    return {
        stem.removesuffix("/__init__").replace("/", ".")
        for stem, _, suffix in parts
        if suffix in ("py", "so") or suffix.endswith(".so")
    }


def _file(folder: Path, name: str) -> Path | None:
    """The file of the module `name`; a package's is its `__init__.py`."""
    place = folder.joinpath(*name.split("."))
    candidates = (place.with_name(f"{place.name}.py"), place / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _imports(source: bytes, place: str, folder: Path) -> Iterator[str]:
    """The modules that the source imports when it runs, each with the packages that contain it.

    `place` is the source's path in `folder`, for relative imports.
    """
    for node in _executed(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = place.split("/")[: -node.level] if node.level else []
            module = ".".join([*package, *filter(None, [node.module])])
            members = [f"{module}.{each.name}" for each in node.names]
            # A member is a module, or a name in one.
            names = [module, *(each for each in members if _file(folder, each))]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:length]) for length in range(1, len(parts) + 1))


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below `node`, without what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in _FOR_TYPE_CHECKERS:
            for each in child.orelse:
                yield each
                yield from _executed(each)
        else:
            yield child
            yield from _executed(child)


def used(wheel: Path) -> dict[str, bytes]:
    """The wheel's files that the zip contains, by path."""
    with zipfile.ZipFile(wheel) as packed:
        return dict(
            trim.trimmed(path, packed.read(path))
            for path in packed.namelist()
            if not path.endswith("/") and trim.included(path)
        )


def interpreter() -> str | None:
    """A Python of Lambda's version: this one, one on PATH, or one of pyenv's; None without one."""
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

    It does not depend on time or place of the build, and Python does not check it against the
    sources.
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
    """The content as a zip; equal content gives equal bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as target:
        target.comment = comment.encode()
        for path in sorted(content):
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.create_system = 3  # Unix on every machine, so that the mode is applied
            entry.external_attr = MODE << 16
            target.writestr(entry, content[path], zipfile.ZIP_DEFLATED, LEVEL)
    return packed.getvalue()


def _version(python: str) -> str:
    """The interpreter's version; "" if it does not run, such as a pyenv shim of another version."""
    done = subprocess.run(
        [python, "-S", "-c", "import platform; print(platform.python_version())"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def main(arguments: list[str] | None = None) -> None:
    """Builds the zips that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m deploy.package")
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="arm64")
    parser.add_argument("--authorizer", action="store_true", help="also build the authorizer")
    parser.add_argument(
        "--configured",
        action="store_true",
        help="take both from Terraform's variables; other arguments are those of `terraform plan`",
    )
    parser.add_argument("--out", type=Path, default=BUILD)
    options, others = parser.parse_known_args(arguments)
    try:
        if options.configured:
            chosen = variables(("architecture", "auth"), others)
            options.architecture = chosen["architecture"]
            options.authorizer = chosen["auth"] == "jwt"
        elif others:
            parser.error(f"unknown arguments: {' '.join(others)}")
        for name in ENTRIES if options.authorizer else ("lambda",):
            path, made = build(name, options.out, options.architecture)
            print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {made}")
    except (WheelsError, TerraformMissingError, UnresolvedImportError) as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()

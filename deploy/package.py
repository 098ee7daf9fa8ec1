"""`make package`: the zips that Lambda runs, byte-identical on each build.

Rules
- A zip contains the modules of src/ that its entry module imports, directly or indirectly, and the
  pinned wheels. An import that neither of them nor Python itself provides is an error. So is a name
  that is imported from a module whose source does not bind it, unless it is a module itself.
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
import functools
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from deploy import inputs, trim
from deploy.terraform import TOKENS, TerraformMissingError, variables
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
    published: dict[str, str] = {}
    for wheel in wheels(name, architecture, BUILD / "wheels" / architecture):
        content |= used(wheel)
        with zipfile.ZipFile(wheel) as packed:
            published |= modules(packed.namelist())
    left_out = published.keys() - modules(content).keys()
    content |= sources(ENTRIES[name], source, content, left_out)
    python = interpreter()
    made = _made_with(python)
    if python:
        content |= compiled(content, python)
    path = out / f"{name}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Replaced atomically: another process may be reading the previous one.
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(zipped(content, made))
    unfinished.replace(path)
    return path, made


def configured(
    arguments: Sequence[str], out: Path = BUILD, *, keep: bool = False
) -> Iterator[tuple[Path, str]]:
    """Builds what Terraform's variables require; yields each path, with how it was made.

    A zip that is current is left as it is, which needs no package index. With `keep` so is any
    zip: to destroy, Terraform reads it and does not use it.

    Raises:
        TerraformMissingError: the variables cannot be read.
        WheelsError, UnresolvedImportError: as `build`.
    """
    chosen = variables(("architecture", "auth"), arguments)
    architecture = str(chosen["architecture"])
    made = _made_with(interpreter())
    for name in ENTRIES if chosen["auth"] in TOKENS else ("lambda",):
        path = out / f"{name}.zip"
        wanted = inputs.digest(name, SRC, architecture, made)
        if inputs.is_current(path, wanted):
            yield path, "up to date"
        elif keep and path.is_file():
            yield path, "kept"
        else:
            path, how = build(name, out, architecture)
            inputs.note(path, wanted)
            yield path, how


def _made_with(python: str | None) -> str:
    """What decides about the bytes of a zip beside its content."""
    by = f"bytecode by Python {_version(python)}" if python else "no bytecode"
    return f"{by}, zlib {zlib.ZLIB_RUNTIME_VERSION}"


def sources(
    entry: str,
    folder: Path = SRC,
    libraries: Mapping[str, bytes] | None = None,
    left_out: Collection[str] = (),
) -> dict[str, bytes]:
    """The modules of `folder` that `entry` imports, directly or indirectly, by path; and itself.

    `libraries` are the wheels' files in the zip, by path, and `left_out` the modules of the wheels
    that are not in the zip.

    Raises:
        UnresolvedImportError: an import is in none of `folder`, `libraries` and Python's own.
    """
    found: dict[str, bytes] = {}
    libraries = libraries or {}
    available = modules(libraries)
    waiting = [(entry, "", "the zip")]
    while waiting:
        name, member, importer = waiting.pop()
        source: bytes | None = None  # of a module written in Python, if it is in the zip
        if path := _file(folder, name):
            place = path.relative_to(folder).as_posix()
            source = path.read_bytes()
            if place not in found:
                found[place] = source
                waiting += [(*each, place) for each in _imports(source, place)]
        elif name in available:
            place = available[name]
            source = libraries[place] if place.endswith(".py") else None
        elif not _is_standard(name):
            raise UnresolvedImportError(
                f"{importer} imports {name}, which neither {folder} nor the wheels provide"
            )
        below = f"{name}.{member}"
        if member and (below in left_out or not (source is None or _binds(source, member))):
            waiting.append((below, "", importer))
    return found


def modules(paths: Iterable[str]) -> dict[str, str]:
    """The modules in these files, sources or compiled: the path of each by its name."""
    return {
        stem.removesuffix("/__init__").replace("/", "."): path
        for path in paths
        for stem, _, suffix in [path.partition(".")]
        if suffix in ("py", "so") or suffix.endswith(".so")
    }


def _is_standard(name: str) -> bool:
    """Whether the module is Python's own. One that only another platform has is included."""
    package, _, below = name.partition(".")
    if package not in sys.stdlib_module_names:
        return False
    try:
        return not below or importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _file(folder: Path, name: str) -> Path | None:
    """The file of the module `name`; a package's is its `__init__.py`."""
    place = folder.joinpath(*name.split("."))
    candidates = (place.with_name(f"{place.name}.py"), place / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _imports(source: bytes, place: str) -> Iterator[tuple[str, str]]:
    """The imports of the source when it runs: of a module ("a.b", ""), or of a name in it.

    The packages that contain a module precede it. `place` is the source's path, for relative
    imports.
    """
    for node in _executed(ast.parse(source)):
        names: list[tuple[str, str]] = []
        if isinstance(node, ast.Import):
            names = [(each.name, "") for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = place.split("/")[: -node.level] if node.level else []
            module = ".".join([*package, *filter(None, [node.module])])
            names = [(module, each.name) for each in node.names]
        for module, member in names:
            parts = module.split(".")
            yield from ((".".join(parts[:length]), "") for length in range(1, len(parts)))
            yield module, member


@functools.cache
def _bound(source: bytes) -> frozenset[str]:
    """The names that a module's source binds at its top level; "*" after such an import."""
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        match node := waiting.pop():
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
                continue  # what is bound inside is not bound in the module
            case ast.Import():
                names |= {each.asname or each.name.partition(".")[0] for each in node.names}
            case ast.ImportFrom():
                names |= {each.asname or each.name for each in node.names}
            case ast.Name(ctx=ast.Store()):
                names.add(node.id)
        waiting += _children(node)
    return frozenset(names)


def _binds(source: bytes, name: str) -> bool:
    """Whether the module may have the name: it binds it, or others that cannot be known."""
    return not _bound(source).isdisjoint((name, "*", "__getattr__")) or name == "*"


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below `node`, without what only type checkers read."""
    for child in _children(node):
        yield child
        yield from _executed(child)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes directly below; of a condition for type checkers, those that run otherwise."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) in _FOR_TYPE_CHECKERS:
            yield from child.orelse
        else:
            yield child


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
    parser.add_argument(
        "--keep", action="store_true", help="with --configured: keep a zip that is there"
    )
    parser.add_argument("--out", type=Path, default=BUILD)
    options, others = parser.parse_known_args(arguments)
    try:
        if options.configured:
            made = configured(others, options.out, keep=options.keep)
        elif others:
            parser.error(f"unknown arguments: {' '.join(others)}")
        else:
            names = ENTRIES if options.authorizer else ("lambda",)
            made = (build(name, options.out, options.architecture) for name in names)
        for path, how in made:
            print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {how}")
    except (WheelsError, TerraformMissingError, UnresolvedImportError) as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()

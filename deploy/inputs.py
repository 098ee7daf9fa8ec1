"""Whether a zip is what building it again would give, without the wheels from which it is made.

Rules
- Beside each zip is a note (`<name>.zip.inputs`) with the digest of all that the build reads, and
  the digest of the zip. If both are as noted, building again would give the same bytes.
- The wheels count by the requirements that pin them, so no package index is needed to compare.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# The modules of this folder that decide what is in a zip, and what stands in for libraries.
_BUILD = ("package.py", "trim.py", "wheels.py", "stand_ins/**/*.py")


def digest(name: str, source: Path, *choices: str) -> str:
    """The digest of what the zip `name` is built from; `choices` are what else decides."""
    found = hashlib.sha256()
    for part in (name, *choices):
        found.update(f"{part}\0".encode())
    for path in _read(name, source):
        found.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return found.hexdigest()


def _read(name: str, source: Path) -> Iterator[Path]:
    yield from sorted(source.rglob("*.py"))
    yield FOLDER / f"requirements-{name}.txt"
    yield from _sorted(FOLDER.glob(pattern) for pattern in _BUILD)


def _sorted(groups: Iterable[Iterable[Path]]) -> Iterator[Path]:
    for group in groups:
        yield from sorted(group)


def is_current(zip_path: Path, inputs: str) -> bool:
    """Whether the zip was built from these inputs, and is unchanged."""
    try:
        return _note(zip_path).read_text() == _line(zip_path, inputs)
    except FileNotFoundError:
        return False


def note(zip_path: Path, inputs: str) -> None:
    """Notes that the zip was just built from these inputs."""
    _note(zip_path).write_text(_line(zip_path, inputs))


def _note(zip_path: Path) -> Path:
    return zip_path.with_name(f"{zip_path.name}.inputs")


def _line(zip_path: Path, inputs: str) -> str:
    return f"{inputs} {hashlib.sha256(zip_path.read_bytes()).hexdigest()}\n"

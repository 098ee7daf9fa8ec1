"""Covers the dependencies between the packages and modules of local/: their imports."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCAL = ROOT / "local"

# Each package or module of local/, and the ones it may import, all of them listed before it.
ALLOWED: Mapping[str, set[str]] = {
    "exit_with_parent": set(),
    "invocation": set(),
    "loopback": set(),
    "processes": set(),
    "recordings": set(),
    "page": {"loopback"},
    "bedrock": {"loopback", "processes"},
    "gateway": {"invocation", "loopback"},
    "aws": {"loopback", "processes"},
    "lambda_runtime": {"aws", "invocation", "loopback", "processes"},
    "auth": {"aws", "gateway", "invocation", "lambda_runtime", "loopback", "page"},
    "stack": {
        *("auth", "aws", "gateway", "lambda_runtime"),
        *("loopback", "page", "processes", "recordings"),
    },
    "deployment": {"auth", "aws", "gateway", "lambda_runtime", "loopback", "recordings", "stack"},
    "invoke": {"lambda_runtime", "loopback", "processes", "recordings", "stack"},
    "__main__": {"auth", "invoke", "page", "recordings", "stack"},
}
# Other code of the repository that a part may import: `deploy` signs URLs, finds Terraform and
# names the folder of the module, whose routes and template the gateway reads; `families` of src/
# assigns model ids to families.
ALSO: Mapping[str, set[str]] = {
    "auth": {"deploy"},
    "aws": {"deploy"},
    "bedrock": {"families"},
    "deployment": {"deploy"},
    "gateway": {"deploy"},
}


def imported(file: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} has a relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_of(part: str) -> set[str]:
    folder = LOCAL / part
    files = folder.rglob("*.py") if folder.is_dir() else [folder.with_suffix(".py")]
    return {name for file in files for name in imported(file)}


def test_every_part_is_in_the_table() -> None:
    """A new package or module has to state what it may import."""
    parts = {path.stem for path in LOCAL.iterdir() if path.suffix == ".py" or path.is_dir()}

    assert parts - {"__init__", "__pycache__"} == set(ALLOWED)


def test_dependencies_point_one_way() -> None:
    """Each part imports only parts that are listed before it."""
    parts = list(ALLOWED)

    for part, others in ALLOWED.items():
        assert others <= set(parts[: parts.index(part)]), part


@pytest.mark.parametrize("part", ALLOWED)
def test_a_part_imports_only_what_the_table_allows(part: str) -> None:
    """Its own modules and those of the tables; never tests, tools or bench."""
    names = [name.split(".") for name in imports_of(part)]
    local = {path[1] for path in names if path[0] == "local"}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()}
    sources = {path.stem for path in (ROOT / "src").iterdir()}
    others = {path[0] for path in names} & (folders | sources)

    assert local - {part} <= ALLOWED[part]
    assert others - {"local"} <= ALSO.get(part, set())

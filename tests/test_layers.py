"""The function's modules import in one direction only: from higher layers to lower ones."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"

# From the lowest layer to the highest. A module imports from lower layers, and inside its own
# package; docs/decisions/0022-layout.md says why.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("clients", "errors", "gc_startup", "log", "validation"),
    ("settings",),
    ("families",),
    ("wire",),
    ("memory",),
    ("store",),
    ("bedrock_errors", "prompt_object", "signing_poster"),
    ("bedrock_stream", "posting"),
    ("ws_sender",),
    ("relay",),
    ("metrics", "services"),
    ("turn",),
    ("handler",),
)
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}
AUTHORIZER = "authorizer"  # a function of its own, which shares the log alone

# What a module does not know, beside the layers above it: boto3 and botocore are the third column.
MAY_USE_AWS = {
    "bedrock_errors",
    "bedrock_stream",
    "clients",
    "posting",
    "prompt_object",
    "signing_poster",
    "store",
    "ws_sender",
}


def modules() -> list[Path]:
    return sorted(path for path in SRC.rglob("*.py") if path.name != "__init__.py")


def part(path: Path) -> str:
    """The layer's name for a module: its package, or itself."""
    return path.relative_to(SRC).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[str]:
    """Every module that the file names in an import, also under TYPE_CHECKING and in functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            yield node.module or ""


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SRC)))
def test_a_module_imports_lower_layers_only(path: Path) -> None:
    """Each import is of a lower layer, of the same package, of the standard library or a wheel."""
    own = part(path)
    for name in imports(path):
        top = name.partition(".")[0]
        if own == AUTHORIZER:
            assert top not in LEVELS or top == "log", f"{path} imports {name}"
        elif top in LEVELS:
            is_inside = top == own and (SRC / own).is_dir()
            assert is_inside or LEVELS[top] < LEVELS[own], f"{path} imports {name}"
        else:
            known = {"boto3", "botocore", "msgspec", "types_boto3_bedrock_runtime", "urllib3"}
            known |= {"types_boto3_apigatewaymanagementapi", "types_boto3_dynamodb"}
            assert top in sys.stdlib_module_names | known, f"{path} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SRC)))
def test_aws_is_called_in_one_place_for_each_service(path: Path) -> None:
    """No module but the service's own knows boto3, botocore or urllib3."""
    if part(path) in MAY_USE_AWS:
        return
    used = {
        name for name in imports(path) if name.split(".")[0] in ("boto3", "botocore", "urllib3")
    }

    assert set() == used


def test_dynamodb_is_called_by_the_table_alone() -> None:
    """The other modules of `store` know neither botocore nor boto3."""
    users = {
        path.stem
        for path in (SRC / "store").glob("*.py")
        if any(name.split(".")[0] in ("boto3", "botocore") for name in imports(path))
    }

    assert {"table"} == users


def test_the_table_knows_nothing_of_the_items_in_it() -> None:
    """`store/table.py` imports errors and settings, and no module that knows a model or a frame."""
    ours = {name for name in imports(SRC / "store" / "table.py") if name.split(".")[0] in LEVELS}

    assert ours <= {"errors", "settings"}


def test_every_module_has_its_layer() -> None:
    """A new module is given a place here; a name that is gone is taken off the list."""
    assert {*LEVELS, AUTHORIZER} == {part(path) for path in modules()}


def test_no_two_modules_import_each_other() -> None:
    """Inside a package too, imports form no circle."""
    names = {".".join(path.relative_to(SRC).with_suffix("").parts): path for path in modules()}
    graph = {
        name: {each for each in imports(path) if each in names} for name, path in names.items()
    }
    for name, path in names.items():  # `from store import table` names the package
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                inside = (f"{node.module}.{each.name}" for each in node.names)
                graph[name] |= {each for each in inside if each in names}
    while graph:
        leaves = {name for name, used in graph.items() if not used & graph.keys()}
        assert leaves, f"a circle among {sorted(graph)}"
        graph = {name: used for name, used in graph.items() if name not in leaves}

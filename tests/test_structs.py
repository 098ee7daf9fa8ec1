"""Covers the values of src/: what is passed between modules cannot be changed."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct

SRC = Path(__file__).parents[1] / "src"
# What one turn changes as it runs.
MUTABLE = {"TurnSession", "_Accumulator", "Lease"}


def structs() -> Iterator[type[Struct]]:
    """Every Struct that a module of src/ defines; the authorizer has none."""
    for file in sorted(SRC.rglob("*.py")):
        name = ".".join(file.relative_to(SRC).with_suffix("").parts)
        module = importlib.import_module(name.removesuffix(".__init__"))
        types = [each for each in vars(module).values() if isinstance(each, type)]
        own = [each for each in types if each.__module__ == module.__name__]
        yield from (each for each in own if issubclass(each, Struct))


@pytest.mark.parametrize("struct", sorted(structs(), key=str))
def test_a_value_between_modules_is_frozen(struct: type[Struct]) -> None:
    """All but the state of one turn: a value that two modules hold is the same for both."""
    assert struct.__struct_config__.frozen is (struct.__name__ not in MUTABLE)

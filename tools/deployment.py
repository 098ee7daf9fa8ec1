"""What terraform/ says of itself, read with a parser of its language. Pure, but for reading it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import hcl2

FOLDER = Path(__file__).resolve().parents[1] / "terraform"


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of a deployment; `file` is where it stands, `default` as Terraform has it."""

    name: str
    file: str
    kind: str
    default: Any
    description: str


@cache  # the parser takes a second of CPU for all of it
def variables(folder: Path = FOLDER) -> Mapping[str, Variable]:
    """All variables, in the order of the files and of their lines."""
    return {each.name: each for path in sorted(folder.glob("*.tf")) for each in _variables(path)}


def _variables(path: Path) -> Iterator[Variable]:
    with path.open() as file:
        blocks = hcl2.load(file).get("variable", ())
    for block in blocks:
        for name, body in block.items():
            yield Variable(
                name=_text(name),
                file=path.name,
                kind=body["type"].removeprefix("${").removesuffix("}"),
                default=_value(body.get("default")),
                description=_text(body.get("description", '""')),
            )


def _text(quoted: str) -> str:
    """The parser leaves texts as they are written."""
    return str(json.loads(quoted))


def _value(parsed: Any) -> Any:
    return _text(parsed) if isinstance(parsed, str) else parsed

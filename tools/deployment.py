"""The variables of terraform/, read with an HCL parser."""

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
    """One Terraform variable. `file` is the file that declares it."""

    name: str
    file: str
    kind: str
    default: Any
    description: str


@cache  # parsing all files takes one second of CPU
def variables(folder: Path = FOLDER) -> Mapping[str, Variable]:
    """Returns all variables by name, in the order of files and lines."""
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
    """Returns a string without its quotes, which the parser keeps."""
    return str(json.loads(quoted))


def _value(parsed: Any) -> Any:
    return _text(parsed) if isinstance(parsed, str) else parsed

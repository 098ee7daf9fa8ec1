"""The Terraform modules: their variables, outputs and resources, read from the files.

Rules
- The files are those of `terraform fmt`: an attribute or block of a variable begins a line with two
  spaces. A test runs `terraform fmt`, so nothing else is understood here.
- A type is kept as it is written; a default is a literal that is also JSON.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import dedent
from typing import Any

from deploy.terraform import FOLDER, MODULE

__all__ = ["FOLDER", "MODULE", "Output", "Variable", "all_variables", "outputs", "variables"]

_BLOCK = r'^{kind} "(\w+)" \{{\n(.*?)^\}}$'
_ATTRIBUTE = re.compile(r"^  (\w+) += (.*?)(?=^  (?!EOT)\w|\Z)", re.MULTILINE | re.DOTALL)
_HEREDOC = re.compile(r"<<-EOT\n(.*?)^ *EOT$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable. `file` is the file that declares it; without `required` it has a default."""

    name: str
    file: str
    kind: str
    default: Any
    description: str
    nullable: bool
    required: bool


@dataclass(frozen=True, slots=True)
class Output:
    """One output."""

    name: str
    description: str


@cache
def variables(folder: Path = MODULE) -> Mapping[str, Variable]:
    """Returns all variables by name, in the order of files and lines."""
    return {
        name: Variable(
            name=name,
            file=file,
            kind=attributes["type"],
            default=json.loads(attributes.get("default", "null")),
            description=_text(attributes["description"]),
            nullable=attributes.get("nullable") != "false",
            required="default" not in attributes,
        )
        for file, name, attributes in _blocks("variable", folder)
    }


def all_variables() -> Mapping[str, Variable]:
    """Returns the variables of the root module: those that it declares itself, and the module's."""
    own = {name: each for name, each in variables(FOLDER).items() if each.file != "variables.tf"}
    return {**own, **variables()}


def outputs(folder: Path = MODULE) -> Mapping[str, Output]:
    """Returns all outputs by name, in the order of files and lines."""
    return {
        name: Output(name, _text(attributes["description"]))
        for _, name, attributes in _blocks("output", folder)
    }


def _blocks(kind: str, folder: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    pattern = re.compile(_BLOCK.format(kind=kind), re.MULTILINE | re.DOTALL)
    for path in sorted(folder.glob("*.tf")):
        for name, body in pattern.findall(path.read_text()):
            found = _ATTRIBUTE.findall(_without_comments(body))
            yield path.name, name, {key: value.strip() for key, value in found}


def _without_comments(body: str) -> str:
    return re.sub(r"^ *#.*\n", "", body, flags=re.MULTILINE)


def _text(value: str) -> str:
    """Returns the string that is written in quotes or as a heredoc."""
    heredoc = _HEREDOC.fullmatch(value)
    return dedent(heredoc[1]).strip() if heredoc else str(json.loads(value))

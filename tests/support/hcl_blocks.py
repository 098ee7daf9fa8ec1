"""The blocks of a .tf file, with their arguments, as far as `terraform fmt` writes them.

Rules
- A block or an argument begins a line; the value of an argument ends where its brackets are closed.
- A `dynamic` block is the block that it makes.
- Nothing is evaluated: a value is its text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_OPENING = re.compile(r'([\w-]+)((?: "[^"]+")*) \{(\})?')
_ARGUMENT = re.compile(r"([\w-]+) += (.*)")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_HEREDOC = re.compile(r"<<-?(\w+)$")
_ENDS = {"[": 1, "(": 1, "{": 1, "]": -1, ")": -1, "}": -1}


@dataclass
class Block:
    """A block: its type, its labels, and what is in it."""

    kind: str
    labels: list[str]
    arguments: dict[str, str] = field(default_factory=dict)
    blocks: list["Block"] = field(default_factory=list)


def blocks(text: str) -> list[Block]:
    """The blocks of a file."""
    root = Block("", [])
    _fill(root, iter(text.splitlines()))
    return root.blocks


def _fill(block: Block, lines: Iterator[str]) -> None:
    for line in lines:
        bare = line.strip()
        if bare == "}":
            return
        if opening := _OPENING.fullmatch(bare):
            kind, labels, empty = opening.groups()
            inner = Block(kind, _STRING.findall(labels))
            inner.labels = [label.strip('"') for label in inner.labels]
            if not empty:
                _fill(inner, lines)
            if kind == "dynamic":
                [content] = [each for each in inner.blocks if each.kind == "content"]
                inner = Block(inner.labels[0], [], content.arguments, content.blocks)
            block.blocks.append(inner)
        elif argument := _ARGUMENT.fullmatch(bare):
            block.arguments[argument[1]] = _value(argument[2], lines)


def _value(text: str, lines: Iterator[str]) -> str:
    if heredoc := _HEREDOC.search(text):
        return "\n".join([text, *iter(lambda: next(lines).strip(), heredoc[1])])
    parts = [text]
    while sum(_ENDS.get(each, 0) for each in _STRING.sub("", "".join(map(_code, parts)))) > 0:
        parts.append(next(lines).strip())
    return "\n".join(map(_code, parts))


def _code(line: str) -> str:
    return re.sub(r' #[^"]*$', "", line)

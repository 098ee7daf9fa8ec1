"""The modules, held against the arguments of version 6 of the AWS provider.

The other tests run version 5. provider6.json has what the bindings of version 6 state of each
resource that is used; tests/terraform/provider6.py wrote it, and writes it again for a new one.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.hcl_blocks import Block, blocks

from deploy import terraform

FILES = sorted((terraform.FOLDER / "modules").rglob("*.tf"))
SCHEMA: Mapping[str, Any] = json.loads(Path(__file__).with_name("provider6.json").read_text())

# Terraform's own, for every resource.
META = {"count", "for_each", "depends_on", "provider"}
META_BLOCKS = {"lifecycle", "override_provider"}

# What a literal begins with, and the type that it has in the bindings.
LITERALS = {
    r"(true|false)$": "boolean",
    r"-?\d+(\.\d+)?$": "number",
    r"(?s)\[.*\]$": r".*\[\]|Array<.*>",
    r"(?s)\{.*\}$": r"\{ \[key: string\]: \w+; \}",
}


def resources(text: str) -> Iterator[tuple[str, Block]]:
    """The resources and data sources of a file, by their type as in provider6.json."""
    for block in blocks(text):
        if block.kind in {"resource", "data"} and block.labels[0].startswith("aws_"):
            yield ("data." if block.kind == "data" else "") + block.labels[0], block


def problems(block: Block, known: Mapping[str, Any]) -> Iterator[str]:
    """What version 6 would refuse of a block."""
    inner = [each for each in block.blocks if each.kind not in META_BLOCKS]
    given = {*block.arguments, *(each.kind for each in inner)} - META
    yield from (f"{name} is unknown" for name in sorted(given - known.keys()))
    yield from (
        f"{name} is required"
        for name, (_, required) in known.items()
        if required and name not in given
    )
    for each in inner:
        kind = known.get(each.kind, ["", False])[0]
        if isinstance(kind, dict):
            yield from (f"{each.kind}: {problem}" for problem in problems(each, kind))
        elif each.kind in known:
            yield f"{each.kind} is no block"
    for name, value in block.arguments.items():
        kind = known.get(name, ["", False])[0]
        expected = next((each for form, each in LITERALS.items() if re.match(form, value)), None)
        if expected and isinstance(kind, str) and kind and not re.fullmatch(expected, kind):
            yield f"{name} is a {kind}"


ALL = [
    pytest.param(kind, block, id=f"{kind}.{block.labels[1]}")
    for path in FILES
    for kind, block in resources(path.read_text())
]


@pytest.mark.parametrize(("kind", "block"), ALL)
def test_version_6_knows_the_arguments(kind: str, block: Block) -> None:
    """Each argument and block exists there, with that type; none that is required is missing."""
    assert kind in SCHEMA, "run tests/terraform/provider6.py"
    assert [] == list(problems(block, SCHEMA[kind]["arguments"]))


def test_version_6_knows_the_attributes() -> None:
    """Each attribute of a resource to which the modules refer."""
    text = "".join(re.sub(r"^ *#.*\n", "", path.read_text(), flags=re.MULTILINE) for path in FILES)
    found = re.findall(
        r"(?<![\w.\"])(data\.)?(aws_\w+)\.\w+(?:\[(?:[^\]\[]|\[[^\]]*\])*\])?\.([a-z_]\w*)", text
    )
    unknown = {
        f"{data}{kind}: {name}"
        for data, kind, name in found
        if name not in SCHEMA[f"{data}{kind}"]["arguments"].keys() | {"id"}
        and name not in SCHEMA[f"{data}{kind}"]["attributes"]
    }

    assert 50 < len(found)
    assert set() == unknown


@pytest.mark.parametrize(
    ("kind", "body", "found"),
    [
        # Version 6 removed it.
        ("aws_api_gateway_account", "reset_on_delete = true", ["reset_on_delete is unknown"]),
        (
            "aws_sqs_queue",
            "fifo_queue = [\n1,\n]",
            ["fifo_queue is a boolean"],
        ),
        (
            "aws_apigatewayv2_stage",
            'api_id = "a"\ndynamic "route_settings" {\nfor_each = []\ncontent {\nkey = 1\n}\n}',
            [
                "name is required",
                "route_settings: key is unknown",
                "route_settings: route_key is required",
            ],
        ),
    ],
)
def test_what_version_6_would_refuse_is_found(kind: str, body: str, found: list[str]) -> None:
    """An argument that is gone, a literal of another type, and one that is missing."""
    [(_, block)] = resources(f'resource "{kind}" "a" {{\n{body}\n}}\n')

    assert found == list(problems(block, SCHEMA[kind]["arguments"]))

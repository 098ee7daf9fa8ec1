"""docs/protocol.schema.json, generated from the Structs of `wire.requests` and `wire.events`.

Rules
- Meanings, constraints and examples come from the Structs. Only what msgspec's schema of a type
  cannot know is added here: which side sends a frame.
- A client's frame can have fields that the server ignores, and null for an id. A server's frame has
  only its Struct's fields, and none that is null.
- Definitions have public names: `#/$defs/client_chat` is `Chat`, `#/$defs/start` is `StartFrame`.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import Struct

from wire.events import SeedFrame, ServerFrame
from wire.requests import DEFAULT_ACTION, Id, Request

FILE = Path(__file__).resolve().parents[1] / "docs" / "protocol.schema.json"

Node = Mapping[str, Any]

_TAGS = {"action": "The kind of request.", "type": "The kind of frame."}


def text() -> str:
    """Returns the content of the file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def schema() -> Node:
    """Returns the JSON Schema of every frame."""
    requests, events = get_args(Request), get_args(ServerFrame)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Wire protocol v1",
        "description": "Frames of the chat WebSocket, one JSON object each. Validate with "
        "#/$defs/client, #/$defs/server (format=events) or #/$defs/seed (format=seed).",
        "$defs": {
            "id": _without(msgspec.json.schema(Id), "title"),
            "client": {
                "description": "A frame that a client sends as JSON. Text that is neither a JSON "
                "object nor a JSON array is a chat message, too.",
                "anyOf": [{"$ref": f"#/$defs/{_client_name(each.__name__)}"} for each in requests],
            },
            **_definitions(requests, _client_name, _sent_by_client),
            "server": {
                "description": "A frame that a client receives with format=events.",
                "oneOf": [{"$ref": f"#/$defs/{_server_name(each.__name__)}"} for each in events],
            },
            **_definitions((*events, SeedFrame), _server_name, _sent_by_server),
        },
    }


def _client_name(struct: str) -> str:
    return f"client_{struct.lower()}"


def _server_name(struct: str) -> str:
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", struct.removesuffix("Frame")).lower()
    return snake.removeprefix("past_")


def _definitions(
    structs: tuple[type[Struct], ...],
    name: Callable[[str], str],
    as_sent: Callable[[Node], Node],
) -> dict[str, Node]:
    """Returns the definitions of the Structs, and of those in their fields, by public name."""
    _, components = msgspec.json.schema_components(structs, ref_template="{name}")
    types = {each.__name__: each for each in structs}
    return {
        name(struct): as_sent(_object(node, types.get(struct), name))
        for struct, node in components.items()
    }


def _object(node: Node, struct: Any, name: Callable[[str], str]) -> Node:
    """Returns the definition of one Struct: its fields, and its class's docstring and examples."""
    fields = {field: _field(each, name) for field, each in node["properties"].items()}
    for tag in _TAGS.keys() & fields.keys():
        fields[tag] = {**fields[tag], "description": _TAGS[tag]}
    fields |= dict.fromkeys(getattr(struct, "EXCLUDES", ()), False)
    examples = list(getattr(struct, "EXAMPLES", ()))
    return {
        "type": "object",
        "description": " ".join(node["description"].split()),
        "properties": fields,
        "required": node["required"],
        **({"examples": examples} if examples else {}),
    }


def _field(node: Node, name: Callable[[str], str]) -> Node:
    """Returns a field's schema with public names: `#/$defs/id`, and `const` for the only value."""
    match node:
        case {"$ref": struct}:
            return {**node, "$ref": f"#/$defs/{name(struct)}"}
        case {"title": "id", "description": description}:
            return {"$ref": "#/$defs/id", "description": description}
        case {"enum": [only]}:
            return {"const": only}
        case {"items": items}:
            return {**node, "items": _field(items, name)}
        case {"anyOf": [choice, null]}:  # the description is the field's, not the choice's
            choices = [_without(_field(choice, name), "description"), null]
            return {**_without(node, "default"), "anyOf": choices}
        case _:
            return node


def _sent_by_client(node: Node) -> Node:
    """Makes the default action optional."""
    action = node["properties"]["action"]
    if action["const"] != DEFAULT_ACTION:
        return node
    described = {**action, "description": f"`{DEFAULT_ACTION}` if it is left out."}
    return {
        **node,
        "properties": {**node["properties"], "action": described},
        "required": [field for field in node["required"] if field != "action"],
    }


def _sent_by_server(node: Node) -> Node:
    """Excludes other fields, and null: a field without a value is left out."""
    fields = {field: _not_null(each) for field, each in node["properties"].items()}
    return {**node, "properties": fields, "additionalProperties": False}


def _not_null(node: Node) -> Node:
    if "anyOf" not in node:
        return node
    choice, _ = node["anyOf"]
    return {**choice, **_without(node, "anyOf")}


def _without(node: Node, *keys: str) -> Node:
    return {key: value for key, value in node.items() if key not in keys}

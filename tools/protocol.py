"""The tables of docs/protocol.md, generated from the schema and the constants. Pure.

The meaning of a field is in the Structs of `wire`; here is only the layout. Limits are the
constants that the function uses.
"""

import json
from collections.abc import Callable, Iterator, Mapping

import errors
import settings
from store import uploads
from tools.markdown import code, fenced, size, table
from tools.protocol_schema import Node, schema
from wire import requests

_HEADING = {"client_part": "chat, in parts", "client_continue": "chat, to continue"}


def definitions() -> Mapping[str, Node]:
    """Returns everything that the schema defines, by name."""
    found: Mapping[str, Node] = schema()["$defs"]
    return found


def client_frames() -> str:
    """Returns a section for each frame that a client sends."""
    return _frames("client", "anyOf")


def server_frames() -> str:
    """Returns a section for each frame of `format=events`."""
    return _frames("server", "oneOf")


def seed_frames() -> str:
    """Returns the section of `format=seed`."""
    return _frame(definitions(), "seed")


def stop_reasons() -> str:
    """Returns the stop reasons with their meaning."""
    return _named("done", "stop_reason")


def states() -> str:
    """Returns the states of a turn with their meaning."""
    return _named("turn", "state")


def error_codes() -> str:
    """Returns the error codes with their meaning, and whether a repeated request can succeed."""
    return table(
        ("`code`", "meaning", "usually retryable"),
        (
            (code(name), each.meaning, "yes" if each.retryable else "")
            for name, each in errors.CODES.items()
        ),
    )


def limits() -> str:
    """Returns the limits that a client can reach."""
    default = settings.Settings(table_name="any")
    return table(
        ("what", "at most", "set by"),
        (
            ("a frame, in either direction", size(settings.MAX_FRAME_BYTES), "API Gateway"),
            (
                "a message of several WebSocket frames",
                size(settings.MAX_MESSAGE_BYTES),
                "API Gateway",
            ),
            ("the text of a message", size(default.max_input_bytes), "`MAX_INPUT_BYTES`"),
            ("the parts of a message", str(requests.MAX_PARTS), "this protocol"),
            (
                "the time from the first part to the last",
                f"{uploads.UPLOAD_SECONDS} s",
                "this protocol",
            ),
            (
                "a saved answer",
                size(settings.MAX_ANSWER_BYTES),
                "this protocol, for DynamoDB's item size",
            ),
            ("the tokens of an answer", f"{default.max_output_tokens:,}", "`MAX_OUTPUT_TOKENS`"),
            ("the turns of one `history`", str(requests.MAX_HISTORY_LIMIT), "this protocol"),
            ("an id", "128 characters", "this protocol"),
            (
                "the duration of a connection",
                f"{settings.CONNECTION_SECONDS // 3600} h",
                "API Gateway",
            ),
            ("a connection without frames", "10 min", "API Gateway"),
        ),
    )


def _frames(group: str, choice: str) -> str:
    defs = definitions()
    names = [each["$ref"].rpartition("/")[2] for each in defs[group][choice]]
    return "\n\n".join(_frame(defs, name) for name in names)


def _frame(defs: Mapping[str, Node], name: str) -> str:
    node = defs[name]
    rows = table(("field", "type", "required", "meaning"), _fields(defs, node, ""))
    examples = [
        json.dumps(each, separators=(",", ":"), ensure_ascii=False) for each in node["examples"]
    ]
    heading = _HEADING.get(name, name.removeprefix("client_"))
    return "\n\n".join([f"### {heading}", node["description"], rows, fenced("json", examples)])


def _fields(defs: Mapping[str, Node], node: Node, prefix: str) -> Iterator[tuple[str, ...]]:
    """Yields a row for each field, and for the fields of an object in it."""
    for name, each in node["properties"].items():
        if each is False:
            continue
        required = "yes" if name in node.get("required", ()) else ""
        kind, inner = _type(defs, each)
        meaning = each.get("description") or inner.get("description", "")
        yield code(prefix + name), kind, required, meaning
        if "properties" in inner:
            yield from _fields(defs, inner, f"{prefix}{name}{'[]' if kind == 'list' else ''}.")


def _type(defs: Mapping[str, Node], node: Node) -> tuple[str, Node]:
    """Returns the name of the type, and its definition."""
    if "anyOf" in node:  # an id, or null, which is the same as leaving it out
        return _type(defs, node["anyOf"][0])
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        return ("id" if name == "id" else _type(defs, defs[name])[0]), defs[name]
    if node.get("type") == "array":
        return "list", _type(defs, node["items"])[1]
    kind = next(each for each in _TYPE_NAMES if each in (*node, node.get("type")))
    return _TYPE_NAMES[kind](node), node


def _number(node: Node) -> str:
    least, most = node.get("minimum"), node.get("maximum")
    bounds = (
        "" if least is None else f", from {least}" if most is None else f", {least} to {most:,}"
    )
    default = f"; {node['default']} if left out" if "default" in node else ""
    return f"number{bounds}{default}"


# By the schema's keyword, or its type.
_TYPE_NAMES: Mapping[str, Callable[[Node], str]] = {
    "const": lambda node: code(json.dumps(node["const"])),
    "enum": lambda node: " or ".join(code(json.dumps(each)) for each in node["enum"]),
    "oneOf": lambda _: "text, one of the values below",
    "boolean": lambda _: "true or false",
    "integer": _number,
    "object": lambda _: "object",
    "string": lambda _: "text",
}


def _named(name: str, field: str) -> str:
    rows = definitions()[name]["properties"][field]["oneOf"]
    return table(
        (code(field), "meaning"), ((code(row["const"]), row["description"]) for row in rows)
    )

"""The tables of docs/protocol.md, made of docs/protocol.schema.json. Pure, but for reading it.

What a field means stands in the schema and nowhere else; here is only how it is laid out. Limits
are the constants that the function itself uses.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import errors
import settings
from store import uploads
from tools.markdown import code, fenced, size, table
from wire import requests

SCHEMA = Path(__file__).resolve().parents[1] / "docs" / "protocol.schema.json"

Node = Mapping[str, Any]

_HEADING = {"client_part": "chat, in parts", "client_continue": "chat, to continue"}


def definitions() -> Mapping[str, Node]:
    """Everything that the schema defines, by name."""
    found: Mapping[str, Node] = json.loads(SCHEMA.read_text())["$defs"]
    return found


def client_frames() -> str:
    """What a client may send."""
    return _frames("client", "anyOf")


def server_frames() -> str:
    """What a client may receive with `format=events`."""
    return _frames("server", "oneOf")


def seed_frames() -> str:
    """The same with `format=seed`."""
    return _frame(definitions(), "seed")


def stop_reasons() -> str:
    """Each with its meaning."""
    return _named("done", "stop_reason")


def states() -> str:
    """Each with its meaning."""
    return _named("turn", "state")


def error_codes() -> str:
    """Each with its meaning, and whether the same may be asked again."""
    rows = definitions()["error"]["properties"]["code"]["oneOf"]
    again = {code: "yes" if retryable else "" for code, retryable in errors.CODES.items()}
    return table(
        ("`code`", "meaning", "as a rule retryable"),
        ((code(row["const"]), row["description"], again[row["const"]]) for row in rows),
    )


def limits() -> str:
    """The numbers that a client meets."""
    default = settings.Settings(table_name="any")
    return table(
        ("what", "at most", "whose"),
        (
            ("a frame, either way", size(settings.MAX_FRAME_BYTES), "API Gateway's"),
            ("a message, of several frames", size(settings.MAX_MESSAGE_BYTES), "API Gateway's"),
            ("a question", size(default.max_input_bytes), "`MAX_INPUT_BYTES`"),
            ("a question's parts", str(requests.MAX_PARTS), "ours"),
            ("from the first part to the last", f"{uploads.UPLOAD_SECONDS} s", "ours"),
            ("an answer, kept", size(settings.MAX_ANSWER_BYTES), "ours, for DynamoDB's item"),
            ("an answer, in tokens", f"{default.max_output_tokens:,}", "`MAX_OUTPUT_TOKENS`"),
            ("turns of one `history`", str(requests.MAX_HISTORY_LIMIT), "ours"),
            ("an id", "128 characters", "ours"),
            ("a connection", f"{settings.CONNECTION_SECONDS // 3600} h", "API Gateway's"),
            ("a connection on which nothing is said", "10 min", "API Gateway's"),
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
    """A row for each field, and for the fields of what stands in it."""
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
    """What the type is called, and the definition behind it."""
    if "anyOf" in node:  # an id, or null, which is as good as none
        return _type(defs, node["anyOf"][0])
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        return ("id" if name == "id" else _type(defs, defs[name])[0]), defs[name]
    if node.get("type") == "array":
        return "list", _type(defs, node["items"])[1]
    kind = next(each for each in _CALLED if each in (*node, node.get("type")))
    return _CALLED[kind](node), node


def _number(node: Node) -> str:
    least, most = node.get("minimum"), node.get("maximum")
    bounds = (
        "" if least is None else f", from {least}" if most is None else f", {least} to {most:,}"
    )
    default = f"; {node['default']} if left out" if "default" in node else ""
    return f"number{bounds}{default}"


# By the schema's keyword, or its type.
_CALLED: Mapping[str, Callable[[Node], str]] = {
    "const": lambda node: code(json.dumps(node["const"])),
    "enum": lambda node: " or ".join(code(json.dumps(each)) for each in node["enum"]),
    "oneOf": lambda _: "text, one of those below",
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

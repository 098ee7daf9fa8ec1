"""Names for the calls that the function makes, by the purpose of each.

The names depend on which items of the table a call reads or writes, and not on the wording of its
expressions. `mark event` records that an event was delivered; `checkpoint` stores the answer so far
beside a renewed lease.
"""

import json
from collections.abc import Mapping
from typing import Any

_SINGLE: Mapping[tuple[str, str], str] = {
    ("GetItem", "connection"): "connection",
    ("GetItem", "head"): "poll",
    ("UpdateItem", "head"): "renew",
    ("UpdateItem", "request"): "checkpoint",
}


def dynamodb_call(operation: str, request: Mapping[str, Any]) -> str:
    """The name of a call to DynamoDB, from its operation and its request body."""
    if operation == "TransactWriteItems":
        return _transaction(request["TransactItems"])
    if operation == "Query":
        return "history"
    kind = _kind(request.get("Key") or request.get("Item") or {})
    return _SINGLE.get((operation, kind), f"{operation} {kind}".strip())


def post_call(body: bytes) -> str:
    """The name of a post: the type of its frame, and `end` for either terminal frame."""
    kind = str(json.loads(body or b"{}").get("type"))
    return "end" if kind in ("done", "error") else kind


def _transaction(writes: list[Any]) -> str:
    new = {_kind(write["Put"]["Item"]): write["Put"]["Item"] for write in writes if "Put" in write}
    if "event" in new:
        return "mark event"
    if "request" in new:
        return "acquire" if len(writes) > 1 else "refuse"
    if "turn" in new:
        return "recover" if new["turn"]["state"] == {"S": "unfinished"} else "save"
    return "release"


def _kind(item: Mapping[str, Any]) -> str:
    """The kind of an item: its sort key up to the first `#`."""
    return str(item.get("sk", {}).get("S", "")).partition("#")[0]

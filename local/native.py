"""What the native shapes of all families share: checks of a request, how an answer is spoken.

Rules: pure. A check returns the value or raises Failure with ValidationException, in words close to
the service's own; JSON's types are told apart strictly (`true` is no integer).

Does not know: any family.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from local.pieces import End, Failure

Document = dict[str, Any]
METRICS = "amazon-bedrock-invocationMetrics"
"""The member that Bedrock itself adds to the last chunk, whatever the family."""


class Speech(Protocol):
    """One answer, spoken in a family's chunks. Made anew for each: it remembers open blocks."""

    def begin(self) -> list[Document]:
        """What comes before the first word."""
        ...

    def text(self, text: str) -> list[Document]:
        """The next words."""
        ...

    def reasoning(self, text: str) -> list[Document]:
        """The next thoughts."""
        ...

    def unknown(self) -> list[Document]:
        """Chunks that no client knows."""
        ...

    def end(self, end: End, metrics: Mapping[str, int]) -> list[Document]:
        """What comes after the last word; `metrics` is Bedrock's own account of the call."""
        ...


_JSON_NAMES: dict[type, str] = {
    dict: "JSONObject",
    list: "JSONArray",
    str: "String",
    bool: "Boolean",
    int: "Integer",
    float: "Number",
    type(None): "Null",
}


def refuse(reason: str) -> Failure:
    """The failure to raise: the request is understood and not allowed."""
    return Failure("ValidationException", reason)


def malformed(*reasons: str) -> Failure:
    """The failure to raise: the request does not fit the schema. Reasons: `<JSON path>: <what>`."""
    found = "".join(reasons)
    return refuse(f"Malformed input request: {found}, please reformat your input and try again.")


def typed(value: Any, kind: type, path: str) -> Any:
    """The value itself, if JSON gave it the type that the schema has at this path."""
    if type(value) is not kind:
        found = _JSON_NAMES[type(value)]
        raise malformed(f"{path}: expected type: {_JSON_NAMES[kind]}, found: {found}")
    return value


def keys(document: Document, required: set[str], optional: set[str]) -> None:
    """Raises unless the object has every required key, and no other than these."""
    missing = [f"#: required key [{key}] not found" for key in sorted(required - document.keys())]
    extra = [
        f"#: extraneous key [{key}] is not permitted"
        for key in document
        if key not in required | optional
    ]
    if missing or extra:
        raise malformed(*missing, *extra)


def fraction(document: Document, key: str) -> float | None:
    """A number from 0 to 1, if it is there."""
    value = document.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise refuse(f"{key}: range: 0..1")
    return float(value)


def count(value: Any, path: str) -> int:
    """An integer from 1."""
    number: int = typed(value, int, path)
    if number < 1:
        raise refuse(f"{path.removeprefix('#/')}: must be greater than or equal to 1")
    return number


def strings(value: Any, path: str) -> tuple[str, ...]:
    """A list of strings."""
    return tuple(typed(one, str, path) for one in typed(value, list, path))

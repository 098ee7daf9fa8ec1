"""What the native shapes of all families share: checks of a request, how an answer is spoken.

Rules: pure. A check returns the value or raises Failure with ValidationException, in words close to
the service's own; JSON's types are told apart strictly (`true` is no integer).

Does not know: any family.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from local.bedrock.pieces import End, Failure, Turn

Document = dict[str, Any]
Chunk = Document | str
"""What one chunk says: an object, or (Palmyra's last) a JSON string."""
METRICS = "amazon-bedrock-invocationMetrics"
"""The member that Bedrock itself adds to the last chunk, whatever the family."""


class Speech(Protocol):
    """One answer, spoken in a family's chunks. Made anew for each: it remembers open blocks."""

    def begin(self) -> Sequence[Chunk]:
        """What comes before the first word."""
        ...

    def text(self, text: str) -> Sequence[Chunk]:
        """The next words."""
        ...

    def reasoning(self, text: str) -> Sequence[Chunk]:
        """The next thoughts."""
        ...

    def unknown(self) -> Sequence[Chunk]:
        """Chunks that no client knows."""
        ...

    def end(self, end: End, metrics: Mapping[str, int]) -> Sequence[Chunk]:
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


def fraction(document: Document, key: str, most: int = 1) -> float | None:
    """A number from 0 to `most`, if it is there."""
    value = document.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise refuse(f"{key}: range: 0..{most}")
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


def alternating(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """The turns, if they go user, assistant, ... user, and none of them is blank.

    The strictest of the services' rules: some let neighbours of one role pass, and a caller that
    relies on it is not portable.
    """
    roles = [turn.role for turn in turns]
    if roles != [("user", "assistant")[index % 2] for index in range(len(roles))]:
        raise refuse(
            "After the optional system message, conversation roles must alternate "
            "user/assistant/user/assistant/..."
        )
    if len(roles) % 2 == 0:
        raise refuse("Expected last role User for serving")
    if any(not text.strip() for turn in turns for text in turn.texts):
        raise refuse("messages: text content must be non-empty")
    return tuple(turns)

"""What the native shapes of all families share: request checks, the interface of chunk writers.

Rules: pure. A check returns the value or raises ServiceError with ValidationException and a message
close to the service's own. JSON's types are distinguished strictly (`true` is not an integer).

Does not know families.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from local.bedrock.pieces import End, ServiceError, Turn

Document = dict[str, Any]
Chunk = Document | str
"""The content of one chunk: an object or, for Palmyra's last, a JSON string."""
METRICS = "amazon-bedrock-invocationMetrics"
"""The field that Bedrock adds to the last chunk of every family."""

OPENAI_STOP_REASONS = {
    "end": "stop",
    "length": "length",
    "stop_sequence": "stop",
    "filtered": "content_filter",
}
"""`End.stop_reason` in OpenAI's terms, which Llama, Mistral and DeepSeek use too."""


class ChunkWriter(Protocol):
    """Writes one answer in a family's chunks. It has state (open blocks): create one per answer."""

    def begin(self) -> Sequence[Chunk]:
        """Returns the chunks before the first text."""
        ...

    def text(self, text: str) -> Sequence[Chunk]:
        """Returns the chunks for the next part of the answer."""
        ...

    def reasoning(self, text: str) -> Sequence[Chunk]:
        """Returns the chunks for the next part of the reasoning."""
        ...

    def unknown(self) -> Sequence[Chunk]:
        """Returns chunks of unknown types, which clients must ignore."""
        ...

    def end(self, end: End, metrics: Mapping[str, int]) -> Sequence[Chunk]:
        """Returns the chunks after the last text; `metrics` are Bedrock's invocation metrics."""
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


def validation_error(reason: str) -> ServiceError:
    """Returns the error for a request that fits the schema and is not allowed."""
    return ServiceError("ValidationException", reason)


def malformed_request(*reasons: str) -> ServiceError:
    """Returns the error for a request that violates the schema. Reasons: `<path>: <problem>`."""
    found = "".join(reasons)
    return validation_error(
        f"Malformed input request: {found}, please reformat your input and try again."
    )


def expect_type(value: Any, kind: type, path: str) -> Any:
    """Returns the value if it has the JSON type that the schema requires at this path."""
    if type(value) is not kind:
        found = _JSON_NAMES[type(value)]
        raise malformed_request(f"{path}: expected type: {_JSON_NAMES[kind]}, found: {found}")
    return value


def check_keys(document: Document, required: set[str], optional: set[str]) -> None:
    """Raises ServiceError unless the object has all required keys and no unknown ones."""
    missing = [f"#: required key [{key}] not found" for key in sorted(required - document.keys())]
    extra = [
        f"#: extraneous key [{key}] is not permitted"
        for key in document
        if key not in required | optional
    ]
    if missing or extra:
        raise malformed_request(*missing, *extra)


def optional_number(document: Document, key: str, most: int = 1) -> float | None:
    """Returns the number from 0 to `most` under `key`, or None if it is absent."""
    value = document.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise validation_error(f"{key}: range: 0..{most}")
    return float(value)


def positive_integer(value: Any, path: str) -> int:
    """Returns the value if it is an integer of at least 1."""
    number: int = expect_type(value, int, path)
    if number < 1:
        raise validation_error(f"{path.removeprefix('#/')}: must be greater than or equal to 1")
    return number


def string_list(value: Any, path: str) -> tuple[str, ...]:
    """Returns the value, a list of strings."""
    return tuple(expect_type(one, str, path) for one in expect_type(value, list, path))


def check_alternation(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """Returns the turns if they are user, assistant, ..., user and none of them is blank.

    The strictest of the services' rules: some accept consecutive messages of one role, and a caller
    that relies on it is not portable.
    """
    roles = [turn.role for turn in turns]
    if roles != [("user", "assistant")[index % 2] for index in range(len(roles))]:
        raise validation_error(
            "After the optional system message, conversation roles must alternate "
            "user/assistant/user/assistant/..."
        )
    if len(roles) % 2 == 0:
        raise validation_error("Expected last role User for serving")
    if any(not text.strip() for turn in turns for text in turn.texts):
        raise validation_error("messages: text content must be non-empty")
    return tuple(turns)

"""The frames that clients send, one Struct each, and `parse`, which reads them. Pure.

Rules
- A frame becomes one request or one `ChatError`; nothing is guessed and nothing is corrected.
- Text that begins with `{` must be a JSON object. A JSON array is refused. All other text is chat.
- Fields that a request does not have are ignored: an older server accepts a newer client's frames.
- The published schema (docs/protocol.schema.json) is generated from the types, docstrings,
  `EXAMPLES` and `EXCLUDES` here.

Does not know how events are written (`formats`), who is connected, or how a frame travels.
"""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Struct, ValidationError, field

from errors import ChatError
from validation import InvalidError, explain

# Ids appear in URLs, logs and keys, so they have few characters and a bounded length. API Gateway's
# own request ids, which stand in for missing ones, contain "=" and "-". The end is a lookahead
# because "$" also matches before a final newline, and because the same pattern is in the schema:
# ECMA-262 has no \Z.
_ID_PATTERN = r"^[A-Za-z0-9_.:=@+-]{1,128}(?![\s\S])"
_ID = re.compile(_ID_PATTERN)
ID_EXPECTED = "1 to 128 letters, digits or . _ : = @ + -"

DEFAULT_ACTION = "chat"
DEFAULT_HISTORY_LIMIT = 20
MAX_HISTORY_LIMIT = 100

# Far more frames than the longest answer has, and within every client's integers.
MAX_SEQ = 10**9

# A message of 128 KB (API Gateway's limit) in frames of 32 KB (a frame's limit): 4 are enough for
# plain English, but JSON may escape a byte as six (\u0041), and each frame also carries its ids.
MAX_PARTS = 32


Id = Annotated[
    str,
    Meta(
        title="id",
        description=f"{ID_EXPECTED}.",
        pattern=_ID_PATTERN,
        extra={"expected": ID_EXPECTED},
    ),
]
Limit = Annotated[int, Meta(ge=1, le=MAX_HISTORY_LIMIT)]
PartNumber = Annotated[int, Meta(ge=1, le=MAX_PARTS)]
Seq = Annotated[int, Meta(ge=0, le=MAX_SEQ)]
Body = Annotated[str, Meta(pattern=r"\S", extra={"expected": "text, and not only white space"})]

# `continue` is a chat's discriminator, as `action` is that of all requests.
IsContinuation = Annotated[bool, Meta(extra_json_schema={"const": True})]
NoContinuation = Annotated[
    bool, Meta(description="The same as leaving it out.", extra_json_schema={"const": False})
]


class _Request(Struct, frozen=True, kw_only=True, tag_field="action"):
    """The fields of every request; null is the same as leaving the field out."""

    request_id: Annotated[
        Id | None,
        Meta(
            description="The id that the response's frames carry; by default API Gateway's "
            "request id of this frame."
        ),
    ] = None
    session_id: Annotated[
        Id | None, Meta(description="A session other than the connection's own.")
    ] = None

    EXAMPLES: ClassVar[tuple[Mapping[str, Any], ...]] = ()
    EXCLUDES: ClassVar[tuple[str, ...]] = ()  # fields that would make it another request


class Chat(_Request, frozen=True, tag=DEFAULT_ACTION):
    """Sends a message to the model. Plain text is a chat that has only a `body`."""

    body: Annotated[Body, Meta(description="The message; not only white space.")]
    continue_: NoContinuation = field(default=False, name="continue")

    EXAMPLES = (
        {"body": "hello"},
        {"action": "chat", "body": "hello", "request_id": "question-1"},
    )
    EXCLUDES = ("part", "parts")


class Part(_Request, frozen=True, tag=DEFAULT_ACTION):
    """Sends one of several frames that make up one message, in any order and within five minutes.

    This is for browsers, which cannot fragment a message over 32 KB. `part` is at most `parts`.
    """

    body: Annotated[str, Meta(description="This part of the message.")]
    number: Annotated[PartNumber, Meta(description="The number of this part, from 1.")] = field(
        name="part"
    )
    count: Annotated[PartNumber, Meta(description="The number of parts.")] = field(name="parts")
    request_id: Annotated[
        Id, Meta(description="The same in every part; the response's frames carry it.")
    ]
    continue_: NoContinuation = field(default=False, name="continue")

    EXAMPLES = (
        {"body": "hel", "part": 1, "parts": 2, "request_id": "question-2"},
        {"body": "lo", "part": 2, "parts": 2, "request_id": "question-2"},
    )

    def __post_init__(self) -> None:
        if self.number > self.count:
            raise InvalidError(f"part must be a whole number from 1 to {self.count}")


class Continue(_Request, frozen=True, tag=DEFAULT_ACTION):
    """Requests the rest of the last answer, if that answer is incomplete."""

    continue_: Annotated[
        IsContinuation, Meta(description="Requests the rest of the last answer.")
    ] = field(name="continue")

    EXAMPLES = ({"continue": True, "request_id": "question-3"},)
    EXCLUDES = ("body",)


class Stop(_Request, frozen=True, tag="stop"):
    """Stops the running answer, which then ends with its own `done`.

    `stop` itself has no frame in response, except an error if there is nothing to stop.
    """

    request_id: Annotated[
        Id | None,
        Meta(
            description="The request to stop; by default the one that was running when this "
            "frame was sent."
        ),
    ] = None

    EXAMPLES = ({"action": "stop", "request_id": "question-1"},)


class Resume(_Request, frozen=True, tag="resume"):
    """Requests the frames of a request from `from_seq` on, on this connection.

    Frames that were sent before are sent again; those of a running answer follow as they come.
    """

    request_id: Annotated[Id, Meta(description="The request whose frames are requested.")]
    from_seq: Annotated[
        Seq,
        Meta(description="The first `seq` to send: one more than the last that was received."),
    ] = 0

    EXAMPLES = ({"action": "resume", "request_id": "question-1", "from_seq": 2},)


class History(_Request, frozen=True, tag="history"):
    """Requests the newest turns of the session."""

    limit: Annotated[Limit, Meta(description="The largest number of turns to return.")] = (
        DEFAULT_HISTORY_LIMIT
    )

    EXAMPLES = ({"action": "history", "limit": 20},)


class Clear(_Request, frozen=True, tag="clear"):
    """Deletes the turns of the session."""

    EXAMPLES = ({"action": "clear"},)


class Ping(_Request, frozen=True, tag="ping"):
    """Requests a `pong`. API Gateway responds itself; no function runs."""

    request_id: Annotated[Id | None, Meta(description="Not used: a `pong` has no ids.")] = None
    session_id: Annotated[Id | None, Meta(description="Not used: a `pong` has no ids.")] = None

    EXAMPLES = ({"action": "ping"},)


Request = Chat | Part | Continue | Stop | Resume | History | Clear | Ping

# By action. Three requests have the action `chat`; `_request_type` chooses among those.
_REQUEST_TYPES: Mapping[str, type[Request]] = {
    str(each.__struct_config__.tag): each for each in (Stop, Resume, History, Clear, Ping)
}
_ACTIONS = (DEFAULT_ACTION, *_REQUEST_TYPES)

# Their `request_id` is that of another request, whose frames are not their own.
_ABOUT_ANOTHER_REQUEST = ("stop", "resume")


def parse(raw: str | None) -> Request:
    """Returns the request in one frame. `raw` is None if the frame is not UTF-8 text.

    Raises:
        ChatError: `invalid_request`, with a message that states the reason.
    """
    try:
        return _request(raw)
    except InvalidError as error:
        raise ChatError("invalid_request", f"{error}.") from None


def request_id_in(raw: str | None) -> str | None:
    """Returns the `request_id` that responses to this frame carry, if it has a valid one.

    Never raises: the frame may be invalid in every other respect.
    """
    try:
        fields = _json_object(raw or "") or {}
    except InvalidError:  # `parse` reports the reason
        return None
    request_id = fields.get("request_id")
    if fields.get("action") in _ABOUT_ANOTHER_REQUEST or not valid_id(request_id):
        return None
    return str(request_id)


def valid_id(value: object) -> bool:
    """Returns whether `value` can be a request id or a session id."""
    return isinstance(value, str) and _ID.match(value) is not None


def _request(raw: str | None) -> Request:
    if raw is None:
        raise InvalidError("The message must be UTF-8 text")
    if not raw.strip():
        raise InvalidError("The message is empty")
    fields = _json_object(raw)
    if fields is None:
        _require_unicode("The message", raw)
        return Chat(body=raw)
    kind = _request_type(fields)
    try:
        return msgspec.convert(_normalized(fields, kind), kind)
    except ValidationError as error:
        raise InvalidError(explain(error, kind)) from None


def _json_object(raw: str) -> dict[str, Any] | None:
    """Returns the JSON object in `raw`, or None for plain text.

    Python's own parser is used because it accepts half of a surrogate pair, which JavaScript sends
    if a program cuts a text in the wrong place: msgspec's parser reports that as truncated input,
    and neither the field nor the `request_id` could be named in the error.
    """
    start = raw.lstrip()[:1]
    if start not in ("{", "["):
        return None
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):  # thousands of nested brackets exceed the parser's depth
        if start == "[":
            return None  # "[draft] please read this"
        raise InvalidError(
            'A message that begins with { must be a JSON object; send other text as {"body": "..."}'
        ) from None
    if not isinstance(value, dict):
        raise InvalidError('A message must not be a JSON array; send text as {"body": "..."}')
    return value


def _request_type(fields: Mapping[str, Any]) -> type[Request]:
    action = fields.get("action", DEFAULT_ACTION)
    if not isinstance(action, str) or action not in _ACTIONS:
        raise InvalidError(f"action must be one of {', '.join(_ACTIONS)}")
    if action != DEFAULT_ACTION:
        return _REQUEST_TYPES[action]
    if fields.get("continue") is True:
        if "body" in fields:
            raise InvalidError("continue takes no body")
        return Continue
    return Part if "part" in fields or "parts" in fields else Chat


def _normalized(fields: Mapping[str, Any], kind: type[Request]) -> dict[str, Any]:
    """Returns the fields of `kind` as `msgspec.convert` takes them: in JSON, 2.0 is the integer 2.

    `convert` encodes every name and text, and would raise UnicodeEncodeError: other fields are left
    out here, and a text that is not Unicode is refused.
    """
    known = {
        name: value
        for name, value in fields.items()
        if name in kind.__struct_encode_fields__
        and not (value is None and name in ("request_id", "session_id"))
    }
    for name, value in known.items():
        if isinstance(value, str):
            _require_unicode(name, value)
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in known.items()
    }


def _require_unicode(name: str, text: str) -> None:
    """Raises `InvalidError` for text that JSON can write and UTF-8 cannot: a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidError(
            f"{name} contains half of a surrogate pair, which is not a character"
        ) from None

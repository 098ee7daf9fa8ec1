"""What clients send, and what they are told, as data. Pure.

Rules
- A client's frame is either understood whole or refused with one `ChatError`; nothing is guessed.
- A frame that begins with `{` is meant as JSON. A JSON array is refused. All else is chat.

Knows what can be said on the wire; not how it is written there (`formats`), who is connected, or
how a frame travels.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from model_families import ReasoningDelta, TextDelta, Usage
from records import dataclass

# Ids travel in URLs, logs and keys: letters, digits and a few marks, of a length anyone can read.
# API Gateway's own request ids, which stand in for missing ones, contain "=" and "-".
_ID = re.compile(r"[A-Za-z0-9_.:=@+-]{1,128}")

DEFAULT_HISTORY_LIMIT = 20
MAX_HISTORY_LIMIT = 100

# Far more frames than the longest answer has; a number that JSON and everybody's integers can hold.
MAX_SEQ = 10**9

# A message of 128 KB (API Gateway's most) in JSON frames of 32 KB (a frame's most): 4 would do for
# plain English, but JSON may write a byte as six (\u0041), and a frame has room for its ids too.
MAX_PARTS = 32

# What a client may be told, and whether the same request can succeed when it is sent again.
CODES: Mapping[str, bool] = {
    "invalid_request": False,  # the frame is not one that this protocol has
    "too_large": False,  # the message is longer than this deployment takes
    "unauthorized": False,  # the connection is unknown, or the session belongs to someone else
    "busy": True,  # the session is answering another request
    "duplicate": False,  # this request_id was taken before; it is never answered twice
    "throttled": True,  # Bedrock or DynamoDB asks to be called less often
    "model_unavailable": True,  # the model cannot be reached, or may not be used
    "model_error": True,  # the model failed, or its stream broke
    "context_too_long": False,  # the conversation and the question do not fit the model
    "deadline": True,  # the time for one answer was over before a word
    "over_budget": False,  # the day's allowance is used up
    "internal": True,  # a fault on this side
}


class ChatError(Exception):
    """Something that a client is told.

    `code` is one of `CODES`; `message` is a sentence for a person, free of anything secret;
    `retryable` says whether sending the same again can help (the code's own answer unless given).
    `cause` is for the log alone: what was behind it, in a few words. `retry_at`, in seconds of Unix
    time, is when it will not be refused again, where that is known.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool | None = None,
        cause: str = "",
        retry_at: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = CODES[code] if retryable is None else retryable
        self.cause = cause
        self.retry_at = retry_at


# -- what clients send -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    request_id: str | None = None
    session_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat(_Request):
    """Asks the model. `body` has something in it besides white space."""

    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(_Request):
    """One of several frames that make a question together: its `number`, from 1, of `count`."""

    body: str
    number: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Continue(_Request):
    """Asks the model to go on where its last answer ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop(_Request):
    """Asks to end the running answer; of `request_id`, where that is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume(_Request):
    """Asks for the frames of `request_id` from `from_seq` on, here."""

    from_seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class History(_Request):
    """Asks for the newest `limit` turns."""

    limit: int = DEFAULT_HISTORY_LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear(_Request):
    """Asks to forget the session's turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(_Request):
    """Asks for a sign of life. API Gateway answers `ping` by itself; this is what reaches us."""


_OF_ANOTHER = ("stop", "resume")

Request = Chat | Part | Continue | Stop | Resume | History | Clear | Ping


def parse(raw: str | None) -> Request:
    """One frame, as received, as a request; None stands for one that was no text.

    Raises:
        ChatError: `invalid_request`, in words that say what is wrong.
    """
    if raw is None:
        raise _invalid("the message is not text in UTF-8")
    if not raw.strip():
        raise _invalid("the message is empty")
    fields = _json_object(raw)
    if fields is None:
        return Chat(body=_text(raw, "the message"))
    action = fields.get("action", "chat")
    if not isinstance(action, str) or action not in _ACTIONS:
        raise _invalid(f"action must be one of {', '.join(_ACTIONS)}")
    return _ACTIONS[action](
        fields,
        request_id=_id(fields, "request_id"),
        session_id=_id(fields, "session_id"),
    )


def request_id_in(raw: str | None) -> str | None:
    """The `request_id` that answers to this frame bear, if it has a usable one.

    A `stop` and a `resume` name another request, whose frames are not their own.
    """
    try:
        fields = _json_object(raw or "") or {}
        return None if fields.get("action") in _OF_ANOTHER else _id(fields, "request_id")
    except ChatError:  # `parse` will say what is wrong
        return None


def valid_id(value: object) -> bool:
    """Whether this may be a request id or a session id."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _json_object(raw: str) -> dict[str, Any] | None:
    """The JSON object that `raw` is, or None where it is plain text."""
    start = raw.lstrip()[:1]
    if start not in ("{", "["):
        return None
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):  # a few thousand brackets are too deep for the parser
        if start == "[":
            return None  # "[draft] please read this"
        raise _invalid(
            'a message that begins with { must be a JSON object; send other text as {"body": "..."}'
        ) from None
    if not isinstance(value, dict):
        raise _invalid('a JSON array means nothing here; send text as {"body": "..."}')
    return value


def _chat(fields: Mapping[str, Any], **ids: str | None) -> Chat | Part | Continue:
    goes_on = fields.get("continue", False)
    if not isinstance(goes_on, bool):
        raise _invalid("continue must be true or false")
    if goes_on:
        if "body" in fields:
            raise _invalid("continue takes no body")
        return Continue(**ids)
    if "body" not in fields:
        raise _invalid("body is missing")
    if "part" in fields or "parts" in fields:
        return _part(fields, **ids)
    return Chat(body=_text(fields["body"], "body"), **ids)


def _part(fields: Mapping[str, Any], **ids: str | None) -> Part:
    if ids["request_id"] is None:
        raise _invalid("a message in parts needs a request_id, the same in each")
    count = _whole(fields, "parts", 1, MAX_PARTS)
    number = _whole(fields, "part", 1, count)
    body = fields["body"]
    if not isinstance(body, str) or not is_unicode(body):  # a part may be white space alone
        raise _invalid("body must be text")
    return Part(body=body, number=number, count=count, **ids)


def _resume(fields: Mapping[str, Any], **ids: str | None) -> Resume:
    if ids["request_id"] is None:
        raise _invalid("request_id is missing")
    return Resume(from_seq=_whole(fields, "from_seq", 0, MAX_SEQ, 0), **ids)


def _history(fields: Mapping[str, Any], **ids: str | None) -> History:
    return History(
        limit=_whole(fields, "limit", 1, MAX_HISTORY_LIMIT, DEFAULT_HISTORY_LIMIT), **ids
    )


def _whole(
    fields: Mapping[str, Any], name: str, least: int, most: int, default: int | None = None
) -> int:
    value = fields.get(name, default)
    # In Python True is 1; in JSON it is not, but 2.0 is 2.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _invalid(f"{name} must be a whole number from {least} to {most}")
    return value


_ACTIONS: Mapping[str, Callable[..., Request]] = {
    "chat": _chat,
    "stop": lambda _, **ids: Stop(**ids),
    "resume": _resume,
    "history": _history,
    "clear": lambda _, **ids: Clear(**ids),
    "ping": lambda _, **ids: Ping(**ids),
}


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _invalid(f"{name} must be text")
    if not value.strip():
        raise _invalid(f"{name} is empty")
    if not is_unicode(value):
        raise _invalid(f"{name} holds half of a surrogate pair, which is no character")
    return value


def _id(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not valid_id(value):
        raise _invalid(f"{name} must be 1 to 128 letters, digits or . _ : = @ + -")
    return value


def is_unicode(text: str) -> bool:
    """Whether `text` can be written as UTF-8: JSON can spell lone surrogates, UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _invalid(message: str) -> ChatError:
    return ChatError("invalid_request", message)


# -- what clients receive --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """The request was taken and goes to the model."""

    session_id: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PastTurn:
    """One turn of the session, as `history` tells it. `created_at` is in seconds of Unix time."""

    turn: int
    request_id: str
    created_at: int
    state: str
    user: str
    assistant: str


@dataclass(frozen=True, slots=True)
class Done:
    """The request's good end. What is None is left out of the frame.

    `running`, after a history, is the request that is being answered: it can be resumed.
    """

    stop_reason: str | None = None
    usage: Usage | None = None
    latency_ms: Mapping[str, int] | None = None
    model: str | None = None
    cleared: int | None = None
    running: str | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The request's bad end."""

    error: ChatError


Item = Start | TextDelta | ReasoningDelta | tuple[PastTurn, ...] | Done | Failed

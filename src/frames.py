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
from dataclasses import dataclass
from typing import Any

from model_families import ReasoningDelta, TextDelta, Usage

# Ids travel in URLs, logs and keys: letters, digits and a few marks, of a length anyone can read.
# API Gateway's own request ids, which stand in for missing ones, contain "=" and "-".
_ID = re.compile(r"[A-Za-z0-9_.:=@+-]{1,128}")

DEFAULT_HISTORY_LIMIT = 20
MAX_HISTORY_LIMIT = 100

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
    "over_budget": False,  # the allowance is used up
    "internal": True,  # a fault on this side
}


class ChatError(Exception):
    """Something that a client is told.

    `code` is one of `CODES`; `message` is a sentence for a person, free of anything secret;
    `retryable` says whether sending the same again can help (the code's own answer unless given).
    `cause` is for the log alone: what was behind it, in a few words.
    """

    def __init__(
        self, code: str, message: str, *, retryable: bool | None = None, cause: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = CODES[code] if retryable is None else retryable
        self.cause = cause


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
class History(_Request):
    """Asks for the newest `limit` turns."""

    limit: int = DEFAULT_HISTORY_LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Clear(_Request):
    """Asks to forget the session's turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(_Request):
    """Asks for a sign of life. API Gateway answers `ping` by itself; this is what reaches us."""


Request = Chat | History | Clear | Ping


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
    """The `request_id` of a frame that `parse` may have refused, if it has a usable one."""
    try:
        return _id(_json_object(raw or "") or {}, "request_id")
    except ChatError:
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


def _chat(fields: Mapping[str, Any], **ids: str | None) -> Chat:
    if "body" not in fields:
        raise _invalid("body is missing")
    return Chat(body=_text(fields["body"], "body"), **ids)


def _history(fields: Mapping[str, Any], **ids: str | None) -> History:
    limit = fields.get("limit", DEFAULT_HISTORY_LIMIT)
    # In Python True is 1; in JSON it is not, but 2.0 is 2.
    if isinstance(limit, bool) or limit not in range(1, MAX_HISTORY_LIMIT + 1):
        raise _invalid(f"limit must be a whole number from 1 to {MAX_HISTORY_LIMIT}")
    return History(limit=int(limit), **ids)


_ACTIONS: Mapping[str, Callable[..., Request]] = {
    "chat": _chat,
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
    """The request's good end. What is None is left out of the frame."""

    stop_reason: str | None = None
    usage: Usage | None = None
    latency_ms: Mapping[str, int] | None = None
    model: str | None = None
    cleared: int | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The request's bad end."""

    error: ChatError


Item = Start | TextDelta | ReasoningDelta | tuple[PastTurn, ...] | Done | Failed

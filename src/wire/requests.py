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

from msgspec import Struct

from errors import ChatError

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

# -- what clients send -----------------------------------------------------------------------------


class _Request(Struct, frozen=True, kw_only=True):
    request_id: str | None = None
    session_id: str | None = None


class Chat(_Request, frozen=True, kw_only=True):
    """Asks the model. `body` has something in it besides white space."""

    body: str


class Part(_Request, frozen=True, kw_only=True):
    """One of several frames that make a question together: its `number`, from 1, of `count`."""

    body: str
    number: int
    count: int


class Continue(_Request, frozen=True, kw_only=True):
    """Asks the model to go on where its last answer ended."""


class Stop(_Request, frozen=True, kw_only=True):
    """Asks to end the running answer; of `request_id`, where that is given."""


class Resume(_Request, frozen=True, kw_only=True):
    """Asks for the frames of `request_id` from `from_seq` on, here."""

    from_seq: int = 0


class History(_Request, frozen=True, kw_only=True):
    """Asks for the newest `limit` turns."""

    limit: int = DEFAULT_HISTORY_LIMIT


class Clear(_Request, frozen=True, kw_only=True):
    """Asks to forget the session's turns."""


class Ping(_Request, frozen=True, kw_only=True):
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
    is_continuation = fields.get("continue", False)
    if not isinstance(is_continuation, bool):
        raise _invalid("continue must be true or false")
    if is_continuation:
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

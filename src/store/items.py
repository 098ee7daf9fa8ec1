"""The stored items that are read, a `Struct` for each kind, and their conversion. Pure.

Rules
- A field is an attribute of the same name. `pk`, `sk` and `expires_at` are the table's own: the
  package's docstring has the layout.
- Every field that the key does not determine has a default, used where the attribute is missing.
  Unknown attributes are ignored, and unknown values are read as they are: `format`, `state`,
  `stop_reason` and an error's `code` are strings of any value, as a later version may have more.
- Attributes used in DynamoDB expressions are none of its reserved words (DynamoDB Developer Guide,
  "Reserved words in DynamoDB"). `Connection` and `memory.Turn`, which have `format`, `number`,
  `state` and `user`, are written whole.

Units of Unix time: `*_at` is in seconds, `*_at_ms` in milliseconds.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

Kind = TypeVar("Kind", bound=Struct)


class Connection(Struct, frozen=True, kw_only=True):
    """A connection's properties, set at `$connect` and never changed.

    `quota_subject` is the subject whose daily quota its requests use.
    """

    connection_id: str
    session_id: str = ""
    principal: str = ""
    quota_subject: str = ""
    format: str = "events"


class SessionHead(Struct, frozen=True, kw_only=True):
    """A session's owner, its lease and the signals to the running answer.

    While a request runs: `active_request_id`, `requested_at_ms` (when API Gateway received it),
    `lease_token`, `lease_expires_at_ms` and, if a stop was requested, `stop_requested`: the id of
    the request to stop. The newest listener, if any: `listener` (the event id of its `resume`),
    `listener_requested_at_ms`, `listener_connection_id`, `listener_format`, `listener_from_seq`.
    `listener_acked` is the event id of the last listener that the running answer switched to.
    """

    principal: str = ""
    active_request_id: str = ""
    requested_at_ms: int = 0
    lease_token: str = ""
    lease_expires_at_ms: int = 0
    stop_requested: str = ""
    listener: str = ""
    listener_requested_at_ms: int = 0
    listener_connection_id: str = ""
    listener_format: str = "events"
    listener_from_seq: int = 0
    listener_acked: str = ""


class StoredTranscript(Struct, frozen=True, kw_only=True):
    """The frames of a request, without their text (`transcript`).

    `model` is that of `start`, empty where none was sent; `delta_lengths` are the characters of
    each delta; `terminal_event` is JSON, empty while the request runs.
    """

    model: str = ""
    delta_lengths: str = ""
    terminal_event: str = ""


class Request(StoredTranscript, frozen=True, kw_only=True):
    """A request that was accepted or refused: no other may use its id.

    While it runs: `question`, and the partial answer as of the last renewal of the lease. Once it
    has ended: the complete transcript, `turn_number` (0 where there is no turn), and
    `listener_acked` as it was in the head.
    """

    event_id: str = ""
    created_at: int = 0
    question: str = ""
    partial_answer: str = ""
    partial_reasoning: str = ""
    turn_number: int = 0
    listener_acked: str = ""


class Upload(Struct, frozen=True, kw_only=True):
    """A message that arrives in several parts; each part is an `UploadPart`.

    `refused_event_id` is the event whose part caused the refusal of the upload, if any did.
    """

    part_count: int = 0
    received_bytes: int = 0
    refused_event_id: str = ""


class UploadPart(Struct, frozen=True, kw_only=True):
    """One part, in attributes `part_<number>_<field>`; `body` is None until it has arrived.

    `event_id` is the event that brought it, `write_id` the write that stored it.
    """

    body: str | None = None
    event_id: str = ""
    write_id: str = ""


# -- conversion ------------------------------------------------------------------------------------


def load(kind: type[Kind], attributes: Mapping[str, Any]) -> Kind:
    """Returns the item that `attributes` hold; unknown ones are ignored.

    Raises:
        msgspec.ValidationError: an attribute has the wrong type, or one of the key is missing.
    """
    return msgspec.convert(attributes, kind)


def dump(item: Struct) -> dict[str, Any]:
    """Returns the item's attributes, without `pk`, `sk` and `expires_at`."""
    return msgspec.structs.asdict(item)


def load_part(attributes: Mapping[str, Any], number: int) -> UploadPart:
    """Returns one part of an upload."""
    prefix = f"part_{number}_"
    part = {
        name: attributes[prefix + name]
        for name in UploadPart.__struct_fields__
        if prefix + name in attributes
    }
    return load(UploadPart, part)


def is_expired(attributes: Mapping[str, Any], now: int) -> bool:
    """Whether the item's time to live is over at `now`; one without `expires_at` never expires."""
    return "expires_at" in attributes and bool(attributes["expires_at"] <= now)

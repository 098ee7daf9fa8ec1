"""What a client receives, as data. Pure.

Rules
- The items of one request are `Start`, then deltas, then one terminal item: `Done` or `Failed`.
- An item's place among its request's is its frame's `seq`.

Does not know how an item is written (`formats`), or how a frame travels.
"""

from collections.abc import Mapping

from msgspec import Struct

from errors import ChatError
from families.types import ReasoningDelta, TextDelta, Usage


class Start(Struct, frozen=True):
    """The request was taken and goes to the model."""

    session_id: str
    model: str


class PastTurn(Struct, frozen=True, kw_only=True):
    """One turn of the session, as `history` tells it. `created_at` is in seconds of Unix time."""

    turn: int
    request_id: str
    created_at: int
    state: str
    user: str
    assistant: str


class Done(Struct, frozen=True):
    """The request's good end. What is None is left out of the frame.

    `running`, after a history, is the request that is being answered: it can be resumed.
    """

    stop_reason: str | None = None
    usage: Usage | None = None
    latency_ms: Mapping[str, int] | None = None
    model: str | None = None
    cleared: int | None = None
    running: str | None = None


class Failed(Struct, frozen=True):
    """The request's bad end."""

    error: ChatError


Item = Start | TextDelta | ReasoningDelta | tuple[PastTurn, ...] | Done | Failed

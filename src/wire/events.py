"""What clients receive: the items of a request, and the frames in which they are written. Pure.

Rules
- The items of one request are `Start`, then deltas, then one terminal item: `Done` or `Failed`.
- An item's position among its request's items is its frame's `seq`.
- An item is what happened; a frame is one JSON object of `?format=events`, with its ids. A field
  that is None is left out of a frame.
- The published schema (docs/protocol.schema.json) is generated from the types, docstrings and
  `EXAMPLES` of the frames.

Does not know how items are combined into frames (`formats`), or how a frame travels.
"""

# Annotations stay text: the types are not needed until the first resume, where `store.transcript`
# converts to `Done`. A cold start does not pay for evaluating them (0.1 ms of 0.3).
from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct

from errors import CODES, ChatError
from families.types import Count, ReasoningDelta, TextDelta, Usage
from wire.requests import Id

STOP_REASONS: Mapping[str, str] = {
    "end_turn": "The model finished the answer.",
    "max_tokens": "The answer reached `MAX_OUTPUT_TOKENS`; `continue` requests the rest.",
    "stop_sequence": "The model produced one of `STOP_SEQUENCES`.",
    "content_filtered": "The model or Bedrock withheld the rest.",
    "guardrail": "The deployment's guardrail intervened.",
    "other": "The model stopped for a reason that has no name here.",
    "stopped": "A client sent `stop`; the text so far is saved.",
    "deadline": "The time for one answer ran out; the text so far is saved. `continue` requests "
    "the rest.",
    "disconnected": "No client was connected, and the deployment cancels such answers; `resume` "
    "receives this.",
}

STATES: Mapping[str, str] = {
    "complete": "The model ended the answer.",
    "stopped": "A client sent `stop`.",
    "deadline": "The time for one answer ran out.",
    "error": "The model failed, or its stream broke.",
    "disconnected": "No client was connected, and the deployment cancels such answers.",
    "unfinished": "The function crashed; the text is what it had saved until then.",
}


def _one_of(meanings: Mapping[str, str]) -> Meta:
    values = [{"const": value, "description": meaning} for value, meaning in meanings.items()]
    return Meta(extra_json_schema={"oneOf": values})


StopReason = Annotated[str, _one_of(STOP_REASONS)]
State = Annotated[str, _one_of(STATES)]
Code = Annotated[str, _one_of({code: each.meaning for code, each in CODES.items()})]

Text = Annotated[str, Meta(min_length=1)]
UnixTime = Annotated[int, Meta(description="Unix time in seconds.")]


# -- items -----------------------------------------------------------------------------------------


class Start(Struct, frozen=True):
    """The request was accepted and goes to the model."""

    session_id: str
    model: str


class PastTurn(Struct, frozen=True, kw_only=True):
    """One turn of the session, or a piece of one."""

    turn: Annotated[int, Meta(ge=1, description="The turn's number, from 1.")]
    request_id: Annotated[Id, Meta(description="The request that the turn answered.")]
    created_at: UnixTime
    state: Annotated[State, Meta(description="How the answer ended.")]
    user: Annotated[str, Meta(description="The message.")]
    assistant: Annotated[str, Meta(description="The answer, as far as it was received.")]


class HistoryPage(Struct, frozen=True):
    """Turns of the session, oldest first."""

    turns: tuple[PastTurn, ...]


class Latency(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Milliseconds since the function received the event."""

    first_token: Annotated[Count | None, Meta(description="Until the first text.")] = None
    total: Annotated[Count, Meta(description="Until this frame.")]


class Done(Struct, frozen=True, omit_defaults=True):
    """The request succeeded. After `history`, `running` is the session's running request."""

    stop_reason: str | None = None
    usage: Usage | None = None
    latency_ms: Latency | None = None
    model: str | None = None
    cleared: int | None = None
    running: str | None = None


class Failed(Struct, frozen=True):
    """The request failed."""

    error: ChatError


ResponseEvent = Start | TextDelta | ReasoningDelta | HistoryPage | Done | Failed


# -- frames ----------------------------------------------------------------------------------------


class _Frame(Struct, frozen=True, tag_field="type"):
    """The fields of every frame that responds to a request."""

    request_id: Annotated[Id, Meta(description="The request to which this frame responds.")]
    seq: Annotated[
        Count, Meta(description="The frame's position within the request, from 0, without a gap.")
    ]

    EXAMPLES: ClassVar[tuple[Mapping[str, Any], ...]] = ()


class StartFrame(_Frame, frozen=True, tag="start"):
    """The request was accepted and goes to the model."""

    session_id: Annotated[Id, Meta(description="The session; `?session_id=` joins it again.")]
    model: Annotated[
        Text, Meta(description="The id of the model; for an ARN, the part after the last `/`.")
    ]

    EXAMPLES = (
        {
            "type": "start",
            "request_id": "question-1",
            "seq": 0,
            "session_id": "ESFot3a-MUXGPhNjqIT-jF4Fa5qGgygP",
            "model": "global.anthropic.claude-sonnet-4-6",
        },
    )


class DeltaFrame(_Frame, frozen=True, tag="delta"):
    """New text of the answer: only what no earlier frame contains."""

    text: Annotated[Text, Meta(description="The new text.")]

    EXAMPLES = ({"type": "delta", "request_id": "question-1", "seq": 1, "text": "You said: hello"},)


class ReasoningFrame(_Frame, frozen=True, tag="reasoning"):
    """New text of the model's reasoning, if the deployment shows it."""

    text: Annotated[Text, Meta(description="The new text.")]

    EXAMPLES = ({"type": "reasoning", "request_id": "question-1", "seq": 1, "text": "hm "},)


class HistoryFrame(_Frame, frozen=True, tag="history"):
    """Turns of the session, oldest first.

    A turn that is too long for one frame continues in the next entry with the same number: join the
    texts.
    """

    turns: Annotated[tuple[PastTurn, ...], Meta(description="The turns, oldest first.")]

    EXAMPLES = (
        {
            "type": "history",
            "request_id": "eDpRhGn8q2bgNo0=",
            "seq": 0,
            "turns": [
                {
                    "turn": 1,
                    "request_id": "question-1",
                    "created_at": 1_795_348_800,
                    "state": "complete",
                    "user": "hello",
                    "assistant": "You said: hello",
                }
            ],
        },
    )


class DoneFrame(_Frame, frozen=True, tag="done", omit_defaults=True):
    """The request succeeded. This is its last frame.

    After `chat` it has `stop_reason`, `usage`, `latency_ms` and `model`; after `clear`, `cleared`;
    after `history`, `running` if a request of the session is being answered.
    """

    stop_reason: Annotated[StopReason | None, Meta(description="Why the answer ended.")] = None
    usage: Annotated[
        Usage | None, Meta(description="Tokens of this turn, as Bedrock reported them.")
    ] = None
    latency_ms: Annotated[
        Latency | None,
        Meta(
            description="Milliseconds since the function received the event, without the time that "
            "it waited before."
        ),
    ] = None
    model: Annotated[str | None, Meta(description="The model that answered.")] = None
    cleared: Annotated[Count | None, Meta(description="The number of deleted turns.")] = None
    running: Annotated[
        Id | None, Meta(description="The request that is being answered now; `resume` joins it.")
    ] = None

    EXAMPLES = (
        {
            "type": "done",
            "request_id": "question-1",
            "seq": 2,
            "stop_reason": "end_turn",
            "usage": {
                "input_tokens": 39,
                "output_tokens": 2,
                "cache_read_tokens": 0,
                "cache_write_tokens": 0,
            },
            "latency_ms": {"first_token": 14, "total": 16},
            "model": "global.anthropic.claude-sonnet-4-6",
        },
        {"type": "done", "request_id": "eDpRhGn8q2bgNo0=", "seq": 1},
        {"type": "done", "request_id": "eDpRhGn8q2bgNo0=", "seq": 1, "running": "question-1"},
        {"type": "done", "request_id": "kUejv38IqCCaLrE=", "seq": 0, "cleared": 1},
    )


class ErrorFrame(_Frame, frozen=True, tag="error", omit_defaults=True):
    """The request failed. This is its last frame."""

    code: Annotated[Code, Meta(description="The kind of failure.")]
    message: Annotated[Text, Meta(description="A sentence for a person to read.")]
    retryable: Annotated[
        bool,
        Meta(description="Whether the same request can succeed under a new `request_id`."),
    ]
    retry_at: Annotated[
        UnixTime | None,
        Meta(
            description="The Unix time in seconds from which the request is accepted again, if "
            "that is known."
        ),
    ] = None

    EXAMPLES = (
        {
            "type": "error",
            "request_id": "question-1",
            "seq": 0,
            "code": "duplicate",
            "message": "This request_id was used before; resume returns its frames.",
            "retryable": False,
        },
        {
            "type": "error",
            "request_id": "question-4",
            "seq": 0,
            "code": "over_budget",
            "message": "The daily quota is used up or reserved by running requests; it resets "
            "at 00:00 UTC.",
            "retryable": False,
            "retry_at": 1_795_392_000,
        },
    )


class PongFrame(Struct, frozen=True, tag_field="type", tag="pong"):
    """API Gateway's response to `ping`; no function runs."""

    EXAMPLES: ClassVar = ({"type": "pong"},)


class GatewayErrorFrame(Struct, frozen=True, rename="camel"):
    """An error of API Gateway itself, in the shape that it has on AWS."""

    message: Annotated[
        Literal["Internal server error", "Forbidden", "Endpoint request timed out"],
        Meta(
            description="`Endpoint request timed out`: the integration took more than 29 s. "
            "`Forbidden`: no route matched. `Internal server error`: the integration failed."
        ),
    ]
    connection_id: Annotated[str, Meta(description="This connection.")]
    request_id: Annotated[str, Meta(description="API Gateway's id of the client's frame.")]

    EXAMPLES: ClassVar = (
        {
            "message": "Internal server error",
            "connectionId": "L0SM9cOFvHcCIhw=",
            "requestId": "KAy8rGm4joEFsg=",
        },
    )


EventFrame = StartFrame | DeltaFrame | ReasoningFrame | HistoryFrame | DoneFrame | ErrorFrame
ServerFrame = EventFrame | PongFrame | GatewayErrorFrame


class SeedFrame(Struct, frozen=True):
    """Every frame of `format=seed`, for any request.

    `__ping__` is answered with `__pong__` as a JSON string.
    """

    request_id: Annotated[Id, Meta(description="The request to which this frame responds.")]
    msg: Annotated[
        str,
        Meta(description="All the text so far, or the error's message if `status` is `error`."),
    ]
    status: Annotated[
        Literal["proceeding", "completed", "error"],
        Meta(description="`proceeding` until the last frame."),
    ]

    EXAMPLES: ClassVar = (
        {"request_id": "question-1", "msg": "You said: hello", "status": "proceeding"},
        {"request_id": "question-1", "msg": "You said: hello", "status": "completed"},
    )

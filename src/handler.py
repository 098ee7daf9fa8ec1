"""The story of one event, top down: route, claim, history, stream, relay, save.

Rules
- A request ends in exactly one terminal frame or, where nobody listens, in a saved turn.
- No exception leaves `lambda_handler`: Lambda would log its traceback, API Gateway would add an
  error frame of its own, and an asynchronous event would count as failed after it was answered.

Serves API Gateway's proxy events, and the same events invoked asynchronously, alike.
"""

import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bedrock_stream
import log
import services
from formats import DEFAULT_FORMAT, FORMATS, PONG, SEED_PING, SEED_PONG
from frames import (
    Chat,
    ChatError,
    Clear,
    Done,
    Failed,
    History,
    PastTurn,
    Ping,
    Start,
    parse,
    request_id_in,
    valid_id,
)
from incoming import Context, Incoming
from memory import (
    Claim,
    Connection,
    RedeliveredError,
    Turn,
    messages,
    tokens_of_turn,
    window,
)
from model_families import Prompt, ReasoningDelta, Stopped, TextDelta, Usage
from services import Services
from ws_sender import Sender

SESSION_ID_BYTES = 24  # 192 bits: nobody guesses it

# Of the seconds before Lambda's timeout, what is kept for the save and the terminal frame. Before
# that, what had arrived when the stream was ended may still be posted.
SAVING_SHARE = 0.6

Response = dict[str, Any]
OK: Response = {"statusCode": 200}

SERVICES = services.connect(os.environ)


def lambda_handler(event: Any, context: Context) -> Response:
    """Lambda's entry point. What it returns matters to API Gateway only for `$connect`."""
    return handle(SERVICES, event, context)


def handle(app: Services, event: Any, context: Context) -> Response:
    """Routes one event by its type; one that is none of API Gateway's is logged and refused."""
    try:
        incoming = Incoming.of(event, context)
        route = ROUTES[incoming.event_type]
    except (KeyError, TypeError, AttributeError) as error:
        log.write("ERROR", "event.not_understood", cause=type(error).__name__)
        return _status(400, "This is no event of a WebSocket API.")
    try:
        return route(app, incoming)
    except ChatError as error:
        log.write("ERROR", "event.failed", **incoming.ids, code=error.code, cause=error.cause)
    except Exception as error:  # noqa: BLE001 - see the rules
        log.write("ERROR", "event.failed", **incoming.ids, code="internal", cause=_where(error))
    return _status(500, "Something failed on this side.")


# -- $connect and $disconnect ----------------------------------------------------------------------


def connect(app: Services, incoming: Incoming) -> Response:
    """Settles what holds for the whole connection: session, format, and whose it is."""
    wire_format = incoming.query.get("format") or DEFAULT_FORMAT
    session_id = incoming.query.get("session_id") or secrets.token_urlsafe(SESSION_ID_BYTES)
    if wire_format not in FORMATS:
        return _status(400, f"format must be one of {', '.join(FORMATS)}")
    if not valid_id(session_id):
        return _status(400, "session_id must be 1 to 128 letters, digits or . _ : = @ + -")
    app.memory.connect(
        Connection(
            connection_id=incoming.connection_id,
            session_id=session_id,
            principal=incoming.principal,
            format=wire_format,
        )
    )
    return OK


def disconnect(app: Services, incoming: Incoming) -> Response:
    """Forgets the connection."""
    app.memory.disconnect(incoming.connection_id)
    return OK


# -- messages --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """One client's message on its way: where it came from, and where its frames go."""

    incoming: Incoming
    connection: Connection
    request_id: str
    reply: Sender


def message(app: Services, incoming: Incoming) -> Response:
    """Reads one frame and lets its action answer; whatever fails is told once, in one frame."""
    # API Gateway's id of the event stands in where the client gives none.
    request_id = request_id_in(incoming.body) or incoming.event_id
    reply = _reply(app, incoming, request_id, DEFAULT_FORMAT)  # until the connection's is known
    try:
        connection = app.memory.connection(incoming.connection_id)
        reply = _reply(app, incoming, request_id, connection.format)
        if incoming.body == SEED_PING and connection.format == "seed":
            reply.post(SEED_PONG)
            return OK
        request = parse(incoming.body)
        ACTIONS[type(request)](app, Asked(incoming, connection, request_id, reply), request)
    except RedeliveredError:
        log.write("INFO", "event.redelivered", **incoming.ids)
    except ChatError as error:
        _fail(incoming, reply, error)
    except Exception as error:  # noqa: BLE001 - see the rules
        failure = ChatError("internal", "Something failed on this side.", cause=_where(error))
        _fail(incoming, reply, failure)
    return OK


def chat(app: Services, asked: Asked, request: Chat) -> None:
    """One turn: claim, history, stream and relay, save, and the terminal frame."""
    settings = app.settings
    session_id = request.session_id or asked.connection.session_id
    if len(request.body.encode()) > settings.max_input_bytes:
        raise ChatError("too_large", f"A message may have {settings.max_input_bytes} bytes.")
    if _until(app, asked.incoming) <= time.monotonic():
        raise ChatError("deadline", "There is no time left to answer.")

    with app.memory.lease(_claim(asked, session_id)) as lease:
        recent = app.memory.recent(session_id, settings.history_turns)
        past = window(recent.newest_first, settings.history_tokens)
        prompt = Prompt(
            system=settings.system_prompt,
            messages=messages(past, request.body),
            max_tokens=settings.max_output_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            stop_sequences=settings.stop_sequences,
            cache=settings.prompt_cache,
        )
        answer = relay(app, asked, prompt, Start(session_id, settings.model_name))
        turn = Turn(
            number=recent.next_number,
            request_id=asked.request_id,
            user=request.body,
            assistant=answer.text,
            state=answer.state,
            tokens=tokens_of_turn(answer.usage, past, request.body, answer.text),
            created_at=int(time.time()),
        )
        app.memory.save(lease, turn)
    asked.reply.send([answer.end])
    _log_turn(asked, session_id, turn, answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a call to the model. `end` is the frame that says so.

    `latency_ms` has `total` and, where anything was said, `first_token`, since the event arrived.
    """

    text: str
    state: str
    usage: Usage
    end: Done | Failed
    latency_ms: Mapping[str, int]


def relay(app: Services, asked: Asked, prompt: Prompt, start: Start) -> Answer:
    """Streams the model's answer to the client while it arrives.

    While one post is under way the next deltas gather, and leave together. `start` is posted while
    Bedrock is already being called.
    """
    shown = (TextDelta, ReasoningDelta) if app.settings.show_reasoning else (TextDelta,)
    said: list[str] = []
    usage = Usage()
    latency: dict[str, int] = {}
    stop_reason, failure = "", None
    try:
        with bedrock_stream.answering(app.model, prompt, _until(app, asked.incoming)) as batches:
            asked.reply.send([start])
            for batch in batches:
                for event in batch:
                    match event:
                        case TextDelta():
                            said.append(event.text)
                            latency.setdefault("first_token", _ms_since(asked))
                        case Usage():
                            usage = usage.updated(event)
                        case Stopped():
                            stop_reason = event.reason
                asked.reply.send(event for event in batch if isinstance(event, shown))
                if asked.reply.gone and app.settings.on_disconnect == "cancel" and not stop_reason:
                    stop_reason = "disconnected"
                    break
    except ChatError as error:
        failure = error
    if asked.reply.late and not failure:
        stop_reason = "deadline"  # the answer may be whole, but it was not all told
    if stop_reason == "deadline" and not said:
        failure = ChatError("deadline", "The model did not answer in time.")
    latency["total"] = _ms_since(asked)
    return Answer(
        text="".join(said),
        state=STATES.get(stop_reason, "error" if failure else "complete"),
        usage=usage,
        end=Failed(failure) if failure else Done(stop_reason, usage, latency, start.model),
        latency_ms=latency,
    )


# How a turn is marked by what ended it; every other reason is the model's own.
STATES: Mapping[str, str] = {"deadline": "deadline", "disconnected": "disconnected"}


def history(app: Services, asked: Asked, request: History) -> None:
    """Tells the session's newest turns, oldest first."""
    session_id = request.session_id or asked.connection.session_id
    turns = app.memory.history(session_id, asked.connection.principal, request.limit)
    asked.reply.send([tuple(_told(turn) for turn in turns), Done()])


def clear(app: Services, asked: Asked, request: Clear) -> None:
    """Forgets the session's turns. The lease keeps a running answer from being saved behind it."""
    session_id = request.session_id or asked.connection.session_id
    with app.memory.lease(_claim(asked, session_id)) as lease:
        count = app.memory.forget(lease)
    asked.reply.send([Done(cleared=count)])


def ping(app: Services, asked: Asked, request: Ping) -> None:
    """Answers where the API has no `ping` route of its own."""
    del app, request
    asked.reply.post(PONG)


ROUTES: Mapping[str, Callable[[Services, Incoming], Response]] = {
    "CONNECT": connect,
    "MESSAGE": message,
    "DISCONNECT": disconnect,
}
ACTIONS: Mapping[type, Callable[[Services, Asked, Any], None]] = {
    Chat: chat,
    History: history,
    Clear: clear,
    Ping: ping,
}


# -- small things ----------------------------------------------------------------------------------


def _reply(app: Services, incoming: Incoming, request_id: str, wire_format: str) -> Sender:
    client = app.connections_at(app.settings.callback_url or incoming.endpoint)
    encoder = FORMATS[wire_format](request_id)
    posting_until = incoming.ends_at - SAVING_SHARE * app.settings.deadline_seconds
    return Sender(client, incoming.connection_id, encoder, posting_until)


def _claim(asked: Asked, session_id: str) -> Claim:
    return Claim(
        session_id=session_id,
        principal=asked.connection.principal,
        request_id=asked.request_id,
        event_id=asked.incoming.event_id,
        lease_ms=int(max(0, asked.incoming.ends_at - time.monotonic()) * 1000),
    )


def _until(app: Services, incoming: Incoming) -> float:
    """When a stream has to end, to be saved and told before Lambda stops the invocation."""
    return incoming.ends_at - app.settings.deadline_seconds


def _told(turn: Turn) -> PastTurn:
    return PastTurn(
        turn=turn.number,
        request_id=turn.request_id,
        created_at=turn.created_at,
        state=turn.state,
        user=turn.user,
        assistant=turn.assistant,
    )


def _fail(incoming: Incoming, reply: Sender, error: ChatError) -> None:
    if not reply.ended:
        reply.send([Failed(error)])
    level = "ERROR" if error.code == "internal" else "INFO"
    log.write(level, "request.failed", **incoming.ids, code=error.code, cause=error.cause)


def _log_turn(asked: Asked, session_id: str, turn: Turn, answer: Answer) -> None:
    failure = answer.end.error if isinstance(answer.end, Failed) else None
    log.write(
        "WARN" if failure else "INFO",
        "turn",
        **asked.incoming.ids,
        request_id=asked.request_id,
        session=log.digest(session_id),
        turn=turn.number,
        state=turn.state,
        code=failure and failure.code,
        cause=failure and failure.cause,
        stop_reason=answer.end.stop_reason if isinstance(answer.end, Done) else None,
        input_tokens=answer.usage.prompt_tokens,
        output_tokens=answer.usage.output_tokens,
        posts=asked.reply.posts,
        delivery=asked.reply.delivery,
        **{f"{name}_ms": value for name, value in answer.latency_ms.items()},
    )


def _status(status: int, message: str) -> Response:
    return {"statusCode": status, "body": message}


def _ms_since(asked: Asked) -> int:
    return round((time.monotonic() - asked.incoming.began_at) * 1000)


def _where(error: Exception) -> str:
    """The kind of exception and the line it came from: what a log may know of it."""
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    where = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" if frame else "?"
    return f"{type(error).__name__} at {where}"

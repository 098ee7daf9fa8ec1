"""Lambda's entry point: an event becomes a request, and a request finds its action.

Rules
- A request ends in exactly one terminal frame or, where no client listens, in a saved turn.
- An event that is delivered again changes nothing and sends nothing.
- No exception leaves `lambda_handler`: Lambda would log its traceback, API Gateway would add an
  error frame of its own, and an asynchronous event would count as failed after it was answered.

Handles API Gateway's proxy events, and the same events invoked asynchronously, alike.
"""

import gc_startup  # before all others

# isort: split

import os
import secrets
import time
from contextlib import suppress
from typing import Any, assert_never

import log
import metrics
import services
from errors import ChatError, to_chat_error
from memory import Turn
from services import Services
from store.connections import RedeliveredError
from store.items import Connection
from store.leases import LEASE_SECONDS, Listener
from turn import CONTINUE, Deadlines, RequestContext, run_turn
from wire.events import Done, Failed, HistoryPage, PastTurn
from wire.formats import DEFAULT_FORMAT, FORMATS, PONG, SEED_PING, SEED_PONG, encoder_for
from wire.requests import (
    Chat,
    Clear,
    Continue,
    History,
    Part,
    Ping,
    Request,
    Resume,
    Stop,
    parse,
    request_id_in,
    valid_id,
)
from wire.websocket_event import SUBPROTOCOL, Context, WebSocketEvent
from ws_sender import Sender

SESSION_ID_BYTES = 24  # 192 random bits: cannot be guessed

ANONYMOUS = "anonymous"  # the principal of every client where AUTH is none

Response = dict[str, Any]
OK: Response = {"statusCode": 200}

SERVICES = services.build_services(os.environ)
gc_startup.done()


def lambda_handler(event: Any, context: Context) -> Response:
    """Lambda's entry point. The response matters to API Gateway only for `$connect`."""
    return handle(SERVICES, event, context)


def handle(app: Services, raw: Any, context: Context) -> Response:
    """Handles one event by its type; anything that is not a WebSocket event is refused."""
    try:
        event = WebSocketEvent.of(raw, context)
    except (KeyError, TypeError, AttributeError) as error:
        log.write("ERROR", "event.not_understood", cause=type(error).__name__)
        return _status(400, "This is not an event of a WebSocket API.")
    log.about(**event.ids)
    try:
        match event.event_type:
            case "CONNECT":
                return connect(app, event)
            case "MESSAGE":
                return message(app, event)
            case "DISCONNECT":
                return disconnect(app, event)
            case _:
                assert_never(event.event_type)
    except Exception as error:  # noqa: BLE001 - see the rules
        metrics.record_failure("event.failed", app.settings.model_name, to_chat_error(error))
        return _status(500, "Internal error.")
    finally:
        log.about()  # nothing: this event is over


# -- $connect and $disconnect ----------------------------------------------------------------------


def connect(app: Services, event: WebSocketEvent) -> Response:
    """Stores what holds for the whole connection: its principal, session and format."""
    wire_format = event.query.get("format") or DEFAULT_FORMAT
    session_id = event.query.get("session_id") or secrets.token_urlsafe(SESSION_ID_BYTES)
    principal = _principal(app, event)
    origin = event.headers.get("origin")  # reliable in browsers only; other clients can set any
    if not principal:
        return _status(403, "Not authenticated.")
    if origin and app.settings.allowed_origins and origin not in app.settings.allowed_origins:
        return _status(403, "This origin is not allowed.")
    if wire_format not in FORMATS:
        return _status(400, f"format must be one of {', '.join(FORMATS)}")
    if not valid_id(session_id):
        return _status(400, "session_id must be 1 to 128 letters, digits or . _ : = @ + -")
    app.connections.put(
        Connection(
            connection_id=event.connection_id,
            session_id=session_id,
            principal=principal,
            # Anonymous clients share a principal, but not a quota: theirs is by address.
            # Stored as a digest, for addresses are personal data.
            quota_subject=(
                principal if principal != ANONYMOUS else f"ip#{log.digest(event.source_ip)}"
            ),
            format=wire_format,
        )
    )
    if SUBPROTOCOL in event.subprotocols:
        return {**OK, "headers": {"Sec-WebSocket-Protocol": SUBPROTOCOL}}
    return OK


def _principal(app: Services, event: WebSocketEvent) -> str:
    """The caller's identity, from the one source that this AUTH accepts; "" if there is none."""
    match app.settings.auth:
        case "iam":
            return event.user_arn
        case "jwt":
            return event.authorizer_principal
        case "none":
            return ANONYMOUS
        case _:
            assert_never(app.settings.auth)


def disconnect(app: Services, event: WebSocketEvent) -> Response:
    """Lets the connection's item expire soon, not now: its last messages may come after this."""
    app.connections.expire(event.connection_id)
    return OK


# -- messages --------------------------------------------------------------------------------------


def message(app: Services, event: WebSocketEvent) -> Response:
    """Parses one frame and runs its action; any failure is sent once, as one error frame."""
    # API Gateway's id of the event stands in where the client sends no request id.
    request_id = request_id_in(event.body) or event.event_id
    log.about(**event.ids, request_id=request_id)
    sender = _sender(app, event, request_id, DEFAULT_FORMAT)  # until the connection's is known
    try:
        connection = app.connections.get(event.connection_id)
        sender = _sender(app, event, request_id, connection.format)
        if event.body == SEED_PING and connection.format == "seed":
            sender.post(SEED_PONG)
            return OK
        request = parse(event.body)
        session_id = request.session_id or connection.session_id
        log.about(**event.ids, request_id=request_id, session=log.digest(session_id))
        deadlines = Deadlines.of(event, app.settings)
        context = RequestContext(event, connection, session_id, request_id, sender, deadlines)
        dispatch(app, context, request)
    except RedeliveredError:
        log.write("INFO", "event.redelivered")
    except Exception as error:  # noqa: BLE001 - see the rules
        _send_failure(app, event, sender, to_chat_error(error))
    _report_refused(app, sender)
    return OK


def dispatch(app: Services, context: RequestContext, request: Request) -> None:
    """Runs the request's action. mypy refuses a missing or an exchanged one."""
    match request:
        case Chat():
            chat(app, context, request)
        case Part():
            part(app, context, request)
        case Continue():
            continue_answer(app, context, request)
        case Stop():
            stop(app, context, request)
        case Resume():
            resume(app, context, request)
        case History():
            history(app, context, request)
        case Clear():
            clear(app, context, request)
        case Ping():
            ping(app, context, request)
        case _:
            assert_never(request)


def chat(app: Services, context: RequestContext, request: Chat) -> None:
    """Sends the question to the model."""
    run_turn(app, context, request.body)


def part(app: Services, context: RequestContext, request: Part) -> None:
    """Stores one part of a question; the part that completes it starts the turn."""
    principal = context.connection.principal
    question = app.uploads.add(context.session_id, principal, context.event.event_id, request)
    if question is not None and not question.strip():
        raise ChatError("invalid_request", "The parts together contain only white space.")
    if question is not None:
        run_turn(app, context, question)


def continue_answer(app: Services, context: RequestContext, _request: Continue) -> None:
    """Asks the model for the rest of its last answer."""
    run_turn(app, context, CONTINUE, is_continuation=True)


def stop(app: Services, context: RequestContext, request: Stop) -> None:
    """Requests that a running answer ends; the answer's own terminal frame confirms it."""
    _require_first_delivery(app, context)
    app.sessions.stop(
        context.session_id,
        context.connection.principal,
        request.request_id,
        context.event.requested_at,
        context.deadlines.stream,
    )


def resume(app: Services, context: RequestContext, request: Resume) -> None:
    """Sends a request's frames from `from_seq` on, to this connection.

    While the answer runs, the Lambda that runs it sends them and all that follow. A retryable
    failure does not end that request, which may be running well: like a stop's, it is sent under
    the event's id.
    """
    _require_first_delivery(app, context)
    connection, wanted = context.connection, str(request.request_id)
    sender = _sender(app, context.event, wanted, connection.format)
    listener = Listener(
        context.event.event_id,
        context.event.requested_at,
        connection.connection_id,
        connection.format,
        request.from_seq,
    )
    deadline = min(context.deadlines.stream, time.monotonic() + 2 * LEASE_SECONDS)
    try:
        if app.sessions.attach_listener(
            context.session_id, connection.principal, wanted, listener, deadline
        ):
            return
        sender.replay(app.sessions.replay(context.session_id, wanted), request.from_seq)
    except ChatError as error:
        if error.retryable:
            raise
        _send_failure(app, context.event, sender, error)
    _report_refused(app, sender)


def history(app: Services, context: RequestContext, request: History) -> None:
    """Sends the session's newest turns, oldest first."""
    _require_first_delivery(app, context)
    principal = context.connection.principal
    turns, running = app.sessions.history(context.session_id, principal, request.limit)
    page = HistoryPage(tuple(to_past_turn(turn) for turn in turns))
    context.sender.send([page, Done(running=running)])


def clear(app: Services, context: RequestContext, _request: Clear) -> None:
    """Deletes the session's turns. The lease keeps a running answer from being saved after it."""
    with app.leases.acquire(context.claim()) as lease:
        count = app.sessions.clear(lease)
    context.sender.send([Done(cleared=count)])


def ping(_app: Services, context: RequestContext, _request: Ping) -> None:
    """Answers where the API has no `ping` route of its own."""
    context.sender.post(PONG)


# -- helpers ---------------------------------------------------------------------------------------


def _sender(app: Services, event: WebSocketEvent, request_id: str, wire_format: str) -> Sender:
    poster = app.poster_for(event.api_id, event.stage)
    encoder = encoder_for(wire_format, request_id)
    deadlines = Deadlines.of(event, app.settings)
    return Sender(poster, event.connection_id, encoder, deadlines.posts, deadlines.save)


def _require_first_delivery(app: Services, context: RequestContext) -> None:
    """For actions that acquire no lease, which would refuse a redelivery itself."""
    if not app.connections.is_first_delivery(context.event.event_id):
        raise RedeliveredError


def _send_failure(app: Services, event: WebSocketEvent, sender: Sender, error: ChatError) -> None:
    """Sends the error frame, unless this event's end was sent already, here or in a redelivery."""
    ended = sender.log.ended
    with suppress(ChatError):  # rather one error frame twice than none
        ended = ended or not app.connections.is_first_delivery(f"{event.event_id}#failed")
    if not ended:
        sender.send([Failed(error)])
    metrics.record_failure("request.failed", app.settings.model_name, error)


def _report_refused(app: Services, sender: Sender) -> None:
    """Counts a request whose frames API Gateway refused: its client saw no answer and no error."""
    if sender.is_refused:
        cause = f"post {sender.delivery.outcome}"
        error = ChatError("internal", "A frame could not be posted.", cause=cause)
        metrics.record_failure("post.refused", app.settings.model_name, error)


def _status(status: int, text: str) -> Response:
    return {"statusCode": status, "body": text}


def to_past_turn(turn: Turn) -> PastTurn:
    """The turn as `history` sends it."""
    return PastTurn(
        turn=turn.number,
        request_id=turn.request_id,
        created_at=turn.created_at,
        state=turn.state,
        user=turn.user,
        assistant=turn.assistant,
    )

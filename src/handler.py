"""The story of one event, top down: route, claim, history, stream, relay, save.

Rules
- A request ends in exactly one terminal frame or, where nobody listens, in a saved turn.
- An event that is delivered again changes nothing and says nothing.
- No exception leaves `lambda_handler`: Lambda would log its traceback, API Gateway would add an
  error frame of its own, and an asynchronous event would count as failed after it was answered.

Serves API Gateway's proxy events, and the same events invoked asynchronously, alike.
"""

import gc_startup  # before all others

# isort: split

import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

import log
import metrics
import services
from errors import ChatError
from families.registry import Prompt
from memory import Turn, estimate_tokens, messages, turn_tokens, used_tokens, window
from relay import StreamOptions, TurnSession, relay
from services import Services
from store.connections import RedeliveredError
from store.items import Connection
from store.leases import LEASE_SECONDS, Claim, Listener
from store.transcript import reasoning_in
from wire.events import Done, Failed, PastTurn, Start
from wire.formats import DEFAULT_FORMAT, FORMATS, PONG, SEED_PING, SEED_PONG
from wire.requests import (
    Chat,
    Clear,
    Continue,
    History,
    Part,
    Ping,
    Resume,
    Stop,
    parse,
    request_id_in,
    valid_id,
)
from wire.websocket_event import SUBPROTOCOL, Context, WebSocketEvent
from ws_sender import Sender

SESSION_ID_BYTES = 24  # 192 bits: nobody guesses it

# Of the seconds before Lambda's timeout, what is kept for the save and the terminal frame. Before
# that, what had arrived when the stream was ended may still be posted.
SAVING_SHARE = 0.6

# Of Lambda's time, what a save leaves for the terminal frame.
TERMINAL_FRAME_SECONDS = 1.0

ANONYMOUS = "anonymous"  # everybody, where nobody is asked who they are (AUTH=none)

# What the model is told where the person only wants more. Newer models take no half an answer to go
# on from, so it is asked for in words.
CONTINUE = "Continue exactly where your last answer ended. Repeat nothing and add no introduction."

Response = dict[str, Any]
OK: Response = {"statusCode": 200}

SERVICES = services.build_services(os.environ)
gc_startup.done()


def lambda_handler(event: Any, context: Context) -> Response:
    """Lambda's entry point. What it returns matters to API Gateway only for `$connect`."""
    return handle(SERVICES, event, context)


def handle(app: Services, event: Any, context: Context) -> Response:
    """Routes one event by its type; one that is none of API Gateway's is logged and refused."""
    try:
        incoming = WebSocketEvent.of(event, context)
        route = ROUTES[incoming.event_type]
    except (KeyError, TypeError, AttributeError) as error:
        log.write("ERROR", "event.not_understood", cause=type(error).__name__)
        return _status(400, "This is no event of a WebSocket API.")
    log.about(**incoming.ids)
    try:
        return route(app, incoming)
    except Exception as error:  # noqa: BLE001 - see the rules
        metrics.failed("event.failed", app.settings.model_name, _told_as(error))
        return _status(500, "Something failed on this side.")
    finally:
        log.about()  # nothing: this event is over


# -- $connect and $disconnect ----------------------------------------------------------------------


def connect(app: Services, incoming: WebSocketEvent) -> Response:
    """Settles what holds for the whole connection: session, format, and whose it is."""
    wire_format = incoming.query.get("format") or DEFAULT_FORMAT
    session_id = incoming.query.get("session_id") or secrets.token_urlsafe(SESSION_ID_BYTES)
    principal = PRINCIPALS[app.settings.auth](incoming)
    origin = incoming.headers.get("origin")  # of browsers alone; other clients write what they like
    if not principal:
        return _status(403, "Nobody has let you in.")
    if origin and app.settings.allowed_origins and origin not in app.settings.allowed_origins:
        return _status(403, "This origin may not connect.")
    if wire_format not in FORMATS:
        return _status(400, f"format must be one of {', '.join(FORMATS)}")
    if not valid_id(session_id):
        return _status(400, "session_id must be 1 to 128 letters, digits or . _ : = @ + -")
    app.connections.put(
        Connection(
            connection_id=incoming.connection_id,
            session_id=session_id,
            principal=principal,
            # Strangers share a name, but not an allowance. A digest: addresses are personal data.
            quota_subject=principal
            if principal != ANONYMOUS
            else f"ip#{log.digest(incoming.source_ip)}",
            format=wire_format,
        )
    )
    if SUBPROTOCOL in incoming.subprotocols:
        return {**OK, "headers": {"Sec-WebSocket-Protocol": SUBPROTOCOL}}
    return OK


# Who connects, by the one word that counts under each AUTH; "" is nobody.
PRINCIPALS: Mapping[str, Callable[[WebSocketEvent], str]] = {
    "iam": lambda incoming: incoming.user_arn,
    "jwt": lambda incoming: incoming.authorizer_principal,
    "none": lambda _: ANONYMOUS,
}


def disconnect(app: Services, incoming: WebSocketEvent) -> Response:
    """Has the connection forgotten, soon: what it sent may come after this."""
    app.connections.expire(incoming.connection_id)
    return OK


# -- messages --------------------------------------------------------------------------------------


class RequestContext(Struct, frozen=True):
    """One client's message on its way: where it came from, and where its frames go."""

    incoming: WebSocketEvent
    connection: Connection
    session_id: str
    request_id: str
    reply: Sender


def message(app: Services, incoming: WebSocketEvent) -> Response:
    """Reads one frame and lets its action answer; whatever fails is told once, in one frame."""
    # API Gateway's id of the event stands in where the client gives none.
    request_id = request_id_in(incoming.body) or incoming.event_id
    log.about(**incoming.ids, request_id=request_id)
    reply = _reply(app, incoming, request_id, DEFAULT_FORMAT)  # until the connection's is known
    try:
        connection = app.connections.get(incoming.connection_id)
        reply = _reply(app, incoming, request_id, connection.format)
        if incoming.body == SEED_PING and connection.format == "seed":
            reply.post(SEED_PONG)
            return OK
        request = parse(incoming.body)
        session_id = request.session_id or connection.session_id
        log.about(**incoming.ids, request_id=request_id, session=log.digest(session_id))
        asked = RequestContext(incoming, connection, session_id, request_id, reply)
        ACTIONS[type(request)](app, asked, request)
    except RedeliveredError:
        log.write("INFO", "event.redelivered")
    except Exception as error:  # noqa: BLE001 - see the rules
        _fail(app, incoming, reply, _told_as(error))
    return OK


def chat(app: Services, asked: RequestContext, request: Chat) -> None:
    """Asks the model."""
    _turn(app, asked, request.body)


def part(app: Services, asked: RequestContext, request: Part) -> None:
    """Asks the model, once the question is whole."""
    principal = asked.connection.principal
    question = app.uploads.add(asked.session_id, principal, asked.incoming.event_id, request)
    if question is not None and not question.strip():
        raise ChatError("invalid_request", "the parts are empty together")
    if question is not None:
        _turn(app, asked, question)


def continue_answer(app: Services, asked: RequestContext, request: Continue) -> None:
    """Asks the model for the rest of its last answer."""
    del request
    _turn(app, asked, CONTINUE, is_continuation=True)


def _turn(
    app: Services, asked: RequestContext, question: str, *, is_continuation: bool = False
) -> None:
    """One turn: claim, history, stream and relay, save, and the terminal frame."""
    settings = app.settings
    if len(question.encode()) > settings.max_input_bytes:
        raise ChatError("too_large", f"A message may have {settings.max_input_bytes} bytes.")

    with app.leases.acquire(_claim(app, asked, question)) as lease:
        recent = app.conversations.recent(asked.session_id, settings.history_turns)
        past = window(recent.newest_first, settings.history_tokens)
        if is_continuation and not (past and past[-1].is_incomplete):
            raise ChatError("invalid_request", "There is no answer to continue.")
        if _until(app, asked.incoming) <= time.monotonic():
            raise ChatError("deadline", "There is no time left to answer.")
        prompt = Prompt(
            system=settings.system_prompt,
            messages=messages(past, question),
            max_tokens=settings.max_output_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            stop_sequences=settings.stop_sequences,
            cache=settings.prompt_cache,
        )
        course = StreamOptions(
            until=_until(app, asked.incoming),
            show_reasoning=settings.show_reasoning,
            cancel_on_disconnect=settings.on_disconnect == "cancel",
        )
        channel = TurnSession(asked.reply, app.leases, lease, asked.incoming.began_at)
        start = Start(asked.session_id, settings.model_name)
        answer = relay(app.model, prompt, start, channel, course)
        if not answer.was_rejected:
            lease.used = used_tokens(answer.usage, prompt, answer.reasoning + answer.text)
        asked.reply.assign_sequence()
        turn = Turn(
            number=recent.next_number,
            request_id=asked.request_id,
            user=question,
            assistant=answer.text,
            state=answer.state,
            tokens=turn_tokens(answer.usage, past, question, answer.text),
            created_at=int(time.time()),
            stop_reason=answer.stop_reason,
            reasoning=reasoning_in(asked.reply.sent),
        )
        try:
            channel.save(turn, answer.end, asked.incoming.ends_at - TERMINAL_FRAME_SECONDS)
        except ChatError as error:  # what was written down so far becomes an unfinished turn
            answer, turn = replace(answer, end=Failed(error)), replace(turn, state="unfinished")
    asked.reply.send([answer.end])
    metrics.turned(settings.model_name, turn, answer, asked.reply)


def stop(app: Services, asked: RequestContext, request: Stop) -> None:
    """Asks a running answer to end; its own terminal frame tells that it did."""
    _once(app, asked)
    app.sessions.stop(
        asked.session_id,
        asked.connection.principal,
        request.request_id,
        asked.incoming.sent_at,
        _until(app, asked.incoming),
    )


def resume(app: Services, asked: RequestContext, request: Resume) -> None:
    """Tells a request's frames from `from_seq` on: where it runs, its Lambda does, and goes on.

    A failure that may pass is no end of that request, which may be running well: like a stop's, it
    is told under the event's own id.
    """
    _once(app, asked)
    connection, wanted = asked.connection, str(request.request_id)
    reply = _reply(app, asked.incoming, wanted, connection.format)
    listener = Listener(
        asked.incoming.event_id,
        asked.incoming.sent_at,
        connection.connection_id,
        connection.format,
        request.from_seq,
    )
    until = min(_until(app, asked.incoming), time.monotonic() + 2 * LEASE_SECONDS)
    try:
        if app.sessions.attach_listener(
            asked.session_id, connection.principal, wanted, listener, until
        ):
            return
        reply.sent = list(app.sessions.replay(asked.session_id, wanted))
    except ChatError as error:
        if error.retryable:
            raise
        _fail(app, asked.incoming, reply, error)
        return
    reply.attach(connection.connection_id, FORMATS[connection.format](wanted), request.from_seq)
    reply.send([])


def history(app: Services, asked: RequestContext, request: History) -> None:
    """Tells the session's newest turns, oldest first."""
    _once(app, asked)
    principal = asked.connection.principal
    turns, running = app.sessions.history(asked.session_id, principal, request.limit)
    asked.reply.send([tuple(_told(turn) for turn in turns), Done(running=running)])


def clear(app: Services, asked: RequestContext, request: Clear) -> None:
    """Forgets the session's turns. The lease keeps a running answer from being saved behind it."""
    del request
    with app.leases.acquire(_claim(app, asked)) as lease:
        count = app.sessions.clear(lease)
    asked.reply.send([Done(cleared=count)])


def ping(app: Services, asked: RequestContext, request: Ping) -> None:
    """Answers where the API has no `ping` route of its own."""
    del app, request
    asked.reply.post(PONG)


ROUTES: Mapping[str, Callable[[Services, WebSocketEvent], Response]] = {
    "CONNECT": connect,
    "MESSAGE": message,
    "DISCONNECT": disconnect,
}
ACTIONS: Mapping[type, Callable[[Services, RequestContext, Any], None]] = {
    Chat: chat,
    Part: part,
    Continue: continue_answer,
    Stop: stop,
    Resume: resume,
    History: history,
    Clear: clear,
    Ping: ping,
}


# -- small things ----------------------------------------------------------------------------------


def _reply(app: Services, incoming: WebSocketEvent, request_id: str, wire_format: str) -> Sender:
    poster = app.poster_for(app.settings.callback_url or incoming.endpoint)
    encoder = FORMATS[wire_format](request_id)
    posting_deadline = incoming.ends_at - SAVING_SHARE * app.settings.deadline_seconds
    last = max(posting_deadline, incoming.ends_at - TERMINAL_FRAME_SECONDS)
    return Sender(poster, incoming.connection_id, encoder, posting_deadline, last)


def _claim(app: Services, asked: RequestContext, question: str = "") -> Claim:
    settings = app.settings
    most = settings.history_tokens + settings.max_output_tokens
    return Claim(
        session_id=asked.session_id,
        principal=asked.connection.principal,
        quota_subject=asked.connection.quota_subject,
        request_id=asked.request_id,
        event_id=asked.incoming.event_id,
        requested_at=asked.incoming.sent_at,
        question=question,
        tokens=estimate_tokens(settings.system_prompt) + estimate_tokens(question) + most,
    )


def _once(app: Services, asked: RequestContext) -> None:
    """Lets an event pass that no claim covers, the first time."""
    if not app.connections.is_first_delivery(asked.incoming.event_id):
        raise RedeliveredError


def _until(app: Services, incoming: WebSocketEvent) -> float:
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


def _fail(app: Services, incoming: WebSocketEvent, reply: Sender, error: ChatError) -> None:
    """Tells the client, unless this event's end was told already, here or in another delivery."""
    told = reply.ended
    with suppress(ChatError):  # a client is rather told twice than never
        told = told or not app.connections.is_first_delivery(f"{incoming.event_id}#failed")
    if not told:
        reply.send([Failed(error)])
    metrics.failed("request.failed", app.settings.model_name, error)


def _status(status: int, message: str) -> Response:
    return {"statusCode": status, "body": message}


def _told_as(error: Exception) -> ChatError:
    """The failure as a client may hear of it."""
    if isinstance(error, ChatError):
        return error
    return ChatError("internal", "Something failed on this side.", cause=_where(error))


def _where(error: Exception) -> str:
    """The kind of exception and the line it came from: what a log may know of it."""
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    where = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" if frame else "?"
    return f"{type(error).__name__} at {where}"

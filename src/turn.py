"""One turn, top down: acquire the lease, read the history, stream and relay the answer, save it.

Rules
- A question is sent to the model only by the one event that acquired its lease.
- All text that was received is saved, with the state in which the turn ended, before its terminal
  frame is sent.

Does not know how a message arrived, or which action started the turn (`handler`).
"""

import time

from msgspec import Struct
from msgspec.structs import replace

import metrics
from errors import ChatError
from families.types import Prompt
from memory import Turn, estimate_tokens, messages, turn_tokens, used_tokens, window
from relay import StreamOptions, TurnSession, relay
from services import Services
from settings import Settings
from store.items import Connection
from store.leases import Claim
from store.transcript import reasoning_in
from wire.events import Failed, Start
from wire.websocket_event import WebSocketEvent
from ws_sender import Sender

# The question of a continuation. Newer models do not accept a conversation that ends with half an
# answer (prefill), so the rest is asked for in words.
CONTINUE = "Continue exactly where your last answer ended. Repeat nothing and add no introduction."

# Of DEADLINE_SECONDS, the share that is reserved for the save and the terminal frame. Before that,
# deltas that had arrived when the stream was ended may still be posted.
SAVING_SHARE = 0.6

# Of Lambda's time, what the save leaves for the terminal frame.
TERMINAL_FRAME_SECONDS = 1.0


class Deadlines(Struct, frozen=True):
    """When each step of an invocation has to be over, in seconds of `time.monotonic`.

    In this order: the model's stream, posts of deltas, the save and all posts but the last frame.
    """

    stream: float
    posts: float
    save: float

    @classmethod
    def of(cls, event: WebSocketEvent, settings: Settings) -> "Deadlines":
        """Counted back from the moment when Lambda stops the invocation."""
        end = event.deadline
        posts = end - SAVING_SHARE * settings.deadline_seconds
        return cls(
            stream=end - settings.deadline_seconds,
            posts=posts,
            save=max(end - TERMINAL_FRAME_SECONDS, posts),
        )


class RequestContext(Struct, frozen=True):
    """One message of a client: its event and connection, and the sender of its frames."""

    event: WebSocketEvent
    connection: Connection
    session_id: str
    request_id: str
    sender: Sender
    deadlines: Deadlines

    def claim(self, question: str = "", tokens: int = 0) -> Claim:
        """What the lease is acquired for; `question` is "" where the model is not called.

        `tokens` is the most that the turn can use, which is reserved of the daily quota.
        """
        return Claim(
            session_id=self.session_id,
            principal=self.connection.principal,
            quota_subject=self.connection.quota_subject,
            request_id=self.request_id,
            event_id=self.event.event_id,
            requested_at=self.event.requested_at,
            question=question,
            tokens=tokens,
        )


def run_turn(
    app: Services, context: RequestContext, question: str, *, is_continuation: bool = False
) -> None:
    """Answers `question`, and sends every frame of the answer.

    Raises:
        RedeliveredError: this event was handled before.
        ChatError: the question was refused; nothing was sent or saved.
    """
    settings, sender, deadlines = app.settings, context.sender, context.deadlines
    if len(question.encode()) > settings.max_input_bytes:
        raise ChatError("too_large", f"A message may have {settings.max_input_bytes} bytes.")

    prompt_tokens = estimate_tokens(settings.system_prompt) + estimate_tokens(question)
    most = prompt_tokens + settings.history_tokens + settings.max_output_tokens
    with app.leases.acquire(context.claim(question, most)) as lease:
        recent = app.conversations.recent(context.session_id, settings.history_turns)
        past = window(recent.newest_first, settings.history_tokens)
        if is_continuation and not (past and past[-1].is_incomplete):
            raise ChatError("invalid_request", "There is no answer to continue.")
        if time.monotonic() >= deadlines.stream:
            raise ChatError("deadline", "There is no time left to answer.")

        prompt = _prompt(settings, past, question)
        options = StreamOptions(
            deadline=deadlines.stream,
            show_reasoning=settings.show_reasoning,
            cancel_on_disconnect=settings.on_disconnect == "cancel",
        )
        session = TurnSession(sender, app.leases, lease, context.event.started_at)
        start = Start(context.session_id, settings.model_name)
        answer = relay(app.model, prompt, start, session, options)
        if not answer.was_rejected:
            lease.used = used_tokens(answer.usage, prompt, answer.reasoning + answer.text)

        sender.assign_sequence()
        turn = Turn(
            number=recent.next_number,
            request_id=context.request_id,
            user=question,
            assistant=answer.text,
            state=answer.state,
            tokens=turn_tokens(answer.usage, past, question, answer.text),
            created_at=int(time.time()),
            stop_reason=answer.stop_reason,
            reasoning=reasoning_in(sender.log.events),
        )
        try:
            session.save(turn, answer.end, deadlines.save)
        except ChatError as error:  # what the last renewal stored becomes an unfinished turn
            answer, turn = replace(answer, end=Failed(error)), replace(turn, state="unfinished")
    sender.send([answer.end])
    metrics.record_turn(settings.model_name, turn, answer, sender)


def _prompt(settings: Settings, past: tuple[Turn, ...], question: str) -> Prompt:
    return Prompt(
        system=settings.system_prompt,
        messages=messages(past, question),
        max_tokens=settings.max_output_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        stop_sequences=settings.stop_sequences,
        cache=settings.prompt_cache,
    )

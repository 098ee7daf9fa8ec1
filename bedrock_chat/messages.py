"""Sentences about how an answer ended. Pure, except that it reads the local time zone."""

from datetime import datetime

from bedrock_chat.protocol import Frame
from bedrock_chat.sanitize import sanitize

_PERSISTS = "If it persists, contact the operator of this deployment."

# What to do, for each error code; the server's message says what happened. `{new_session}` is what
# starts a new session.
ADVICE: dict[str, str] = {
    "invalid_request": "",
    "too_large": "Shorten the question, or split it into several.",
    "unauthorized": "Check the session id, or start a new session with {new_session}.",
    "busy": "Wait until the other answer ends, or start a new session with {new_session}.",
    "throttled": "Wait a moment, then ask again.",
    "model_unavailable": f"Ask again later. {_PERSISTS}",
    "model_error": "Ask again.",
    "context_too_long": "Shorten the question, or start a new session with {new_session}.",
    "deadline": "Ask again, or ask for a shorter answer.",
    "over_budget": "",
    "internal": f"Ask again. {_PERSISTS}",
}

# Why an answer ended, for each stop reason that needs an explanation.
STOP_REASONS: dict[str, str] = {
    "stopped": "stopped",
    "max_tokens": "cut off at the deployment's length limit",
    "deadline": "cut off at the deployment's time limit",
    "disconnected": "ended because no client was connected",
    "content_filtered": "ended by the model's content filter",
    "guardrail": "ended by the deployment's guardrail",
}
CONTINUABLE = ("stopped", "max_tokens", "deadline", "disconnected")


def error_text(frame: Frame, new_session: str = "/new") -> str:
    """Return an error frame as sentences: what happened, what to do, and when."""
    advice = ADVICE.get(str(frame.get("code")), "").format(new_session=new_session)
    sentences = [sanitize(str(frame.get("message", "The answer failed."))), advice]
    if isinstance(at := frame.get("retry_at"), int):
        sentences.append(f"You can ask again from {local_time(at)}.")
    return " ".join(each for each in sentences if each)


def local_time(at: int, now: datetime | None = None) -> str:
    """Format Unix time in the local time zone, with the date unless it is today."""
    then, today = datetime.fromtimestamp(at).astimezone(), now or datetime.now().astimezone()
    return f"{then:%H:%M}" if then.date() == today.date() else f"{then:%H:%M on %A, %d %B}"


def stop_text(frame: Frame) -> str:
    """Return why the answer ended; empty if it simply completed."""
    return STOP_REASONS.get(str(frame.get("stop_reason")), "")


def usage_text(frame: Frame) -> str:
    """Format the token counts and latencies that the frame reports."""
    usage, latency = frame.get("usage") or {}, frame.get("latency_ms") or {}
    tokens = [
        f"{usage[name]:,} {unit}"
        for name, unit in (("input_tokens", "tokens in"), ("output_tokens", "out"))
        if name in usage
    ]
    times = [
        f"{duration(latency[name])} {unit}"
        for name, unit in (("first_token", "to first token"), ("total", "total"))
        if name in latency
    ]
    return " · ".join(", ".join(each) for each in (tokens, times) if each)


def duration(milliseconds: int) -> str:
    """Format a duration in milliseconds or seconds."""
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def answer_footer(frame: Frame) -> str:
    """Return the line below an answer at the prompt: why it ended, and its usage."""
    hint = "; /continue continues it" if frame.get("stop_reason") in CONTINUABLE else ""
    return " · ".join(each for each in (stop_text(frame) + hint, usage_text(frame)) if each)

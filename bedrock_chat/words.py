"""What a person is told about an answer's end, in sentences. Pure, but for the local time zone."""

from datetime import datetime

from bedrock_chat.disarm import disarm
from bedrock_chat.protocol import Frame

# What to do, for each code of an error; the server's own message says what happened. `{anew}` is
# what begins another session.
ADVICE: dict[str, str] = {
    "invalid_request": "",
    "too_large": "Shorten the question, or ask in several.",
    "unauthorized": "Is the session yours? {anew} begins another one.",
    "busy": "Wait for the other answer, or {anew} begins another session.",
    "throttled": "Wait a moment, and ask again.",
    "model_unavailable": "Ask again in a while; if it stays so, tell whoever runs the deployment.",
    "model_error": "Ask again.",
    "context_too_long": "Shorten the question, or {anew} begins an empty session.",
    "deadline": "Ask again, perhaps for less.",
    "over_budget": "",
    "internal": "Ask again; if it stays so, tell whoever runs the deployment.",
}

# Why an answer ended, where a person would wonder.
ENDS: dict[str, str] = {
    "stopped": "stopped",
    "max_tokens": "cut off at the deployment's length limit",
    "deadline": "cut off at the deployment's time limit",
    "disconnected": "ended while nobody listened",
    "content_filtered": "ended by the model's content filter",
    "guardrail": "ended by the deployment's guardrail",
}
GO_ON = ("stopped", "max_tokens", "deadline", "disconnected")  # these may


def failure(frame: Frame, anew: str = "/new") -> str:
    """An error frame as sentences: what happened, what to do, and when."""
    advice = ADVICE.get(str(frame.get("code")), "").format(anew=anew)
    said = [disarm(str(frame.get("message", "The answer failed."))), advice]
    if isinstance(at := frame.get("retry_at"), int):
        said.append(f"You can ask again from {local_time(at)}.")
    return " ".join(each for each in said if each)


def local_time(at: int, now: datetime | None = None) -> str:
    """A point in Unix time as the clock on the wall here shows it; with the date, if not today."""
    then, today = datetime.fromtimestamp(at).astimezone(), now or datetime.now().astimezone()
    return f"{then:%H:%M}" if then.date() == today.date() else f"{then:%H:%M on %A, %d %B}"


def why_ended(frame: Frame) -> str:
    """Why the answer ended, where that is no matter of course."""
    return ENDS.get(str(frame.get("stop_reason")), "")


def figures(frame: Frame) -> str:
    """Tokens and times of an answer, as far as they were told."""
    usage, latency = frame.get("usage") or {}, frame.get("latency_ms") or {}
    tokens = [
        f"{usage[name]:,} {what}"
        for name, what in (("input_tokens", "tokens in"), ("output_tokens", "out"))
        if name in usage
    ]
    times = [
        f"{duration(latency[name])} {what}"
        for name, what in (("first_token", "to the first"), ("total", "in all"))
        if name in latency
    ]
    return " · ".join(", ".join(each) for each in (tokens, times) if each)


def duration(milliseconds: int) -> str:
    """A time as one reads it."""
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def closing(frame: Frame) -> str:
    """The line under an answer, at a prompt."""
    goes_on = "; /continue goes on" if frame.get("stop_reason") in GO_ON else ""
    return " · ".join(each for each in (why_ended(frame) + goes_on, figures(frame)) if each)

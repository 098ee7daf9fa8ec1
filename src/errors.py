"""`ChatError`, the one error that a client is shown, and its codes. Imports nothing of ours.

Rules
- Every failure, wherever it happens, becomes a `ChatError` where it is translated, once.
- A message never holds an ARN, an account id, a traceback, a prompt or an answer.
"""

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct


class ErrorCode(Struct, frozen=True):
    """What a code means to a client, and whether repeating the request can succeed as a rule."""

    meaning: str
    retryable: bool = False


CODES: Mapping[str, ErrorCode] = {
    "invalid_request": ErrorCode("The frame is not a valid request."),
    "too_large": ErrorCode("The message is longer than this deployment accepts."),
    "unauthorized": ErrorCode(
        "The connection is unknown, or the session belongs to another principal."
    ),
    "busy": ErrorCode("The session is answering another request.", retryable=True),
    "duplicate": ErrorCode(
        "This `request_id` was used before, and no request is answered twice. `resume` returns its "
        "frames."
    ),
    "throttled": ErrorCode("Bedrock or DynamoDB limits the rate of requests.", retryable=True),
    "model_unavailable": ErrorCode(
        "The model cannot be reached, or the deployment may not use it.", retryable=True
    ),
    "model_error": ErrorCode("The model failed, or its stream broke.", retryable=True),
    "context_too_long": ErrorCode("The conversation does not fit the model's context window."),
    "deadline": ErrorCode("The time for one answer ran out before any text.", retryable=True),
    "over_budget": ErrorCode("The daily quota is used up."),
    "internal": ErrorCode("An error on the server's side.", retryable=True),
}


class ChatError(Exception):
    """An error that is sent to the client.

    `code` is one of `CODES`; `message` is a sentence for people, without anything secret;
    `retryable` says whether repeating the request can succeed (the code's default unless given).
    `cause` is for the log only: the underlying failure, in a few words. `retry_at`, in seconds of
    Unix time, is when the same request will be accepted again, where that is known.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool | None = None,
        cause: str = "",
        retry_at: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = CODES[code].retryable if retryable is None else retryable
        self.cause = cause
        self.retry_at = retry_at


def to_chat_error(error: Exception) -> ChatError:
    """The failure as a client may see it: any that is not a `ChatError` is `internal`."""
    if isinstance(error, ChatError):
        return error
    return ChatError("internal", "Internal error.", cause=_origin(error))


def _origin(error: Exception) -> str:
    """The exception's type and the line that raised it: what may go into a log."""
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    where = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" if frame else "?"
    return f"{type(error).__name__} at {where}"

"""`ChatError`, the one error that a client is shown, and its codes. Imports nothing of ours.

Rules
- Every failure, wherever it happens, becomes a `ChatError` where it is translated, once.
- A message never holds an ARN, an account id, a traceback, a prompt or an answer.
"""

from collections.abc import Mapping

# What a client may be told, and whether the same request can succeed when it is sent again.
CODES: Mapping[str, bool] = {
    "invalid_request": False,  # the frame is not one that this protocol has
    "too_large": False,  # the message is longer than this deployment takes
    "unauthorized": False,  # the connection is unknown, or the session belongs to someone else
    "busy": True,  # the session is answering another request
    "duplicate": False,  # this request_id was taken before; it is never answered twice
    "throttled": True,  # Bedrock or DynamoDB asks to be called less often
    "model_unavailable": True,  # the model cannot be reached, or may not be used
    "model_error": True,  # the model failed, or its stream broke
    "context_too_long": False,  # the conversation and the question do not fit the model
    "deadline": True,  # the time for one answer was over before a word
    "over_budget": False,  # the day's allowance is used up
    "internal": True,  # a fault on this side
}


class ChatError(Exception):
    """Something that a client is told.

    `code` is one of `CODES`; `message` is a sentence for a person, free of anything secret;
    `retryable` says whether sending the same again can help (the code's own answer unless given).
    `cause` is for the log alone: what was behind it, in a few words. `retry_at`, in seconds of Unix
    time, is when it will not be refused again, where that is known.
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
        self.retryable = CODES[code] if retryable is None else retryable
        self.cause = cause
        self.retry_at = retry_at

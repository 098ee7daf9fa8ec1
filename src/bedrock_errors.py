"""Bedrock's failures as `ChatError`s: the one table, and the one place where they are translated.

Rules
- A message contains no ARN and no part of the prompt.
- `retry_safe` is decided here: whether repeating the call cannot be billed twice.

Does not know when a call is retried (`bedrock_stream`).
"""

import re
from collections.abc import Mapping

from botocore.eventstream import ParserError
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ReadTimeoutError
from botocore.exceptions import ConnectionError as BotoConnectionError
from msgspec import Struct
from urllib3.exceptions import HTTPError
from urllib3.exceptions import ReadTimeoutError as StreamTimeoutError

from errors import ChatError

CUT = "The model's answer was cut off."
_SILENT = "The model stopped sending data."
_UNREACHABLE = "The model cannot be reached."
_CREDENTIALS = "This deployment's credentials were refused."


class FaultError(Exception):
    """A fault that Bedrock names, with its message."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name)
        self.name = name
        self.message = message


class _ErrorSpec(Struct, frozen=True):
    """The `ChatError` of a failure; `retry_safe`: before the first delta, the call may be retried.

    That is so where the call was rejected or cut off: no answer was generated. Where one may be on
    its way (no data, a timeout), a second call could be billed beside it.
    """

    code: str
    message: str
    retryable: bool
    retry_safe: bool = False


_BAD_CREDENTIALS = _ErrorSpec("model_unavailable", _CREDENTIALS, retryable=False)

# Bedrock's fault, without "Exception" and with a small first letter (outside a stream its names
# begin with a capital, inside with none).
_FAULTS: Mapping[str, _ErrorSpec] = {
    "throttling": _ErrorSpec(
        "throttled", "Rate limit reached; try again shortly.", True, retry_safe=True
    ),
    "serviceQuotaExceeded": _ErrorSpec(
        "throttled", "A quota of this AWS account is exhausted.", False
    ),
    "accessDenied": _ErrorSpec(
        "model_unavailable", "This deployment has no permission to use the model.", False
    ),
    "resourceNotFound": _ErrorSpec(
        "model_unavailable", "The model does not exist in this Region.", False
    ),
    "modelNotReady": _ErrorSpec(
        "model_unavailable",
        "The model is being prepared; try again shortly.",
        True,
        retry_safe=True,
    ),
    "serviceUnavailable": _ErrorSpec(
        "model_unavailable", "The model is temporarily unavailable.", True, retry_safe=True
    ),
    "modelTimeout": _ErrorSpec("model_error", "The model timed out.", True),
    "modelStreamError": _ErrorSpec("model_error", CUT, True),
    "modelError": _ErrorSpec("model_error", "The model failed.", True),
    "internalServer": _ErrorSpec(
        "model_error", "The model's service had an internal error.", True, retry_safe=True
    ),
    "expiredToken": _BAD_CREDENTIALS,
    "unrecognizedClient": _BAD_CREDENTIALS,
    "invalidSignature": _BAD_CREDENTIALS,
    "incompleteSignature": _BAD_CREDENTIALS,
    "missingAuthenticationToken": _BAD_CREDENTIALS,
}
_UNNAMED = _ErrorSpec("model_error", "The model failed.", True)

# ValidationException covers faults of the client, the operator and ours; the message differs.
_VALIDATION: tuple[tuple[re.Pattern[str], _ErrorSpec], ...] = (
    (
        re.compile(
            r"(?i)too long|too many (input )?tokens|context (length|window)|exceeds? the max"
        ),
        _ErrorSpec(
            "context_too_long",
            "The conversation is too long for the model; clear it or start a new one.",
            False,
        ),
    ),
    (
        re.compile(r"(?i)on-demand throughput"),
        _ErrorSpec(
            "model_unavailable", "This model can be used only through an inference profile.", False
        ),
    ),
    (
        re.compile(r"(?i)model identifier"),
        _ErrorSpec("model_unavailable", "The model does not exist in this Region.", False),
    ),
    (re.compile(r""), _ErrorSpec("model_error", "The model refused the request.", False)),
)

# Every exception that is not an error response of Bedrock's, most specific first.
_BREAKS: tuple[tuple[type[Exception], _ErrorSpec], ...] = (
    (
        NoCredentialsError,
        _ErrorSpec("model_unavailable", "This deployment has no credentials.", False),
    ),
    (ReadTimeoutError, _ErrorSpec("model_error", _SILENT, True)),
    (StreamTimeoutError, _ErrorSpec("model_error", _SILENT, True)),
    (BotoConnectionError, _ErrorSpec("model_unavailable", _UNREACHABLE, True, retry_safe=True)),
    # urllib3's, raw inside a stream
    (HTTPError, _ErrorSpec("model_error", CUT, True, retry_safe=True)),
    (ParserError, _ErrorSpec("model_error", "The model's answer arrived corrupted.", True)),
    (ValueError, _ErrorSpec("model_error", "The model's answer could not be decoded.", True)),
    (BotoCoreError, _ErrorSpec("internal", "The model could not be called.", True)),
    (Exception, _ErrorSpec("internal", "The model could not be called.", True)),
)


def translate(error: Exception) -> tuple[ChatError, bool]:
    """The error for the client, and whether the call may be retried."""
    match error:
        case FaultError():
            spec, cause = _spec_of(error.name, error.message), f"bedrock {error.name}"
        case ClientError():  # EventStreamError is one
            details = error.response.get("Error", {})
            name = details.get("Code", "")
            spec, cause = _spec_of(name, details.get("Message", "")), f"bedrock {name}"
        case _:
            spec = next(spec for kind, spec in _BREAKS if isinstance(error, kind))
            cause = type(error).__name__
    failure = ChatError(spec.code, spec.message, retryable=spec.retryable, cause=cause)
    return failure, spec.retry_safe


def is_fault(name: str) -> bool:
    """Whether a message of the stream with that name reports a failure."""
    return _plain_name(name) in _FAULTS or _plain_name(name) == "validation"


def _spec_of(name: str, message: str) -> _ErrorSpec:
    plain = _plain_name(name)
    if plain == "validation":
        return next(spec for pattern, spec in _VALIDATION if pattern.search(message))
    return _FAULTS.get(plain, _UNNAMED)


def _plain_name(name: str) -> str:
    name = name.removesuffix("Exception")
    return name[:1].lower() + name[1:]

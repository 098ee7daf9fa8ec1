"""The values between the endpoint's parts: a prompt, the pieces of an answer, an error.

Rules:
- Frozen values only; no I/O, no family's field names.
- Every family's request is read into a `Prompt`. An answer is any number of pieces; the last one is
  an `End` unless a `Fault` or a `ServiceError` ends it early.

Does not know: the models (`models.py`), the families' shapes (`families.py`).
"""

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation: its text blocks, none of which is empty."""

    role: Role
    texts: tuple[str, ...]

    @property
    def text(self) -> str:
        """The blocks, joined by line feeds."""
        return "\n".join(self.texts)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A parsed request. `body` is the request's JSON text as received.

    `prefill` is the beginning of the answer, where the caller's request contains one.
    """

    system: str
    turns: tuple[Turn, ...]
    max_tokens: int
    stop_sequences: tuple[str, ...] = ()
    temperature: float | None = None
    top_p: float | None = None
    prefill: str = ""
    body: str = field(default="", repr=False)

    @property
    def last_user_text(self) -> str:
        """The last text block of the last user message.

        Not the whole message: a caller that merges messages to keep roles alternating may have put
        an earlier, unanswered message into the block before.
        """
        return next((turn.texts[-1] for turn in reversed(self.turns) if turn.role == "user"), "")

    @property
    def estimated_tokens(self) -> int:
        """An estimate of four characters per token, for where no tokenizer has counted."""
        return max(1, len(self.body) // 4)


@dataclass(frozen=True, slots=True)
class Text:
    """The next part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """The next part of the model's reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """An event of an unknown type. Services add event types; clients must ignore them."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Breaks the stream at this point.

    `kind` is `cut`, `stall`, `truncate`, `bad_crc`, `error`, or the lowerCamel name of an
    exception; `as_event` sends that exception as an event message.
    """

    kind: str
    message: str = ""
    as_event: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """The answer is complete.

    `stop_reason` is `end`, `length`, `stop_sequence` or `filtered`, which each family maps to its
    own term; any other value is passed on unchanged.
    """

    stop_reason: str
    input_tokens: int
    output_tokens: int
    stop_sequence: str | None = None


Piece = Text | Reasoning | Unknown | Fault | End


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """How Bedrock reports one kind of error: status, usual message, fields besides `message`."""

    status: int
    message: str
    fields: tuple[tuple[str, str | int], ...] = ()


# Bedrock Runtime API reference, InvokeModelWithResponseStream: Errors. The last three are common to
# all AWS services.
ERRORS = {
    "AccessDeniedException": ErrorSpec(
        403, "You don't have access to the model with the specified model ID."
    ),
    "InternalServerException": ErrorSpec(
        500, "The system encountered an unexpected error during processing. Try your request again."
    ),
    "ModelErrorException": ErrorSpec(
        424,
        "The request failed due to an error while processing the model.",
        (("originalStatusCode", 500), ("resourceName", "model")),
    ),
    "ModelNotReadyException": ErrorSpec(
        429, "The model is not ready for inference. Wait and try your request again."
    ),
    "ModelStreamErrorException": ErrorSpec(
        424,
        "The system encountered an unexpected error during processing. Try your request again.",
        (("originalStatusCode", 500), ("originalMessage", "The model stopped answering.")),
    ),
    "ModelTimeoutException": ErrorSpec(
        408,
        "The request took too long to process. Processing time exceeded the model timeout length.",
    ),
    "ResourceNotFoundException": ErrorSpec(
        404, "Could not resolve the foundation model from the provided model identifier."
    ),
    "ServiceQuotaExceededException": ErrorSpec(
        400, "Your request exceeds the service quota for your account."
    ),
    "ServiceUnavailableException": ErrorSpec(503, "Bedrock is unable to process your request."),
    "ThrottlingException": ErrorSpec(429, "Too many requests, please wait before trying again."),
    "ValidationException": ErrorSpec(
        400, "Malformed input request, please reformat your input and try again."
    ),
    "ExpiredTokenException": ErrorSpec(
        403, "The security token included in the request is expired"
    ),
    "MissingAuthenticationTokenException": ErrorSpec(403, "Missing Authentication Token"),
    "UnrecognizedClientException": ErrorSpec(
        403, "The security token included in the request is invalid."
    ),
}
_UNDOCUMENTED = ErrorSpec(500, "An error that the documentation does not list.")


class ServiceError(Exception):
    """The request fails: before the stream as an HTTP error, inside it as an exception message.

    `code` is a name from `ERRORS`, spelled UpperCamel or (as inside a stream) lowerCamel.
    """

    def __init__(self, code: str, message: str = "") -> None:
        self.code = code[:1].upper() + code[1:]
        self.spec = ERRORS.get(self.code, _UNDOCUMENTED)
        self.message = message or self.spec.message
        super().__init__(f"{self.code}: {self.message}")

    @property
    def exception_type(self) -> str:
        """Its name inside a stream: `throttlingException`."""
        return self.code[:1].lower() + self.code[1:]

    @property
    def body(self) -> dict[str, str | int]:
        """The JSON body."""
        return {"message": self.message, **dict(self.spec.fields)}

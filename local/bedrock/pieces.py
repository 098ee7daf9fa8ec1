"""What passes between the endpoint's parts: a prompt, the pieces of an answer, a failure.

Rules:
- Values only, frozen; no I/O, no family's field names.
- A prompt is what any family's request comes down to. An answer is any number of pieces, and one
  `End` as the last of them unless a `Fault` or a `Failure` cut it short.

Does not know: who answers (`local/bedrock/models.py`), how a family spells it (`local/bedrock/families.py`).
"""

from dataclasses import dataclass, field
from typing import Literal

Role = Literal["user", "assistant"]


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation: its text blocks, none of them empty."""

    role: Role
    texts: tuple[str, ...]

    @property
    def text(self) -> str:
        """All of it; blocks stand one below the other."""
        return "\n".join(self.texts)


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request, read. `body` is the request exactly as it came (JSON text).

    `opening` is how the caller makes the answer begin, where a family's request can say that.
    """

    system: str
    turns: tuple[Turn, ...]
    max_tokens: int
    stop_sequences: tuple[str, ...] = ()
    temperature: float | None = None
    top_p: float | None = None
    opening: str = ""
    body: str = field(default="", repr=False)

    @property
    def last_words(self) -> str:
        """The last text block that the user said.

        The last block and not the whole message: a caller that keeps roles alternating may have put
        an earlier, unanswered message into the block before.
        """
        return next((turn.texts[-1] for turn in reversed(self.turns) if turn.role == "user"), "")

    @property
    def estimated_tokens(self) -> int:
        """Four characters to a token: good enough where no tokenizer has counted."""
        return max(1, len(self.body) // 4)


@dataclass(frozen=True, slots=True)
class Text:
    """The next words of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """The next words of what the model thinks before it answers."""

    text: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something that no client can know yet. Services add event types; clients must not care."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An order to break the stream here.

    `kind` is `cut`, `stall`, `truncate`, `bad_crc`, `error`, or the lowerCamel name of an
    exception; `as_event` sends that exception as an event message.
    """

    kind: str
    message: str = ""
    as_event: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """The answer is complete.

    `stop_reason` is `end`, `length`, `stop_sequence` or `filtered`, which each family spells its
    own way; anything else is passed on as it is.
    """

    stop_reason: str
    input_tokens: int
    output_tokens: int
    stop_sequence: str | None = None


Piece = Text | Reasoning | Unknown | Fault | End


@dataclass(frozen=True, slots=True)
class Error:
    """How Bedrock reports one kind of failure: status, usual words, members besides `message`."""

    status: int
    message: str
    members: tuple[tuple[str, str | int], ...] = ()


# Bedrock Runtime API reference, InvokeModelWithResponseStream: Errors. The last three are common to
# all AWS services.
ERRORS = {
    "AccessDeniedException": Error(
        403, "You don't have access to the model with the specified model ID."
    ),
    "InternalServerException": Error(
        500, "The system encountered an unexpected error during processing. Try your request again."
    ),
    "ModelErrorException": Error(
        424,
        "The request failed due to an error while processing the model.",
        (("originalStatusCode", 500), ("resourceName", "model")),
    ),
    "ModelNotReadyException": Error(
        429, "The model is not ready for inference. Wait and try your request again."
    ),
    "ModelStreamErrorException": Error(
        424,
        "The system encountered an unexpected error during processing. Try your request again.",
        (("originalStatusCode", 500), ("originalMessage", "The model stopped answering.")),
    ),
    "ModelTimeoutException": Error(
        408,
        "The request took too long to process. Processing time exceeded the model timeout length.",
    ),
    "ResourceNotFoundException": Error(
        404, "Could not resolve the foundation model from the provided model identifier."
    ),
    "ServiceQuotaExceededException": Error(
        400, "Your request exceeds the service quota for your account."
    ),
    "ServiceUnavailableException": Error(503, "Bedrock is unable to process your request."),
    "ThrottlingException": Error(429, "Too many requests, please wait before trying again."),
    "ValidationException": Error(
        400, "Malformed input request, please reformat your input and try again."
    ),
    "ExpiredTokenException": Error(403, "The security token included in the request is expired"),
    "MissingAuthenticationTokenException": Error(403, "Missing Authentication Token"),
    "UnrecognizedClientException": Error(
        403, "The security token included in the request is invalid."
    ),
}
_UNHEARD_OF = Error(500, "An error that the documentation does not list.")


class Failure(Exception):  # noqa: N818 - an `Error` is a row of the table; this is its happening
    """The request fails: before the stream as an HTTP error, inside it as an exception message.

    `code` is a name from `ERRORS`, spelled UpperCamel or (as inside a stream) lowerCamel.
    """

    def __init__(self, code: str, message: str = "") -> None:
        self.code = code[:1].upper() + code[1:]
        self.error = ERRORS.get(self.code, _UNHEARD_OF)
        self.message = message or self.error.message
        super().__init__(f"{self.code}: {self.message}")

    @property
    def member(self) -> str:
        """What the stream calls it: `throttlingException`."""
        return self.code[:1].lower() + self.code[1:]

    @property
    def document(self) -> dict[str, str | int]:
        """The JSON body."""
        return {"message": self.message, **dict(self.error.members)}

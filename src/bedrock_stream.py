"""The one place that calls Bedrock, and where its failures are translated, here and nowhere else.

Rules
- A thread of its own reads from Bedrock, so that reading never waits for a post. Whoever iterates
  gets, each time, everything that has arrived since the last time, in order.
- An answer has an end of its own (`Stopped`), or it failed: a stream that just ceases was cut.
- A call that was turned away, or broke before its first delta, is made again for a while
  (`_Told.again`). Once there was a delta, never: it was billed, and told.
- Hanging up ends the reading at once, so that Bedrock stops and bills no further.
- Every failure leaves as one `ChatError`, in words that name no ARN and repeat no prompt.

Does not know who asked, what was said before, or what becomes of the text.
"""

import json
import random
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.eventstream import ParserError
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ReadTimeoutError
from botocore.exceptions import ConnectionError as BotoConnectionError
from msgspec import Struct, field
from urllib3.exceptions import HTTPError
from urllib3.exceptions import ReadTimeoutError as StreamTimeoutError

import log
from errors import ChatError
from families.registry import Decoder, Family, request_body
from families.types import Event, Prompt, ReasoningDelta, Stopped, TextDelta
from settings import MAX_ANSWER_BYTES

if TYPE_CHECKING:
    from types_boto3_bedrock_runtime import BedrockRuntimeClient

# A connection inside AWS stands within milliseconds; three seconds forgive a lost SYN (1 s), twice.
CONNECT_SECONDS = 3.0


def client_config(stall_seconds: float) -> Config:
    """How the Bedrock client is to be made.

    One attempt: botocore would repeat a call whose answer is merely slow, and each is billed; what
    may be repeated is decided here (`_Told.again`). The read timeout is the longest silence
    allowed, before the first byte and between any two.
    """
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=stall_seconds,
        retries={"mode": "standard", "total_max_attempts": 1},
        tcp_keepalive=True,
    )


# The pause before the nth attempt is anything up to FIRST * 2**n, and at most LONGEST: full jitter,
# so that those who were turned away together do not come back together (AWS Builders' Library,
# "Timeouts, retries, and backoff with jitter").
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 4.0


class Model(Struct, frozen=True):
    """What is called: `model_id` as Bedrock is told it, and the family whose shape it speaks.

    `options` are further arguments of the call, such as `guardrailIdentifier`. `retry_seconds` is
    how long a call may be tried again.
    """

    client: "BedrockRuntimeClient"
    model_id: str
    family: Family
    options: Mapping[str, str] = field(default_factory=dict)
    retry_seconds: float = 0.0


class RetryNotice(Struct, frozen=True):
    """The call came to nothing, and is made again."""


StreamItem = Event | RetryNotice


@contextmanager
def answering(
    model: Model, prompt: Prompt, until: float, tick: float
) -> Iterator[Iterator[list[StreamItem]]]:
    """Calls Bedrock at once, and gives the answer while it arrives; leaving the context hangs up.

    The answer comes as lists of events, the very last of which is `Stopped`; a call that is made
    again is among them. A list is empty where nothing came for `tick` seconds. At `until` (of
    `time.monotonic`) the answer is ended with `Stopped("deadline")`.

    Raises:
        ChatError: Bedrock refused or the stream broke; what had arrived was given out before.
    """
    arrived: _StreamQueue = SimpleQueue()
    line = _Line()
    reader = threading.Thread(
        target=copy_context().run,  # what its log lines are about
        args=(_read, model, prompt, until, arrived, line),
        name="bedrock",
        daemon=True,
    )
    reader.start()
    try:
        yield _batches(arrived, until, tick)
    finally:
        line.hang_up()


def _batches(arrived: "_StreamQueue", until: float, tick: float) -> Iterator[list[StreamItem]]:
    while True:
        batch = _gather(arrived, until, tick)
        yield [event for event in batch if not isinstance(event, ChatError)]
        match batch[-1:]:
            case [ChatError() as failure]:
                raise failure
            case [Stopped()]:
                return


def _gather(arrived: "_StreamQueue", until: float, tick: float) -> list[StreamItem | ChatError]:
    """Waits for one event, then takes all that there are. An end of either kind is the last.

    What has arrived counts, also when the time is over by now: it was paid for.
    """
    left = until - time.monotonic()
    batch: list[StreamItem | ChatError] = []
    with suppress(Empty):
        batch.append(arrived.get(timeout=max(0.0, min(left, tick))))
        while True:
            batch.append(arrived.get_nowait())
    over = time.monotonic() >= until
    if over and not (batch and isinstance(batch[-1], Stopped | ChatError)):
        batch.append(Stopped("deadline"))
    return batch


# -- the reading thread ----------------------------------------------------------------------------

_StreamQueue = SimpleQueue[StreamItem | ChatError]


class _Line:
    """The call under way, as both threads see it: whoever asks may hang up, wherever it waits."""

    def __init__(self) -> None:
        self._hung_up = threading.Event()
        self._stream: Any = None

    def hang_up(self) -> None:
        """Wakes the reader. Best effort: else it notices at the next chunk, or at its timeout."""
        self._hung_up.set()
        # urllib3's way to end a read in another thread (2.3 and newer); botocore has none. Closing
        # the socket alone would leave the other thread in `recv`.
        with suppress(AttributeError, ValueError, RuntimeError, OSError):
            self._stream._raw_stream.shutdown()  # noqa: SLF001 - see above

    def open(self, stream: Any) -> None:
        """Takes the stream that is being read from now on."""
        self._stream = stream

    def hung_up(self) -> bool:
        """Whether nobody wants the answer any more."""
        return self._hung_up.is_set()

    def wait(self, seconds: float) -> bool:
        """Waits, and says whether it was for nothing: somebody hung up."""
        return self._hung_up.wait(seconds)


def _read(model: Model, prompt: Prompt, until: float, arrived: "_StreamQueue", line: _Line) -> None:
    """Puts every event of the answer, then `Stopped` or the failure, and nothing after it."""
    retry_until = min(until, time.monotonic() + model.retry_seconds)
    pause = FIRST_PAUSE_SECONDS
    while (failure := _read_once(model, prompt, arrived, line)) is not None:
        wait = random.uniform(0, pause)  # noqa: S311 - jitter, no secret
        if time.monotonic() + wait > retry_until:
            arrived.put(failure)
            return
        if line.hung_up():
            return
        log.write("WARN", "stream.again", code=failure.code, cause=failure.cause)
        arrived.put(RetryNotice())
        if line.wait(wait):
            return
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _read_once(
    model: Model, prompt: Prompt, arrived: "_StreamQueue", line: _Line
) -> ChatError | None:
    """One attempt: a failure that may be tried again, or None where all was said.

    The stop reason is held back until the stream is over: usage may follow it.
    """
    stopped: Stopped | None = None
    told = False
    try:
        for event in _whole_characters(_events(model, prompt, line)):
            if line.hung_up():
                return None
            if isinstance(event, Stopped):
                stopped = event
            else:
                arrived.put(event)
                told = told or isinstance(event, TextDelta | ReasoningDelta)
    except Exception as error:  # noqa: BLE001 - a thread's exception would be nobody's
        failure, again = _translate(error)
        if stopped is None:
            if again and not told:
                return failure
            arrived.put(failure)
            return None
        # The answer was whole; what broke was the way to its usage.
        log.write("WARN", "stream.broke_after_stop", code=failure.code, cause=failure.cause)
    arrived.put(stopped or ChatError("model_error", _CUT, cause="no terminal chunk"))
    return None


def _events(model: Model, prompt: Prompt, line: _Line) -> Iterator[Event]:
    """Calls Bedrock and reads the stream to its end, or until the answer is as long as is kept."""
    if line.hung_up():
        return
    response = model.client.invoke_model_with_response_stream(
        modelId=model.model_id,
        body=json.dumps(request_body(model.family, model.model_id, prompt)),
        contentType="application/json",
        accept="application/json",
        **model.options,  # type: ignore[arg-type]
    )
    stream = response["body"]
    line.open(stream)
    decoder = Decoder(model.family)
    said = 0
    try:
        if line.hung_up():  # while the call was under way: there was nothing to wake yet
            return
        for message in stream:
            for event in decoder.events(_chunk(message)):
                if isinstance(event, TextDelta | ReasoningDelta):  # both may be kept
                    said += len(event.text.encode(errors="surrogatepass"))
                    if said > MAX_ANSWER_BYTES:
                        yield Stopped("max_tokens")
                        return
                yield event
    finally:
        stream.close()


def _chunk(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """One message of the stream as the model's own JSON object; empty where it is none.

    Bedrock's exceptions raise inside botocore when they come as exception messages; the same sent
    as an event message arrives here as a dict.
    """
    if "chunk" in message:
        chunk = json.loads(message["chunk"]["bytes"])
        return chunk if isinstance(chunk, dict) else {}
    for name, detail in message.items():
        if _plain_name(name) in _FAULTS or _plain_name(name) == "validation":
            raise _FaultError(name, str(detail.get("message", "")))
    return {}


def _whole_characters(events: Iterator[Event]) -> Iterator[Event]:
    """Joins surrogate halves that a model's JSON spread over two chunks, and mends lone ones.

    UTF-8 cannot carry half a pair: unmended, one broken emoji would cost the whole answer.
    """
    halves = {TextDelta: "", ReasoningDelta: ""}
    for event in events:
        if not isinstance(event, TextDelta | ReasoningDelta):
            yield event
            continue
        kind = type(event)
        text = halves[kind] + event.text
        halves[kind] = text[-1] if "\ud800" <= text[-1] <= "\udbff" else ""
        text = text[: len(text) - len(halves[kind])]
        if not text.isascii():
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if text:
            yield kind(text)


# -- failures --------------------------------------------------------------------------------------

_CUT = "The model's answer broke off."
_SILENT = "The model fell silent."
_UNREACHABLE = "The model cannot be reached."
_REFUSED = "The credentials of this deployment were refused."


class _FaultError(Exception):
    """A fault that Bedrock names, with what it said of it."""

    def __init__(self, name: str, said: str) -> None:
        super().__init__(name)
        self.name = name
        self.said = said


class _ErrorSpec(Struct, frozen=True):
    """What a client is told of a failure; `again`: an attempt before the first delta may follow.

    `again` is for what turned the call away, or cut it off: nothing of it was an answer. Where an
    answer may be on its way (a silence, a timeout) a second call could be billed beside it.
    """

    code: str
    message: str
    retryable: bool
    again: bool = False


_BAD_CREDENTIALS = _ErrorSpec("model_unavailable", _REFUSED, retryable=False)

# Bedrock's fault, without "Exception" and with a small first letter (outside a stream its names
# begin with a capital, inside with none).
_FAULTS: Mapping[str, _ErrorSpec] = {
    "throttling": _ErrorSpec(
        "throttled", "The model is asked too often; try again in a moment.", True, again=True
    ),
    "serviceQuotaExceeded": _ErrorSpec(
        "throttled", "A quota of this AWS account is used up.", False
    ),
    "accessDenied": _ErrorSpec(
        "model_unavailable", "This deployment may not use the model.", False
    ),
    "resourceNotFound": _ErrorSpec("model_unavailable", "The model does not exist here.", False),
    "modelNotReady": _ErrorSpec(
        "model_unavailable", "The model is being made ready.", True, again=True
    ),
    "serviceUnavailable": _ErrorSpec(
        "model_unavailable", "The model is not to be had right now.", True, again=True
    ),
    "modelTimeout": _ErrorSpec("model_error", "The model took too long.", True),
    "modelStreamError": _ErrorSpec("model_error", _CUT, True),
    "modelError": _ErrorSpec("model_error", "The model failed.", True),
    "internalServer": _ErrorSpec("model_error", "The model's service failed.", True, again=True),
    "expiredToken": _BAD_CREDENTIALS,
    "unrecognizedClient": _BAD_CREDENTIALS,
    "invalidSignature": _BAD_CREDENTIALS,
    "incompleteSignature": _BAD_CREDENTIALS,
    "missingAuthenticationToken": _BAD_CREDENTIALS,
}
_UNNAMED = _ErrorSpec("model_error", "The model failed.", True)

# ValidationException covers what the client, the operator or we have done; only its words tell.
_VALIDATION: tuple[tuple[re.Pattern[str], _ErrorSpec], ...] = (
    (
        re.compile(
            r"(?i)too long|too many (input )?tokens|context (length|window)|exceeds? the max"
        ),
        _ErrorSpec(
            "context_too_long", "The conversation is too long for the model; clear it.", False
        ),
    ),
    (
        re.compile(r"(?i)on-demand throughput"),
        _ErrorSpec(
            "model_unavailable", "This model answers only through an inference profile.", False
        ),
    ),
    (
        re.compile(r"(?i)model identifier"),
        _ErrorSpec("model_unavailable", "The model does not exist here.", False),
    ),
    (re.compile(r""), _ErrorSpec("model_error", "The model refused the request.", False)),
)

# Everything that is not Bedrock's own word, most particular first.
_BREAKS: tuple[tuple[type[Exception], _ErrorSpec], ...] = (
    (
        NoCredentialsError,
        _ErrorSpec("model_unavailable", "This deployment has no credentials.", False),
    ),
    (ReadTimeoutError, _ErrorSpec("model_error", _SILENT, True)),
    (StreamTimeoutError, _ErrorSpec("model_error", _SILENT, True)),
    (BotoConnectionError, _ErrorSpec("model_unavailable", _UNREACHABLE, True, again=True)),
    # urllib3's, raw inside a stream
    (HTTPError, _ErrorSpec("model_error", _CUT, True, again=True)),
    (ParserError, _ErrorSpec("model_error", "The model's answer arrived damaged.", True)),
    (ValueError, _ErrorSpec("model_error", "The model's answer is not readable.", True)),
    (BotoCoreError, _ErrorSpec("internal", "The model could not be asked.", True)),
    (Exception, _ErrorSpec("internal", "The model could not be asked.", True)),
)


def _translate(error: Exception) -> tuple[ChatError, bool]:
    """What the client is told, and whether the call may be made again."""
    match error:
        case _FaultError():
            told, cause = _fault(error.name, error.said), f"bedrock {error.name}"
        case ClientError():  # EventStreamError is one
            known = error.response.get("Error", {})
            name = known.get("Code", "")
            told, cause = _fault(name, known.get("Message", "")), f"bedrock {name}"
        case _:
            told = next(told for kind, told in _BREAKS if isinstance(error, kind))
            cause = type(error).__name__
    failure = ChatError(told.code, told.message, retryable=told.retryable, cause=cause)
    return failure, told.again


def _fault(name: str, said: str) -> _ErrorSpec:
    plain = _plain_name(name)
    if plain == "validation":
        return next(told for pattern, told in _VALIDATION if pattern.search(said))
    return _FAULTS.get(plain, _UNNAMED)


def _plain_name(name: str) -> str:
    name = name.removesuffix("Exception")
    return name[:1].lower() + name[1:]

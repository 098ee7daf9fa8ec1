"""The one place that calls Bedrock, and where its failures are translated, here and nowhere else.

Rules
- A thread of its own reads from Bedrock, so that reading never waits for a post. Whoever iterates
  gets, each time, everything that has arrived since the last time, in order.
- An answer has an end of its own (`Stopped`), or it failed: a stream that just ceases was cut.
- Nothing is tried twice here: a call that was sent may have been billed.
- Every failure leaves as one `ChatError`, in words that name no ARN and repeat no prompt.

Does not know who asked, what was said before, or what becomes of the text.
"""

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.eventstream import ParserError
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ReadTimeoutError
from botocore.exceptions import ConnectionError as BotoConnectionError
from urllib3.exceptions import HTTPError
from urllib3.exceptions import ReadTimeoutError as StreamTimeoutError

import log
from frames import ChatError
from model_families import (
    Decoder,
    Event,
    Family,
    Prompt,
    ReasoningDelta,
    Stopped,
    TextDelta,
    body,
)
from settings import MAX_ANSWER_BYTES

if TYPE_CHECKING:
    from types_boto3_bedrock_runtime import BedrockRuntimeClient

# A connection inside AWS stands within milliseconds; three seconds forgive a lost SYN (1 s), twice.
CONNECT_SECONDS = 3.0


def client_config(stall_seconds: float) -> Config:
    """How the Bedrock client is to be made.

    One attempt: botocore would repeat a call whose answer is merely slow, and each is billed. The
    read timeout is the longest silence allowed, before the first byte and between any two.
    """
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=stall_seconds,
        retries={"mode": "standard", "total_max_attempts": 1},
        tcp_keepalive=True,
    )


@dataclass(frozen=True, slots=True)
class Model:
    """What is called: `model_id` as Bedrock is told it, and the family whose shape it speaks."""

    client: "BedrockRuntimeClient"
    model_id: str
    family: Family


@contextmanager
def answering(model: Model, prompt: Prompt, until: float) -> Iterator[Iterator[list[Event]]]:
    """Calls Bedrock at once, and gives the answer while it arrives; leaving the context hangs up.

    The answer comes as lists of at least one event, the very last of which is `Stopped`. At `until`
    (of `time.monotonic`) it is ended with `Stopped("deadline")`.

    Raises:
        ChatError: Bedrock refused or the stream broke; what had arrived was given out before.
    """
    arrived: SimpleQueue[Event | ChatError] = SimpleQueue()
    hung_up = threading.Event()
    reader = threading.Thread(
        target=_read, args=(model, prompt, arrived, hung_up), name="bedrock", daemon=True
    )
    reader.start()
    try:
        yield _batches(arrived, until)
    finally:
        hung_up.set()


def _batches(arrived: "SimpleQueue[Event | ChatError]", until: float) -> Iterator[list[Event]]:
    while batch := _gather(arrived, until):
        events = [event for event in batch if not isinstance(event, ChatError)]
        if events:
            yield events
        match batch[-1]:
            case ChatError() as failure:
                raise failure
            case Stopped():
                return


def _gather(arrived: "SimpleQueue[Event | ChatError]", until: float) -> list[Event | ChatError]:
    """Waits for one event, then takes all that there are. An end of either kind is the last.

    What has arrived counts, also when the time is over by now: it was paid for.
    """
    left = until - time.monotonic()
    try:
        batch = [arrived.get(timeout=max(0.0, left))]
    except Empty:
        return [Stopped("deadline")]
    while not arrived.empty():  # this is the only reader
        batch.append(arrived.get_nowait())
    if left <= 0 and not isinstance(batch[-1], Stopped | ChatError):
        batch.append(Stopped("deadline"))
    return batch


# -- the reading thread ----------------------------------------------------------------------------


def _read(
    model: Model,
    prompt: Prompt,
    arrived: "SimpleQueue[Event | ChatError]",
    hung_up: threading.Event,
) -> None:
    """Puts every event of the answer, then `Stopped` or the failure, and nothing after it.

    The stop reason is held back until the stream is over: usage may follow it.
    """
    stopped: Stopped | None = None
    try:
        for event in _whole_characters(_events(model, prompt)):
            if hung_up.is_set():
                return
            if isinstance(event, Stopped):
                stopped = event
            else:
                arrived.put(event)
    except Exception as error:  # noqa: BLE001 - a thread's exception would be nobody's
        failure = _translate(error)
        if stopped is None:
            arrived.put(failure)
            return
        # The answer was whole; what broke was the way to its usage.
        log.write("WARN", "stream.broke_after_stop", code=failure.code, cause=failure.cause)
    arrived.put(stopped or ChatError("model_error", _CUT, cause="no terminal chunk"))


def _events(model: Model, prompt: Prompt) -> Iterator[Event]:
    """Calls Bedrock and reads the stream to its end, or until the answer is as long as is kept."""
    response = model.client.invoke_model_with_response_stream(
        modelId=model.model_id,
        body=json.dumps(body(model.family, model.model_id, prompt)),
        contentType="application/json",
        accept="application/json",
    )
    stream = response["body"]
    decoder = Decoder(model.family)
    said = 0
    try:
        for message in stream:
            for event in decoder.events(_chunk(message)):
                if isinstance(event, TextDelta):
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
            raise _fault(name, str(detail.get("message", "")))
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

# Bedrock's fault, without "Exception" and with a small first letter (outside a stream its names
# begin with a capital, inside with none): the client's code, the sentence, whether to try again.
_FAULTS: Mapping[str, tuple[str, str, bool]] = {
    "throttling": ("throttled", "The model is asked too often; try again in a moment.", True),
    "serviceQuotaExceeded": ("throttled", "A quota of this AWS account is used up.", False),
    "accessDenied": ("model_unavailable", "This deployment may not use the model.", False),
    "resourceNotFound": ("model_unavailable", "The model does not exist here.", False),
    "modelNotReady": ("model_unavailable", "The model is being made ready.", True),
    "serviceUnavailable": ("model_unavailable", "The model is not to be had right now.", True),
    "modelTimeout": ("model_error", "The model took too long.", True),
    "modelStreamError": ("model_error", _CUT, True),
    "modelError": ("model_error", "The model failed.", True),
    "internalServer": ("model_error", "The model's service failed.", True),
    "expiredToken": ("model_unavailable", _REFUSED, False),
    "unrecognizedClient": ("model_unavailable", _REFUSED, False),
    "invalidSignature": ("model_unavailable", _REFUSED, False),
    "incompleteSignature": ("model_unavailable", _REFUSED, False),
    "missingAuthenticationToken": ("model_unavailable", _REFUSED, False),
}

# ValidationException covers what the client, the operator or we have done; only its words tell.
_VALIDATION: tuple[tuple[re.Pattern[str], tuple[str, str, bool]], ...] = (
    (
        re.compile(
            r"(?i)too long|too many (input )?tokens|context (length|window)|exceeds? the max"
        ),
        ("context_too_long", "The conversation is too long for the model; clear it.", False),
    ),
    (
        re.compile(r"(?i)on-demand throughput"),
        ("model_unavailable", "This model answers only through an inference profile.", False),
    ),
    (
        re.compile(r"(?i)model identifier"),
        ("model_unavailable", "The model does not exist here.", False),
    ),
    (re.compile(r""), ("model_error", "The model refused the request.", False)),
)

# Everything that is not Bedrock's own word, most particular first.
_BREAKS: tuple[tuple[type[Exception], tuple[str, str, bool]], ...] = (
    (NoCredentialsError, ("model_unavailable", "This deployment has no credentials.", False)),
    (ReadTimeoutError, ("model_error", _SILENT, True)),
    (StreamTimeoutError, ("model_error", _SILENT, True)),
    (BotoConnectionError, ("model_unavailable", _UNREACHABLE, True)),
    (HTTPError, ("model_error", _CUT, True)),  # urllib3's, raw inside a stream
    (ParserError, ("model_error", "The model's answer arrived damaged.", True)),
    (ValueError, ("model_error", "The model's answer is not readable.", True)),
    (BotoCoreError, ("internal", "The model could not be asked.", True)),
)


def _translate(error: Exception) -> ChatError:
    if isinstance(error, ChatError):
        return error
    if isinstance(error, ClientError):  # EventStreamError is one
        told = error.response.get("Error", {})
        return _fault(told.get("Code", ""), told.get("Message", ""))
    cause = type(error).__name__
    for kind, (code, message, retryable) in _BREAKS:
        if isinstance(error, kind):
            return ChatError(code, message, retryable=retryable, cause=cause)
    return ChatError("internal", "The model could not be asked.", cause=cause)


def _fault(name: str, said: str) -> ChatError:
    plain = _plain_name(name)
    if plain == "validation":
        known = next(answer for pattern, answer in _VALIDATION if pattern.search(said))
    else:
        known = _FAULTS.get(plain, ("model_error", "The model failed.", True))
    code, message, retryable = known
    return ChatError(code, message, retryable=retryable, cause=f"bedrock {name}")


def _plain_name(name: str) -> str:
    name = name.removesuffix("Exception")
    return name[:1].lower() + name[1:]

"""The one place that calls Bedrock.

Rules
- A thread of its own reads from Bedrock, so that reading never waits for a post. Each iteration
  returns all events that have arrived since the one before, in order.
- An answer has an end of its own (`Stopped`), or it failed: a stream that ends without one was cut.
- A call that was rejected, or that failed before its first delta, is retried for a while where
  that is safe (`bedrock_errors`). After a delta, never: it was billed, and sent.
- Leaving the context cancels the call, so that Bedrock stops generating and billing. A reader that
  waits for a chunk stops at once; one that waits for the call's response stops when it comes, or at
  the read timeout.
- Every failure leaves as one `ChatError`, translated in `bedrock_errors`.

Does not know the principal, the session, or where the text goes.
"""

import json
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.config import Config
from msgspec import Struct, field

import log
from bedrock_errors import CUT, FaultError, is_fault, translate
from errors import ChatError
from families.registry import Decoder, Family, request_body
from families.types import ModelEvent, Prompt, ReasoningDelta, Stopped, TextDelta
from settings import MAX_ANSWER_BYTES

if TYPE_CHECKING:
    from types_boto3_bedrock_runtime import BedrockRuntimeClient

# A connection inside AWS is established within milliseconds; three seconds allow for a lost SYN
# (1 s), twice.
CONNECT_SECONDS = 3.0


def client_config(stall_seconds: float) -> Config:
    """The Bedrock client's configuration.

    One attempt: botocore would repeat a call whose response is merely slow, and each is billed;
    retries are decided here and in `bedrock_errors`. The read timeout is the longest time without
    data, before the first byte and between any two.
    """
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=stall_seconds,
        retries={"mode": "standard", "total_max_attempts": 1},
        tcp_keepalive=True,
    )


# The pause before the nth attempt is random between 0 and FIRST * 2**n, and at most LONGEST: full
# jitter, so that calls that were throttled together are not retried together (AWS Builders'
# Library, "Timeouts, retries, and backoff with jitter").
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 4.0


class Model(Struct, frozen=True):
    """What is called: `model_id` as Bedrock takes it, and the family whose shape it speaks.

    `options` are further arguments of the call, such as `guardrailIdentifier`. `retry_seconds` is
    how long a call may be retried.
    """

    client: "BedrockRuntimeClient"
    model_id: str
    family: Family
    options: Mapping[str, str] = field(default_factory=dict)
    retry_seconds: float = 0.0


class RetryNotice(Struct, frozen=True):
    """The call failed and is retried."""


StreamItem = ModelEvent | RetryNotice


@contextmanager
def open_stream(
    model: Model, prompt: Prompt, deadline: float, tick: float
) -> Iterator[Iterator[list[StreamItem]]]:
    """Calls Bedrock at once and iterates over the answer as it arrives.

    The answer comes as lists of items, the very last of which is `Stopped`; retries of the call are
    among them. A list is empty where nothing arrived for `tick` seconds. At `deadline` (of
    `time.monotonic`) the answer is ended with `Stopped("deadline")`. Leaving the context cancels.

    Raises:
        ChatError: Bedrock refused or the stream broke; all that had arrived was returned before.
    """
    queue: _StreamQueue = SimpleQueue()
    cancellation = _Cancellation()
    reader = threading.Thread(
        target=copy_context().run,  # the ids of its log lines
        args=(_read, model, prompt, deadline, queue, cancellation),
        name="bedrock",
        daemon=True,
    )
    reader.start()
    try:
        yield _batches(queue, deadline, tick)
    finally:
        cancellation.cancel()


def _batches(queue: "_StreamQueue", deadline: float, tick: float) -> Iterator[list[StreamItem]]:
    """Waits for one item, then takes all that there are; an end of either kind is the last.

    What has arrived by the deadline counts: it was paid for.
    """
    while True:
        remaining = deadline - time.monotonic()
        batch: list[StreamItem | ChatError] = []
        with suppress(Empty):
            batch.append(queue.get(timeout=max(0.0, min(remaining, tick))))
            while True:
                batch.append(queue.get_nowait())
        is_over = time.monotonic() >= deadline
        if is_over and not (batch and isinstance(batch[-1], Stopped | ChatError)):
            batch.append(Stopped("deadline"))
        yield [item for item in batch if not isinstance(item, ChatError)]
        match batch[-1:]:
            case [ChatError() as failure]:
                raise failure
            case [Stopped()]:
                return


# -- the reading thread ----------------------------------------------------------------------------

_StreamQueue = SimpleQueue[StreamItem | ChatError]


class _Cancellation(threading.Event):
    """Set when the answer is no longer wanted; `cancel` also wakes the reader."""

    stream: Any = None  # what is being read

    def cancel(self) -> None:
        """Best effort: a reader that is not woken notices at the next chunk or at its timeout."""
        self.set()
        # urllib3's way to end a read in another thread (2.3 and newer); botocore has none. Closing
        # the socket alone would leave the other thread in `recv`.
        with suppress(AttributeError, ValueError, RuntimeError, OSError):
            self.stream._raw_stream.shutdown()  # noqa: SLF001 - see above


def _read(
    model: Model,
    prompt: Prompt,
    deadline: float,
    queue: "_StreamQueue",
    cancellation: _Cancellation,
) -> None:
    """Puts every event of the answer, then `Stopped` or the failure, and nothing after it."""
    retry_deadline = min(deadline, time.monotonic() + model.retry_seconds)
    pause = FIRST_PAUSE_SECONDS
    while (failure := _read_once(model, prompt, queue, cancellation)) is not None:
        wait = random.uniform(0, pause)  # noqa: S311 - jitter, no secret
        if time.monotonic() + wait > retry_deadline:
            queue.put(failure)
            return
        if cancellation.is_set():
            return
        log.write("WARN", "stream.retry", code=failure.code, cause=failure.cause)
        queue.put(RetryNotice())
        if cancellation.wait(wait):
            return
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _read_once(
    model: Model, prompt: Prompt, queue: "_StreamQueue", cancellation: _Cancellation
) -> ChatError | None:
    """One attempt: a failure that may be retried, or None where the queue has everything.

    The stop reason is held back until the stream is over: usage may follow it.
    """
    stopped: Stopped | None = None
    has_delta = False
    try:
        for event in _join_surrogates(_events(model, prompt, cancellation)):
            if cancellation.is_set():
                return None
            if isinstance(event, Stopped):
                stopped = event
            else:
                queue.put(event)
                has_delta = has_delta or isinstance(event, TextDelta | ReasoningDelta)
    except Exception as error:  # noqa: BLE001 - no exception may end the thread in silence
        failure, retry_safe = translate(error)
        if stopped is None:
            if retry_safe and not has_delta:
                return failure
            queue.put(failure)
            return None
        # The answer is complete; only its usage may be missing.
        log.write("WARN", "stream.failed_after_stop", code=failure.code, cause=failure.cause)
    queue.put(stopped or ChatError("model_error", CUT, cause="no terminal chunk"))
    return None


def _events(model: Model, prompt: Prompt, cancellation: _Cancellation) -> Iterator[ModelEvent]:
    """Calls Bedrock and reads the stream to its end, or to the longest answer that is stored."""
    if cancellation.is_set():
        return
    response = model.client.invoke_model_with_response_stream(
        modelId=model.model_id,
        body=msgspec.json.encode(request_body(model.family, model.model_id, prompt)),
        contentType="application/json",
        accept="application/json",
        **model.options,  # type: ignore[arg-type]
    )
    stream = response["body"]
    cancellation.stream = stream
    decoder = Decoder(model.family)
    size = 0
    try:
        if cancellation.is_set():  # while the call was in flight: nothing to wake yet
            return
        for message in stream:
            for event in decoder.events(_chunk(message)):
                if isinstance(event, TextDelta | ReasoningDelta):  # both may be stored
                    size += len(event.text.encode(errors="surrogatepass"))
                    if size > MAX_ANSWER_BYTES:
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
        data = message["chunk"]["bytes"]
        try:
            chunk = msgspec.json.decode(data)
        except msgspec.DecodeError:  # `json` accepts what msgspec does not: half a surrogate pair
            chunk = json.loads(data)
        return chunk if isinstance(chunk, dict) else {}
    for name, detail in message.items():
        if is_fault(name):
            raise FaultError(name, str(detail.get("message", "")))
    return {}


def _join_surrogates(events: Iterator[ModelEvent]) -> Iterator[ModelEvent]:
    """Joins surrogate halves that a model's JSON spread over two chunks, and replaces lone ones.

    UTF-8 cannot carry half a pair: left alone, one broken emoji would cost the whole answer.
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

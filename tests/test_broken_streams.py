"""Event streams that are broken in every way: through botocore's decoder, ours, and the reader.

Each input is made from a number: a whole stream of some family (`streams`), then one mutation. So
what fails is made again by its number: `FUZZ_FROM=12345 FUZZ=1`. `FUZZ=100000` tries so many; CI
tries a few thousand, the same ones every time.

The bytes are handed to botocore's own `EventStream` in pieces of any size; only the socket is left
out (tests/local/test_bedrock.py has broken ones).
"""

import base64
import json
import os
import random
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import boto3
import pytest
from botocore.eventstream import EventStream
from botocore.parsers import EventStreamJSONParser
from support.family_streams import STREAMS, Stream, events
from test_bedrock_stream import prompt

from bedrock_stream import Model, StreamItem, open_stream
from errors import CODES, ChatError
from families.registry import family_of
from families.types import ReasoningDelta, Stopped, TextDelta
from local.bedrock import eventstream

FUZZ = int(os.environ.get("FUZZ", "3000"))
FUZZ_FROM = int(os.environ.get("FUZZ_FROM", "0"))

OPERATION = "InvokeModelWithResponseStream"
HURTFUL: list[Any] = [
    *(None, True, 0, -1, 10**400, 1.5, "", "x", "\ud800", "[DONE]", "\x00", "<think>", "é🙂"),
    *([], {}, [[]], [None], [{}], {"text": None}, {"text": []}, {"": {}}, [[[[[]]]]]),
]
EVENT = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}


class Raw:
    """A response that arrives in these pieces."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces

    def stream(self) -> Iterator[bytes]:
        yield from self._pieces

    def close(self) -> None:
        pass

    def shutdown(self) -> None:
        pass


class Bedrock:
    """A client whose call is answered with these bytes, as botocore reads them."""

    shape: Any = None

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces

    def invoke_model_with_response_stream(self, **_: Any) -> Any:
        if Bedrock.shape is None:
            model = boto3.client("bedrock-runtime").meta.service_model
            Bedrock.shape = model.operation_model(OPERATION).get_event_stream_output()
        raw: Any = Raw(self._pieces)
        return {"body": EventStream(raw, Bedrock.shape, EventStreamJSONParser(), OPERATION)}


def heard(family: str, pieces: Sequence[bytes]) -> tuple[list[StreamItem], ChatError | None]:
    """What a reader of the stream gets, and the failure that ended it, if one did."""
    client: Any = Bedrock(pieces)
    got: list[StreamItem] = []
    model = Model(client, "", family_of("", family))
    with open_stream(model, prompt("hi"), time.monotonic() + 60, 60) as batches:
        try:
            for batch in batches:
                got += batch
        except ChatError as error:
            return got, error
    return got, None


def text(got: Sequence[StreamItem]) -> str:
    return "".join(event.text for event in got if isinstance(event, TextDelta))


def pieces(rng: random.Random, whole: bytes) -> list[bytes]:
    """The bytes as a network delivers them: cut anywhere."""
    cuts = sorted(rng.randrange(len(whole) + 1) for _ in range(rng.randrange(6)))
    return [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


# -- bytes that are broken on their way ------------------------------------------------------------


def flipped(rng: random.Random, whole: bytes) -> bytes:
    """Some bytes are other ones."""
    damaged = bytearray(whole)
    for _ in range(rng.randrange(1, 4)):
        damaged[rng.randrange(len(damaged))] ^= rng.randrange(1, 256)
    return bytes(damaged)


def cut(rng: random.Random, whole: bytes) -> bytes:
    """The end is missing."""
    return whole[: rng.randrange(len(whole))]


def bitten(rng: random.Random, whole: bytes) -> bytes:
    """Something in the middle is missing."""
    at = rng.randrange(len(whole))
    return whole[:at] + whole[at + rng.randrange(1, 40) :]


def stuffed(rng: random.Random, whole: bytes) -> bytes:
    """Something in the middle is too much."""
    at = rng.randrange(len(whole))
    return whole[:at] + rng.randbytes(rng.randrange(1, 40)) + whole[at:]


def mismeasured(rng: random.Random, whole: bytes) -> bytes:
    """A length is wrong, and the checksum over the lengths agrees with it."""
    starts = [0]
    while (end := starts[-1] + int.from_bytes(whole[starts[-1] : starts[-1] + 4])) < len(whole):
        starts.append(end)
    at = rng.choice(starts)
    sizes = list(struct.unpack(">II", whole[at : at + 8]))
    wrong = [0, 1, 12, 15, 16, 17, 2**16, 2**24, 2**31, 2**32 - 1, sizes[0] - 1, sizes[0] + 1]
    sizes[rng.randrange(2)] = rng.choice(wrong)
    lengths = struct.pack(">II", *sizes)
    return whole[:at] + lengths + struct.pack(">I", zlib.crc32(lengths)) + whole[at + 12 :]


BREAKS: Sequence[Callable[[random.Random, bytes], bytes]] = (
    flipped,
    cut,
    bitten,
    stuffed,
    mismeasured,
)


# -- messages that are whole, and not what they should be ------------------------------------------


def shuffled(rng: random.Random, chunks: Sequence[Any]) -> list[Any]:
    """Chunks that are doubled, missing, or in another order."""
    order = [chunk for chunk in chunks for _ in range(rng.choice([0, 1, 1, 1, 1, 2, 3]))]
    if rng.random() < 0.5:
        rng.shuffle(order)
    return order


def poisoned(rng: random.Random, value: Any) -> Any:
    """A JSON value with something else in one place."""
    if rng.random() < 0.2 or not isinstance(value, dict | list) or not value:
        return rng.choice(HURTFUL)
    if isinstance(value, list):
        at = rng.randrange(len(value))
        return [*value[:at], poisoned(rng, value[at]), *value[at + 1 :]]
    name = rng.choice(list(value))
    return {**value, name: poisoned(rng, value[name])}


def hostile(rng: random.Random) -> bytes:
    """A message with right checksums that Bedrock would not send."""
    payloads = [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"bytes":null}',
        b'{"bytes":7}',
        b'{"bytes":"%%%"}',
        b'{"bytes":"e30"}',
        b'{"p":"abc"}',
        b"\xff\xfe",
        json.dumps({"bytes": base64.b64encode(b"[" * 20_000).decode()}).encode(),
        json.dumps({"bytes": base64.b64encode(rng.randbytes(9)).decode()}).encode(),
        json.dumps({"bytes": base64.b64encode(b"1e999").decode(), "message": []}).encode(),
    ]
    headers = {
        name: rng.choice([value, value, "", "nothing-known", "é"]) for name, value in EVENT.items()
    }
    kinds = ["exception", "error", "event", "event"]
    headers[":message-type"] = rng.choice(kinds)
    if headers[":message-type"] == "exception":
        headers[":exception-type"] = rng.choice(["throttlingException", "x", "", "chunk"])
    elif headers[":message-type"] == "error" and rng.random() < 0.5:
        headers[":error-code"] = rng.choice(["", "InternalFailure"])
    for name in list(headers):
        if rng.random() < 0.1:
            del headers[name]
    return eventstream.encode(headers, rng.choice(payloads))


def spoilt(rng: random.Random, stream: Stream) -> list[bytes]:
    """The stream's messages, one of them poisoned or hostile."""
    messages = [eventstream.chunk(chunk) for chunk in stream.chunks]
    at = rng.randrange(len(messages))
    if rng.random() < 0.5:
        messages.insert(at, hostile(rng))
    else:
        document = json.dumps(poisoned(rng, stream.chunks[at])).encode()
        payload = json.dumps({"bytes": base64.b64encode(document).decode()}).encode()
        messages[at] = eventstream.encode(EVENT, payload)
    return messages


# -- what must hold --------------------------------------------------------------------------------


def one_end(got: Sequence[StreamItem], failure: ChatError | None) -> None:
    """Text that can be written, then the one stop or the one failure."""
    stops = [isinstance(event, Stopped) for event in got]
    assert [False] * (len(got) - 1) + [failure is None] == stops if got else failure
    assert failure is None or failure.code in CODES
    for event in got:
        if isinstance(event, TextDelta | ReasoningDelta):
            event.text.encode()


def inputs() -> Iterator[tuple[int, random.Random, Stream]]:
    for number in range(FUZZ_FROM, FUZZ_FROM + FUZZ // 3):
        rng = random.Random(number)
        yield number, rng, STREAMS[rng.choice(list(STREAMS))]


@pytest.mark.timeout(60 + FUZZ // 50)
def test_broken_bytes() -> None:
    """Nothing is told that the model did not say before the break, and the end is one failure."""
    for number, rng, stream in inputs():
        whole = b"".join(map(eventstream.chunk, stream.chunks))
        got, failure = heard(stream.family, pieces(rng, rng.choice(BREAKS)(rng, whole)))
        one_end(got, failure)
        assert stream.text.startswith(text(got)), number
        assert failure is not None or stream.text == text(got), number


@pytest.mark.timeout(60 + FUZZ // 50)
def test_messages_in_disorder() -> None:
    """What is told is what the messages say, one after the other, as they came."""
    for number, rng, stream in inputs():
        order = shuffled(rng, stream.chunks)
        got, failure = heard(stream.family, pieces(rng, b"".join(map(eventstream.chunk, order))))
        one_end(got, failure)
        said = events(stream.family, *(chunk for chunk in order if isinstance(chunk, dict)))
        assert text(said) == text(got), number
        assert any(isinstance(event, Stopped) for event in said) == (failure is None), number


@pytest.mark.timeout(60 + FUZZ // 50)
def test_hostile_messages() -> None:
    """No JSON, no header and no payload is a crash or a hang: it is passed over, or one failure."""
    for number, rng, stream in inputs():
        messages = spoilt(rng, stream)
        got, failure = heard(stream.family, pieces(rng, b"".join(messages)))
        one_end(got, failure)
        assert failure is None or "Traceback" not in failure.message, number

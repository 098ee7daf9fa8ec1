"""Random defects in event streams, read through botocore's decoder and ours.

Each input is made from a number: a complete stream of some family, then one mutation. A failure
reports its number: `FUZZ_FROM=12345 FUZZ=3` repeats it. `FUZZ=100000` tries so many; by default the
same few thousand are tried every time, without coverage.

The bytes are passed to botocore's own `EventStream` in pieces of any size; only the socket is left
out (tests/local/bedrock has broken ones).
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
from test_bedrock_stream import user_prompt

from bedrock_stream import Model, StreamItem, open_stream
from errors import CODES, ChatError
from families.registry import family_of
from families.types import ReasoningDelta, Stopped, TextDelta
from local.bedrock import eventstream

FUZZ = int(os.environ.get("FUZZ", "3000"))
FUZZ_FROM = int(os.environ.get("FUZZ_FROM", "0"))

OPERATION = "InvokeModelWithResponseStream"
UNEXPECTED_VALUES: list[Any] = [
    *(None, True, 0, -1, 10**400, 1.5, "", "x", "\ud800", "[DONE]", "\x00", "<think>", "é🙂"),
    *([], {}, [[]], [None], [{}], {"text": None}, {"text": []}, {"": {}}, [[[[[]]]]]),
]
EVENT = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}


class Raw:
    """A response body that arrives in these pieces."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces

    def stream(self) -> Iterator[bytes]:
        yield from self._pieces

    def close(self) -> None:
        pass

    def shutdown(self) -> None:
        pass


class Bedrock:
    """A client whose call returns these bytes, as botocore reads them."""

    shape: Any = None

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = pieces

    def invoke_model_with_response_stream(self, **_: Any) -> Any:
        if Bedrock.shape is None:
            model = boto3.client("bedrock-runtime").meta.service_model
            Bedrock.shape = model.operation_model(OPERATION).get_event_stream_output()
        raw: Any = Raw(self._pieces)
        return {"body": EventStream(raw, Bedrock.shape, EventStreamJSONParser(), OPERATION)}


def read(family: str, pieces: Sequence[bytes]) -> tuple[list[StreamItem], ChatError | None]:
    """The items read from a stream, and the failure that ended it, if any."""
    client: Any = Bedrock(pieces)
    items: list[StreamItem] = []
    model = Model(client, "", family_of("", family))
    with open_stream(model, user_prompt("hi"), time.monotonic() + 60, 60) as batches:
        try:
            for batch in batches:
                items += batch
        except ChatError as error:
            return items, error
    return items, None


def text(items: Sequence[StreamItem]) -> str:
    return "".join(event.text for event in items if isinstance(event, TextDelta))


def pieces(rng: random.Random, stream: bytes) -> list[bytes]:
    """Cuts the bytes at random positions, as a network may deliver them."""
    cuts = sorted(rng.randrange(len(stream) + 1) for _ in range(rng.randrange(6)))
    return [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


# -- bytes damaged in transit ----------------------------------------------------------------------


def flipped(rng: random.Random, stream: bytes) -> bytes:
    """Changes some bytes."""
    damaged = bytearray(stream)
    for _ in range(rng.randrange(1, 4)):
        damaged[rng.randrange(len(damaged))] ^= rng.randrange(1, 256)
    return bytes(damaged)


def cut(rng: random.Random, stream: bytes) -> bytes:
    """Removes the end."""
    return stream[: rng.randrange(len(stream))]


def shortened(rng: random.Random, stream: bytes) -> bytes:
    """Removes bytes in the middle."""
    at = rng.randrange(len(stream))
    return stream[:at] + stream[at + rng.randrange(1, 40) :]


def lengthened(rng: random.Random, stream: bytes) -> bytes:
    """Inserts random bytes."""
    at = rng.randrange(len(stream))
    return stream[:at] + rng.randbytes(rng.randrange(1, 40)) + stream[at:]


def mislabelled(rng: random.Random, stream: bytes) -> bytes:
    """Changes a length, and the checksum over the lengths with it."""
    starts = [0]
    while (end := starts[-1] + int.from_bytes(stream[starts[-1] : starts[-1] + 4])) < len(stream):
        starts.append(end)
    at = rng.choice(starts)
    sizes = list(struct.unpack(">II", stream[at : at + 8]))
    wrong = [0, 1, 12, 15, 16, 17, 2**16, 2**24, 2**31, 2**32 - 1, sizes[0] - 1, sizes[0] + 1]
    sizes[rng.randrange(2)] = rng.choice(wrong)
    lengths = struct.pack(">II", *sizes)
    return stream[:at] + lengths + struct.pack(">I", zlib.crc32(lengths)) + stream[at + 12 :]


BREAKS: Sequence[Callable[[random.Random, bytes], bytes]] = (
    flipped,
    cut,
    shortened,
    lengthened,
    mislabelled,
)


# -- intact messages with unexpected content -------------------------------------------------------


def shuffled(rng: random.Random, chunks: Sequence[Any]) -> list[Any]:
    """Duplicates, removes or reorders chunks."""
    order = [chunk for chunk in chunks for _ in range(rng.choice([0, 1, 1, 1, 1, 2, 3]))]
    if rng.random() < 0.5:
        rng.shuffle(order)
    return order


def corrupted(rng: random.Random, value: Any) -> Any:
    """Replaces one part of a JSON value with an unexpected one."""
    if rng.random() < 0.2 or not isinstance(value, dict | list) or not value:
        return rng.choice(UNEXPECTED_VALUES)
    if isinstance(value, list):
        at = rng.randrange(len(value))
        return [*value[:at], corrupted(rng, value[at]), *value[at + 1 :]]
    name = rng.choice(list(value))
    return {**value, name: corrupted(rng, value[name])}


def hostile(rng: random.Random) -> bytes:
    """Returns a message with valid checksums that Bedrock would not send."""
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
        name: rng.choice([value, value, "", "unknown", "é"]) for name, value in EVENT.items()
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


def with_one_bad_message(rng: random.Random, stream: Stream) -> list[bytes]:
    """Returns the stream's messages, one of them corrupted or hostile."""
    messages = [eventstream.chunk(chunk) for chunk in stream.chunks]
    at = rng.randrange(len(messages))
    if rng.random() < 0.5:
        messages.insert(at, hostile(rng))
    else:
        document = json.dumps(corrupted(rng, stream.chunks[at])).encode()
        payload = json.dumps({"bytes": base64.b64encode(document).decode()}).encode()
        messages[at] = eventstream.encode(EVENT, payload)
    return messages


# -- invariants ------------------------------------------------------------------------------------


def assert_one_end(items: Sequence[StreamItem], failure: ChatError | None) -> None:
    """Asserts that all text can be encoded, and that one stop or one failure is last."""
    stops = [isinstance(event, Stopped) for event in items]
    assert [False] * (len(items) - 1) + [failure is None] == stops if items else failure
    assert failure is None or failure.code in CODES
    for event in items:
        if isinstance(event, TextDelta | ReasoningDelta):
            event.text.encode()


def inputs() -> Iterator[tuple[int, random.Random, Stream]]:
    for number in range(FUZZ_FROM, FUZZ_FROM + FUZZ // 3):
        rng = random.Random(number)
        yield number, rng, STREAMS[rng.choice(list(STREAMS))]


@pytest.mark.usefixtures("without_coverage")
@pytest.mark.timeout(60 + FUZZ // 50)
def test_damaged_bytes_end_in_one_failure() -> None:
    """The text is a prefix of the model's."""
    for number, rng, stream in inputs():
        original = b"".join(map(eventstream.chunk, stream.chunks))
        items, failure = read(stream.family, pieces(rng, rng.choice(BREAKS)(rng, original)))
        assert_one_end(items, failure)
        assert stream.text.startswith(text(items)), number
        assert failure is not None or stream.text == text(items), number


@pytest.mark.usefixtures("without_coverage")
@pytest.mark.timeout(60 + FUZZ // 50)
def test_messages_are_read_in_the_order_of_arrival() -> None:
    """Including duplicated, missing and reordered ones."""
    for number, rng, stream in inputs():
        order = shuffled(rng, stream.chunks)
        items, failure = read(stream.family, pieces(rng, b"".join(map(eventstream.chunk, order))))
        assert_one_end(items, failure)
        expected = events(stream.family, *(chunk for chunk in order if isinstance(chunk, dict)))
        assert text(expected) == text(items), number
        assert any(isinstance(event, Stopped) for event in expected) == (failure is None), number


@pytest.mark.usefixtures("without_coverage")
@pytest.mark.timeout(60 + FUZZ // 50)
def test_a_hostile_message_is_ignored_or_ends_in_one_failure() -> None:
    """No JSON, header or payload crashes or blocks the reader."""
    for number, rng, stream in inputs():
        messages = with_one_bad_message(rng, stream)
        items, failure = read(stream.family, pieces(rng, b"".join(messages)))
        assert_one_end(items, failure)
        assert failure is None or "Traceback" not in failure.message, number

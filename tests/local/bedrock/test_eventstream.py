"""The encoder against independent decoders: botocore's, Smithy's for Python and for npm."""

import asyncio
import base64
import json
import random
import shutil
import subprocess
from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from local.bedrock import eventstream

E2E = Path(__file__).parents[2] / "e2e"
CHUNK_HEADERS = {
    ":event-type": "chunk",
    ":content-type": "application/json",
    ":message-type": "event",
}

names = st.text(min_size=1, max_size=60).filter(lambda name: len(name.encode()) <= 255)
messages = st.tuples(st.dictionaries(names, st.text(max_size=200), max_size=6), st.binary())


def decoded(data: bytes, cuts: Sequence[int] = ()) -> list[tuple[Any, bytes]]:
    """Returns what botocore decodes from the bytes, received in pieces cut at these offsets."""
    buffer = EventStreamBuffer()
    found = []
    for start, end in pairwise([0, *sorted(cuts), len(data)]):
        buffer.add_data(data[start:end])
        found += [(message.headers, message.payload) for message in buffer]
    return found


def examples() -> list[tuple[dict[str, str], bytes]]:
    """Returns many messages, the same in every run, including the format's limits."""
    dice = random.Random(20)
    letters = "abc:-_ZÄ漢😀 "

    def word(most: int) -> str:
        return "".join(dice.choices(letters, k=dice.randint(1, most)))

    made = [
        (
            {word(9): word(50) for _ in range(dice.randint(0, 5))},
            dice.randbytes(dice.randint(0, 999)),
        )
        for _ in range(300)
    ]
    edges = [
        ({}, b""),
        (CHUNK_HEADERS, b'{"bytes":"e30=","p":"abcd"}'),
        ({"n" * 255: ""}, b"\0"),
        ({"a": "v" * eventstream.MAX_HEADER_VALUE_BYTES}, b"\xff" * 70_000),
    ]
    return made + edges


@given(st.lists(messages, max_size=4), st.data())
def test_botocore_decodes_messages_cut_anywhere(
    sent: list[tuple[dict[str, str], bytes]], data: st.DataObject
) -> None:
    """Headers and payloads are unchanged, for any sequence of messages and any cuts."""
    wire = b"".join(eventstream.encode(headers, payload) for headers, payload in sent)
    cuts = data.draw(st.lists(st.integers(0, len(wire)), max_size=5))

    assert sent == decoded(wire, cuts)


@pytest.fixture(scope="module")
def npm() -> list[dict[str, Any]]:
    """Returns what @smithy/eventstream-codec decodes from our messages, and its own encoding."""
    node = shutil.which("node")
    if node is None or not (E2E / "node_modules" / "@smithy").exists():
        pytest.skip("the npm codec is not installed: npm ci --prefix tests/e2e")
    requests = [
        {
            "headers": headers,
            "payload": base64.b64encode(payload).decode(),
            "message": base64.b64encode(eventstream.encode(headers, payload)).decode(),
        }
        for headers, payload in examples()
    ]
    done = subprocess.run(
        [node, E2E / "eventstream_codec.mjs"],
        input=json.dumps(requests).encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def test_the_npm_codec_decodes_every_message(npm: list[dict[str, Any]]) -> None:
    """Headers and payloads are unchanged."""
    received = [(one["headers"], base64.b64decode(one["payload"])) for one in npm]

    assert examples() == received


def test_the_npm_codec_encodes_the_same_bytes(npm: list[dict[str, Any]]) -> None:
    """The format has exactly one encoding of a message."""
    theirs = [base64.b64decode(one["message"]) for one in npm]

    assert [eventstream.encode(headers, payload) for headers, payload in examples()] == theirs


def test_smithy_for_python_decodes_and_encodes_the_same() -> None:
    """A third implementation agrees in both directions."""
    events = pytest.importorskip(
        "smithy_aws_event_stream.events",
        reason="smithy-aws-event-stream needs Python 3.12 and the dev extra",
    )

    async def check() -> None:
        for headers, payload in examples():
            ours = eventstream.encode(headers, payload)
            theirs = events.EventMessage(headers=headers, payload=payload).encode()
            event = await events.Event.decode_async(AsyncBytes(ours))

            assert ours == theirs
            assert headers == dict(event.message.headers)
            assert payload == event.message.payload

    asyncio.run(check())


class AsyncBytes(BytesIO):
    """An asynchronous reader, which the Smithy decoder requires."""

    async def read(self, size: int | None = -1) -> bytes:  # type: ignore[override]
        return super().read(size)


def test_a_chunk_has_bedrocks_envelope() -> None:
    """Event type, content type and message type; the JSON in base64, and padding."""
    [(headers, payload)] = decoded(eventstream.chunk({"text": "größer 😀"}))
    envelope = json.loads(payload)

    assert headers == CHUNK_HEADERS
    assert sorted(envelope) == ["bytes", "p"]
    assert json.loads(base64.b64decode(envelope["bytes"])) == {"text": "größer 😀"}
    assert envelope["p"].startswith("ab")


def test_an_exception_names_its_type() -> None:
    """The type is a header, the message is the payload."""
    message = eventstream.exception("throttlingException", {"message": "slow down"})
    expected = {
        ":exception-type": "throttlingException",
        ":content-type": "application/json",
        ":message-type": "exception",
    }

    assert decoded(message) == [(expected, b'{"message":"slow down"}')]


def test_an_error_is_all_headers() -> None:
    """Errors outside of the service's model have a code and a message, and no payload."""
    expected = {":message-type": "error", ":error-code": "Oops", ":error-message": "it broke"}

    assert decoded(eventstream.error("Oops", "it broke")) == [(expected, b"")]


def test_a_bad_checksum_is_detected() -> None:
    """The corrupt message keeps its length: the decoder reads it and then rejects it."""
    message = eventstream.encode({"a": "b"}, b"payload")

    spoilt = eventstream.with_bad_checksum(message)

    assert len(spoilt) == len(message)
    with pytest.raises(ChecksumMismatch):
        decoded(spoilt)


@pytest.mark.parametrize(
    ("headers", "payload"),
    [
        ({"": "v"}, b""),
        ({"é" * 128: "v"}, b""),
        ({"a": "é" * 16_384}, b""),
        ({}, bytes(eventstream.MAX_PAYLOAD_BYTES + 1)),
    ],
    ids=["no name", "long name", "long value", "long payload"],
)
def test_messages_beyond_the_limits_are_not_encoded(
    headers: dict[str, str], payload: bytes
) -> None:
    """Limits are in bytes; exceeding one is an error of the encoder."""
    with pytest.raises(ValueError, match="bytes"):
        eventstream.encode(headers, payload)

"""Encodes the binary messages of Bedrock's streams: `application/vnd.amazon.eventstream`.

Rules:
- Pure: values in, bytes out. No socket, no clock, no randomness.
- A message is `total length | headers length | CRC-32 of both | headers | payload | CRC-32 of all
  before`, integers big-endian. The total length includes the checksums.
- A header is `name length (1 byte) | name | type (1 byte) | value`. Bedrock sends strings only
  (type 7: 2-byte length, UTF-8), so no other type is implemented.

Does not know: what a chunk means (`families.py`), when it is sent (`server.py`), how to decode.
"""

import base64
import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

CONTENT_TYPE = "application/vnd.amazon.eventstream"

MAX_HEADER_NAME_BYTES = 255  # event-stream encoding: the length of a name is one byte
MAX_HEADER_VALUE_BYTES = 32_767  # event-stream encoding: decoders refuse longer strings
MAX_PAYLOAD_BYTES = 16 * 1024 * 1024  # event-stream encoding: 16 MiB

_LENGTHS = struct.Struct(">II")
_CHECKSUM = struct.Struct(">I")
_STRING_HEADER = struct.Struct(">BH")
_STRING_TYPE = 7
# Bedrock pads each chunk with a prefix of this, so that sizes on the wire do not reveal the text.
_PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def encode(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Returns one message. Raises ValueError if a header or the payload exceeds a limit."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a payload has at most {MAX_PAYLOAD_BYTES} bytes")
    head = b"".join(_header(name, value) for name, value in headers.items())
    total = _LENGTHS.size + _CHECKSUM.size + len(head) + len(payload) + _CHECKSUM.size
    lengths = _LENGTHS.pack(total, len(head))
    message = lengths + _CHECKSUM.pack(zlib.crc32(lengths)) + head + payload
    return message + _CHECKSUM.pack(zlib.crc32(message))


def _header(name: str, value: str) -> bytes:
    name_bytes, value_bytes = name.encode(), value.encode()
    if not 0 < len(name_bytes) <= MAX_HEADER_NAME_BYTES:
        raise ValueError(f"a header's name has 1 to {MAX_HEADER_NAME_BYTES} bytes")
    if len(value_bytes) > MAX_HEADER_VALUE_BYTES:
        raise ValueError(f"a header's value has at most {MAX_HEADER_VALUE_BYTES} bytes")
    value_head = _STRING_HEADER.pack(_STRING_TYPE, len(value_bytes))
    return bytes([len(name_bytes)]) + name_bytes + value_head + value_bytes


def chunk(document: Mapping[str, Any] | str) -> bytes:
    """Returns a `chunk` event: a JSON object or string in the model's native shape."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    padding = _PADDING[: 2 + len(text) % (len(_PADDING) - 2)]
    return event("chunk", {"bytes": base64.b64encode(text).decode(), "p": padding})


def event(kind: str, document: Mapping[str, Any]) -> bytes:
    """Returns an event message. Bedrock's own is `chunk`; clients ignore unknown ones."""
    headers = {
        ":event-type": kind,
        ":content-type": "application/json",
        ":message-type": "event",
    }
    return encode(headers, _json(document))


def exception(kind: str, document: Mapping[str, Any]) -> bytes:
    """Returns a modelled error; `kind` is lowerCamel, such as `throttlingException`."""
    headers = {
        ":exception-type": kind,
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return encode(headers, _json(document))


def error(code: str, message: str) -> bytes:
    """Returns an error outside of the service's model: everything is in the headers."""
    return encode({":message-type": "error", ":error-code": code, ":error-message": message}, b"")


def with_bad_checksum(message: bytes) -> bytes:
    """Returns the message with one bit of its last checksum changed."""
    return message[:-1] + bytes([message[-1] ^ 1])


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()

"""msgspec's JSON without JSON Schema: schemas are made by tools/, never in Lambda."""

from msgspec import _core

Decoder, Encoder = _core.JSONDecoder, _core.JSONEncoder
decode, encode, format = _core.json_decode, _core.json_encode, _core.json_format  # noqa: A001

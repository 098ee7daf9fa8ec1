"""The generated schema is as strict as the protocol, and its definitions keep their names."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.e2e_clients import SERVER, validator

from tools import protocol_schema

SCHEMA = protocol_schema.schema()
DEFS: Mapping[str, Any] = SCHEMA["$defs"]
CLIENT = validator("client")

CLIENT_FRAMES = [each["$ref"].rpartition("/")[2] for each in DEFS["client"]["anyOf"]]
SERVER_FRAMES = [each["$ref"].rpartition("/")[2] for each in DEFS["server"]["oneOf"]]

VERSION_1_CLIENT = [
    f"client_{name}"
    for name in ("chat", "part", "continue", "stop", "resume", "history", "clear", "ping")
]
VERSION_1_SERVER = (
    "start",
    "delta",
    "reasoning",
    "history",
    "done",
    "error",
    "pong",
    "gateway_error",
)

# Every example of a frame that the server sends, and of one that a client sends.
RECEIVED = [(name, each) for name in (*SERVER_FRAMES, "seed") for each in DEFS[name]["examples"]]
SENT = [(name, each) for name in CLIENT_FRAMES for each in DEFS[name]["examples"]]


def test_it_is_a_json_schema() -> None:
    """Of draft 2020-12."""
    assert "https://json-schema.org/draft/2020-12/schema" == SCHEMA["$schema"]
    Draft202012Validator.check_schema(SCHEMA)


def test_definitions_keep_their_names() -> None:
    """Programs refer to them: version 1 adds names, and removes none."""
    assert set(VERSION_1_CLIENT) <= set(CLIENT_FRAMES)
    assert set(VERSION_1_SERVER) <= set(SERVER_FRAMES)
    assert {"id", "client", "server", "seed", "turn", "usage"} <= DEFS.keys()


@pytest.mark.parametrize(("name", "frame"), RECEIVED)
def test_a_frame_of_the_server_has_no_other_and_no_null_fields(
    name: str, frame: dict[str, Any]
) -> None:
    """The check of all traffic finds a field that was renamed, misspelt or left empty."""
    one = validator(name)
    one.validate(frame)

    assert not one.is_valid({**frame, "surplus": 1})
    for field in frame:
        assert not one.is_valid({**frame, field: None}), field
    for field in DEFS[name]["required"]:
        assert not one.is_valid({key: each for key, each in frame.items() if key != field}), field


@pytest.mark.parametrize(("name", "frame"), SENT)
def test_a_frame_of_a_client_can_have_other_fields(name: str, frame: dict[str, Any]) -> None:
    """And null for an id that is not required."""
    validator(name).validate({**frame, "surplus": 1})
    for field in ("request_id", "session_id"):
        optional = field not in DEFS[name]["required"]
        assert optional == CLIENT.is_valid({**frame, field: None}), field


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "nope", "request_id": "r", "seq": 0},
        {"type": "delta", "request_id": "r", "seq": -1, "text": "x"},
        {"type": "delta", "request_id": "r", "seq": 1, "text": ""},
        {"type": "delta", "request_id": "r\n", "seq": 1, "text": "x"},
        {"type": "done", "request_id": "r", "seq": 1, "stop_reason": "nope"},
        {"type": "done", "request_id": "r", "seq": 1, "latency_ms": {"first_token": 1}},
        {"type": "done", "request_id": "r", "seq": 1, "usage": {"tokens": 1}},
        {"type": "error", "request_id": "r", "seq": 1, "code": "nope", "message": "x"},
        {"type": "history", "request_id": "r", "seq": 1, "turns": [{"turn": 1}]},
        {"message": "Something else", "connectionId": "c=", "requestId": "r"},
        {},
    ],
    ids=json.dumps,
)
def test_a_frame_that_the_server_never_sends_is_refused(frame: dict[str, Any]) -> None:
    """By `#/$defs/server`."""
    assert not SERVER.is_valid(frame)

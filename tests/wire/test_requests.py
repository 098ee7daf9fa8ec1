import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.fuzzing import fuzz

from errors import CODES, ChatError
from wire.requests import (
    MAX_HISTORY_LIMIT,
    Chat,
    Clear,
    Continue,
    History,
    Part,
    Ping,
    Request,
    Resume,
    Stop,
    parse,
    request_id_in,
    valid_id,
)

FUZZ = int(os.environ.get("FUZZ", "9500"))  # FUZZ=100000 for a longer run


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "  hello\n",
        "5",
        "true",
        '"quoted"',
        "[draft] please read",
        "a { b",
        "null",
        "\x00",
        "é 🙂 \u2028",
        "/script {}",
    ],
)
def test_plain_text_is_chat(text: str) -> None:
    """Text that is not a JSON object or array is a chat message."""
    assert Chat(body=text) == parse(text)


@pytest.mark.parametrize(
    ("frame", "request_"),
    [
        ({"body": "hi"}, Chat(body="hi")),
        ({"action": "chat", "body": "hi"}, Chat(body="hi")),
        (
            {"action": "chat", "body": "hi", "request_id": "r-1", "session_id": "s_1"},
            Chat(body="hi", request_id="r-1", session_id="s_1"),
        ),
        (
            {"user_id": "u", "request_id": "r", "type": "text", "body": "x", "convType": "n"},
            Chat(body="x", request_id="r"),
        ),
        ({"continue": True}, Continue(continue_=True)),
        ({"continue": False, "body": "x"}, Chat(body="x")),
        ({"action": "stop"}, Stop()),
        ({"action": "stop", "request_id": "r"}, Stop(request_id="r")),
        ({"action": "resume", "request_id": "r"}, Resume(request_id="r", from_seq=0)),
        (
            {"action": "resume", "request_id": "r", "from_seq": 7.0},
            Resume(request_id="r", from_seq=7),
        ),
        (
            {"body": " ", "part": 2, "parts": 2, "request_id": "r"},
            Part(body=" ", number=2, count=2, request_id="r"),
        ),
        ({"action": "history"}, History(limit=20)),
        (
            {"action": "history", "limit": 100, "session_id": "s"},
            History(limit=100, session_id="s"),
        ),
        ({"action": "history", "limit": 2.0}, History(limit=2)),
        ({"action": "clear", "request_id": None}, Clear()),
        ({"action": "ping", "request_id": "L0SM9cOFvHcCIhw="}, Ping(request_id="L0SM9cOFvHcCIhw=")),
    ],
)
def test_json_is_routed_by_action(frame: dict[str, object], request_: object) -> None:
    """Each action has its request, with its fields; a frame of the seed's client is a chat."""
    assert request_ == parse(json.dumps(frame))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "the message must be UTF-8 text"),
        ("", "empty"),
        (" \n", "empty"),
        ('{"action":"chat"}', "body is missing"),
        ('{"action":"chat","body":5}', "body must be text"),
        ('{"action":"chat","body":""}', "not only white space"),
        ('{"body":null}', "body must be text"),
        ('{"body":["a"]}', "body must be text"),
        ('{"body":"  \\n"}', "not only white space"),
        ('{"body":"\\ud800"}', "surrogate"),
        ("\ud800", "surrogate"),
        ('{"action":"nope","body":"x"}', "action must be one of chat, stop, resume, history, "),
        ('{"action":5}', "action must be"),
        ('{"action":null,"body":"x"}', "action must be"),
        ('{"action":["chat"],"body":"x"}', "action must be"),
        ("[]", "array"),
        ('{"action":"resume"}', "request_id is missing"),
        ('{"action":"resume","request_id":"r","from_seq":-1}', "from_seq must be"),
        ('{"action":"resume","request_id":"r","from_seq":"1"}', "from_seq must be"),
        ('{"continue":"yes"}', "continue must be true or false"),
        ('{"continue":true,"body":"x"}', "continue takes no body"),
        ('{"body":"x","part":1,"parts":2}', "request_id is missing"),
        ('{"body":"x","part":3,"parts":2,"request_id":"r"}', "part must be .* from 1 to 2"),
        ('{"body":"x","part":0,"parts":2,"request_id":"r"}', "part must be"),
        ('{"body":"x","part":1,"request_id":"r"}', "parts is missing"),
        ('{"body":"x","parts":33,"part":1,"request_id":"r"}', "parts must be"),
        ('{"body":5,"part":1,"parts":2,"request_id":"r"}', "body must be text"),
        ('{"body":"\\ud800","part":1,"parts":2,"request_id":"r"}', "surrogate"),
        ("[1, 2]", "array"),
        ('{"body": "x"', "must be a JSON object"),
        ("{" * 100_000, "must be a JSON object"),
        ('{"a":' * 100_000, "must be a JSON object"),
        ('{"a":' + "9" * 5000 + "}", "must be a JSON object"),
        ('{"action":"history","limit":"many"}', "limit must be"),
        ('{"action":"history","limit":0}', "limit must be"),
        ('{"action":"history","limit":101}', "limit must be"),
        ('{"action":"history","limit":true}', "limit must be"),
        ('{"action":"history","limit":2.5}', "limit must be"),
        ('{"action":"history","limit":[1]}', "limit must be"),
        ('{"action":"history","limit":NaN}', "limit must be"),
        ('{"action":"chat","body":"x","request_id":{"a":1}}', "request_id must be"),
        ('{"action":"chat","body":"x","request_id":""}', "request_id must be"),
        ('{"action":"chat","body":"x","request_id":"' + "r" * 129 + '"}', "request_id must be"),
        ('{"action":"chat","body":"x","session_id":"../../etc"}', "session_id must be"),
        ('{"action":"chat","body":"x","session_id":"a\\nb"}', "session_id must be"),
        ('{"action":"chat","body":"x","session_id":"a\\n"}', "session_id must be"),
    ],
)
def test_an_invalid_frame_is_refused_with_the_reason(raw: str | None, reason: str) -> None:
    """The code is `invalid_request`, and the message states the reason."""
    with pytest.raises(ChatError, match=reason) as refused:
        parse(raw)

    assert ("invalid_request", False) == (refused.value.code, refused.value.retryable)


def test_brackets_too_deep_for_the_parser_are_text() -> None:
    """Text that begins with [ and is not JSON is chat, however deep it is nested."""
    assert Chat(body="[" * 100_000) == parse("[" * 100_000)


@given(st.text(max_size=300) | st.text(alphabet='{}[]",:\\ua0eE-.', max_size=60))
def test_any_text_is_a_request_or_refused(raw: str) -> None:
    """`parse` raises nothing but `invalid_request`."""
    try:
        result: object = parse(raw)
    except ChatError as error:
        result = error.code

    assert result == "invalid_request" or isinstance(result, Request)


SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "protocol.schema.json").read_text("utf-8")
)
CLIENT = Draft202012Validator({"$ref": "#/$defs/client", "$defs": SCHEMA["$defs"]})

# Every action, and every field of any action.
FRAMES = [each["properties"] for name, each in SCHEMA["$defs"].items() if "client_" in name]
ACTIONS = sorted({each["action"]["const"] for each in FRAMES})
FIELDS = sorted({field for each in FRAMES for field in each} - {"action"})

ids = st.text(alphabet="aZ0_.:=@+-/ \n", max_size=6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 120) | st.floats() | ids | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)


@example({"action": "history", "limit": 2.0})
@example({"action": "history", "limit": True})
@example({"body": "x", "request_id": "a\n"})
@example({"action": "ping", "session_id": []})
@example({"continue": True})
@example({"continue": True, "parts": None})
@example({"continue": True, "body": None})
@example({"continue": False, "body": "x", "part": None})
@example({"action": "resume", "request_id": "r", "from_seq": 1e9})
@example({"action": "stop", "request_id": ""})
@example({"body": " ", "part": 1, "parts": 2.0, "request_id": "r"})
@example({"body": "", "part": 2, "parts": 1, "request_id": "r"})
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "action": json_values | st.sampled_from(ACTIONS),
            **dict.fromkeys(FIELDS, json_values),
        },
    )
)
def test_the_schema_and_the_parser_accept_the_same_objects(fields: dict[str, object]) -> None:
    """`parse` accepts exactly the objects that the published schema allows."""
    allowed = CLIENT.is_valid(fields)
    is_chat = fields.get("action", "chat") == "chat" and fields.get("continue") is not True
    if allowed and "parts" in fields and is_chat:
        part, parts = fields["part"], fields["parts"]
        assert isinstance(part, int | float)
        assert isinstance(parts, int | float)
        allowed = part <= parts  # a schema cannot compare two fields
    try:
        request = parse(json.dumps(fields))
    except ChatError:
        assert not allowed
        return

    assert allowed
    assert request.request_id is None or valid_id(request.request_id)
    assert request.session_id is None or valid_id(request.session_id)
    if isinstance(request, Chat):
        assert request.body.strip()
    if isinstance(request, History):
        assert 1 <= request.limit <= MAX_HISTORY_LIMIT


@pytest.mark.parametrize(
    ("raw", "request_id"),
    [
        ('{"action":"nope","request_id":"r-1"}', "r-1"),
        ('{"body":5,"request_id":"r-1"}', "r-1"),
        ('{"body":"x","request_id":5}', None),
        ('{"body":"x","request_id":"' + "r" * 5000 + '"}', None),
        ('{"action":"stop","request_id":"another"}', None),
        ('{"action":"resume","request_id":"another"}', None),
        ('{"body":"\\ud800","request_id":"r-1"}', "r-1"),
        ('{"body":"x","request_id":"r-1","request_id":"r-2"}', "r-2"),
        ("plain", None),
        ("{broken", None),
        ("[]", None),
        (None, None),
    ],
)
def test_an_invalid_frame_has_a_request_id(raw: str | None, request_id: str | None) -> None:
    """An error carries the client's own id, even if the rest of the frame is invalid."""
    assert request_id == request_id_in(raw)


@pytest.mark.usefixtures("without_coverage")
def test_each_fuzzed_frame_is_a_request_or_refused() -> None:
    """Each of thousands is a valid request or `invalid_request`.

    500 more go through the complete stack (tests/e2e/test_bad_input.py).
    """
    rng, codes = random.Random(FUZZ), set()
    for _ in range(FUZZ):
        raw = fuzz(rng)
        assert request_id_in(raw) is None or valid_id(request_id_in(raw))
        try:
            request = parse(raw)
        except ChatError as error:
            codes.add(error.code)
            continue
        for value in (request.request_id, request.session_id):
            assert value is None or valid_id(value), raw
        if isinstance(request, Chat):
            assert request.body.strip().encode(), raw
    assert {"invalid_request"} == codes


def test_an_error_is_retryable_as_its_code_is() -> None:
    """Unless the error itself states otherwise."""
    for code, each in CODES.items():
        assert each.retryable is ChatError(code, "No.").retryable
        assert (not each.retryable) is ChatError(
            code, "No.", retryable=not each.retryable
        ).retryable


def test_an_error_with_an_undocumented_code_cannot_be_made() -> None:
    """Every code that a client receives is documented."""
    with pytest.raises(KeyError):
        ChatError("whatever", "No.")

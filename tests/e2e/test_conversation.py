"""Conversations over the whole local stack, as any client has them."""

import contextlib
import json
import re
import secrets
import time
from itertools import pairwise
from typing import Any

import pytest
from support.e2e_clients import PATIENCE, Client, client, endless, script, text
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect


def test_an_answer_arrives_while_the_model_still_writes_it(client: Client) -> None:
    """Delta after delta: it can be stopped after several of them."""
    client.send(endless())
    frames = [client.receive() for _ in range(6)]

    assert ["start"] + ["delta"] * 5 == [frame["type"] for frame in frames]
    client.stop()


def test_a_turn_reports_usage_and_times(client: Client) -> None:
    """Start names the session and the model, done the reason, the tokens and the times."""
    frames = client.say({"body": "hello", "request_id": "mine-1"})

    assert "You said: hello" == text(frames)
    assert "mine-1" == frames[0]["request_id"]
    assert "global.anthropic.claude-sonnet-4-6" == frames[0]["model"] == frames[-1]["model"]
    assert "end_turn" == frames[-1]["stop_reason"]
    assert frames[-1]["usage"]["output_tokens"] > 0
    assert {"first_token", "total"} == set(frames[-1]["latency_ms"])


def test_the_conversation_is_remembered(stack: str) -> None:
    """By the connection, and by another connection of its session."""
    with client(stack) as one:
        session_id = one.say("my name is Zanzibar")[0]["session_id"]
        assert "Zanzibar" in text(one.script(echo=True))
    with client(stack, session_id=session_id) as again:
        assert "Zanzibar" in text(again.script(echo=True))
    with client(stack) as other:
        echo = {"body": script(echo=True), "session_id": session_id}
        assert "Zanzibar" in text(other.say(echo))


def test_two_people_never_see_each_other(stack: str) -> None:
    """They share one function, warm, and their words stay apart."""
    with client(stack) as one, client(stack) as two:
        one.say("the word is Zanzibar")
        assert [] == two.say({"action": "history"})[0]["turns"]
        assert "Zanzibar" not in text(two.script(echo=True))
        assert "Zanzibar" in text(one.script(echo=True))


def test_history_and_clear(client: Client) -> None:
    """The turns are sent oldest first, and gone after clear."""
    for word in ("one", "two", "three"):
        client.say(word)
    frames = client.say({"action": "history", "limit": 2})
    turns = [(turn["user"], turn["assistant"]) for turn in frames[0]["turns"]]

    assert [("two", "You said: two"), ("three", "You said: three")] == turns
    assert 3 == client.say({"action": "clear"})[-1]["cleared"]
    assert [] == client.say({"action": "history"})[0]["turns"]
    assert "three" not in text(client.script(echo=True))


def test_long_turns_come_back_whole(client: Client) -> None:
    """Answers and histories far longer than a frame are split and lose nothing."""
    answer = client.script(chunks=200, text="é🙂" * 100)
    frames = client.say({"action": "history"})

    assert "é🙂" * 20_000 == text(answer)
    entries = [turn for frame in frames for turn in frame.get("turns", [])]
    assert "é🙂" * 20_000 == "".join(turn["assistant"] for turn in entries)


def test_a_question_in_several_frames(client: Client) -> None:
    """A message over 32 KB, in frames that each are under it, is one question."""
    question = "Zanzi" + "x" * 100_000 + "bar"
    client.socket.send([question[i : i + 30_000] for i in range(0, len(question), 30_000)])

    assert f"You said: {question}" == text(client.answer())


def test_ping_needs_no_function(client: Client) -> None:
    """The pong is API Gateway's own, and comes while an answer streams."""
    client.say("short")
    client.send({"action": "ping"})
    assert {"type": "pong"} == client.receive()
    client.send(endless())
    client.until("delta")
    client.send({"action": "ping"})
    client.until("pong")
    client.stop()


def test_text_format_is_the_bare_answer(stack: str) -> None:
    """A terminal gets the bare text, and in brackets what else there is to know."""
    with client(stack, "text") as reader:
        reader.send("hello")
        said = str(reader.socket.recv(PATIENCE))
        while said != "You said: hello":
            assert "You said: hello".startswith(said)
            said += str(reader.socket.recv(PATIENCE))
        reader.send('{"action":"nope"}')
        assert str(reader.socket.recv(PATIENCE)).startswith("[error invalid_request: action must")


def test_seed_format_repeats_the_text_so_far(stack: str) -> None:
    """The seed's own messages get the seed's own frames: all the text so far in each."""
    session_id = secrets.token_hex(8)
    asked = {
        "user_id": "u",
        "request_id": "r-1",
        "request_time": "2026-01-01 00:00:00",
        "type": "text",
        "body": endless("ab "),
        "convType": "normal",
    }
    with (
        client(stack, "seed", session_id=session_id) as seed,
        client(stack, session_id=session_id) as other,
    ):
        seed.send("__ping__")
        assert '"__pong__"' == seed.socket.recv(PATIENCE)
        seed.send(asked)
        frames = [seed.receive() for _ in range(5)]
        other.send({"action": "stop"})
        while frames[-1]["status"] == "proceeding":
            frames.append(seed.receive())
        (turn,) = other.say({"action": "history"})[0]["turns"]

    assert {"r-1"} == {frame["request_id"] for frame in frames}
    assert ["proceeding"] * 5 == [frame["status"] for frame in frames[:5]]
    assert ("completed", turn["assistant"]) == (frames[-1]["status"], frames[-1]["msg"])
    for before, after in pairwise(frames):
        assert after["msg"].startswith(before["msg"])


@pytest.mark.parametrize("query", ["format=xml", "session_id=../etc"])
def test_a_bad_query_is_refused_at_connect(stack: str, query: str) -> None:
    """The upgrade itself fails, with a status."""
    with pytest.raises(InvalidStatus) as refused, connect(f"{stack}?{query}"):
        pytest.fail("connected")
    assert 400 == refused.value.response.status_code


BEFORE = [
    "AccessDeniedException",
    "ResourceNotFoundException",
    "ThrottlingException",
    "ModelTimeoutException",
    "InternalServerException",
    "ServiceUnavailableException",
    "ModelStreamErrorException",
    "ValidationException",
    "ServiceQuotaExceededException",
    "ModelNotReadyException",
    "ModelErrorException",
    "ExpiredTokenException",
    "UnrecognizedClientException",
]
INSIDE = [
    "throttlingException",
    "modelStreamErrorException",
    "internalServerException",
    "validationException",
    "modelTimeoutException",
    "serviceUnavailableException",
    "cut",
    "truncate",
    "bad_crc",
    "error",
]


@pytest.mark.parametrize(
    "fault",
    [
        *({"before": name} for name in BEFORE),
        *({"at": 5, "type": name} for name in INSIDE),
        {"at": 5, "type": "throttlingException", "event": True},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
def test_every_fault_of_bedrock_ends_once(client: Client, fault: dict[str, Any]) -> None:
    """One error frame with a code and no secret; what was said is kept; the next turn works."""
    frames = client.script(chunks=20, rate=400, text="w ", fault=fault)

    assert "error" == frames[-1]["type"]
    assert not re.search(r"arn:|Traceback|Exception", json.dumps(frames))
    said = "w " * fault.get("at", 0)
    assert said == text(frames)
    (turn,) = client.say({"action": "history"})[0]["turns"]
    assert ("error", said) == (turn["state"], turn["assistant"])
    assert "You said: still here" == text(client.say("still here"))


def test_a_second_tab_is_busy_during_an_answer(stack: str) -> None:
    """One session, two connections, one answer: the other receives `busy`."""
    with client(stack, session_id=secrets.token_hex(8)) as one:
        session_id = one.say("hello")[0]["session_id"]
        with client(stack, session_id=session_id) as two:
            one.send(endless())
            one.until("start")
            (refused,) = two.say("me too")
            assert ("busy", True) == (refused["code"], refused["retryable"])
            one.stop()
            assert "You said: now" == text(two.say("now"))


def test_of_many_tabs_in_the_same_moment_one_is_answered(stack: str) -> None:
    """Exactly one, however many ask at once."""
    session_id = secrets.token_hex(8)
    with contextlib.ExitStack() as tabs:
        people = [tabs.enter_context(client(stack, session_id=session_id)) for _ in range(6)]
        for one in people:
            one.send(endless())
        first = [str(frame.get("code", frame["type"])) for frame in map(Client.receive, people)]

        assert ["busy"] * 5 + ["start"] == sorted(first)
        people[first.index("start")].stop()


def test_a_request_is_answered_once(client: Client) -> None:
    """The same request_id again is refused as `duplicate`, and costs no second call."""
    asked: dict[str, Any] = {"body": "hello", "request_id": "once"}
    client.say(asked)
    (again,) = client.say(asked)

    assert ("duplicate", False) == (again["code"], again["retryable"])
    assert 1 == len(client.say({"action": "history"})[0]["turns"])


def test_who_leaves_finds_the_answer_saved(stack: str) -> None:
    """The client goes in the middle; the answer is finished and waits in the session."""
    session_id = secrets.token_hex(8)
    with client(stack, session_id=session_id) as one:
        one.send(script(chunks=60, rate=60, text="w "))
        one.until("delta")
    with client(stack, session_id=session_id) as back:
        deadline = time.monotonic() + PATIENCE
        while not (turns := back.say({"action": "history"})[0]["turns"]):
            assert time.monotonic() < deadline
            time.sleep(0.1)

    assert [("complete", "w " * 60)] == [(turn["state"], turn["assistant"]) for turn in turns]

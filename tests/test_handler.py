import base64
import json
import secrets
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import boto3
import pytest
from msgspec.structs import replace
from support.endpoints import ConnectionsEndpoint

import handler
import turn as turn_module
from bedrock_stream import Model, client_config
from errors import ChatError
from families.registry import UnknownModelError, family_of
from log import digest
from memory import Turn
from posting import Poster
from services import Services, build_services
from settings import SettingsError, load
from signing_poster import SigningPoster
from store import leases, sessions
from store.budget import Budget
from store.connections import Connections
from store.conversations import Conversations
from store.leases import Leases
from store.sessions import Sessions
from store.table import Table
from store.uploads import Uploads


@dataclass
class Clock:
    """Lambda's context, with so many milliseconds left."""

    left: int = 60_000

    def get_remaining_time_in_millis(self) -> int:
        return self.left


@dataclass
class Chatting:
    """Events as API Gateway sends them, for a function whose services are real but for AWS."""

    app: Services
    posted: ConnectionsEndpoint
    count: int = 0
    clock: Clock = field(default_factory=Clock)

    def send(self, event_type: str, connection_id: str = "c=", **event: Any) -> dict[str, Any]:
        self.count += 1
        meta = {
            "eventType": event_type,
            "connectionId": connection_id,
            "requestId": f"event-{self.count}",
            "domainName": "example.com",
            "stage": "prod",
            **event.pop("meta", {}),
        }
        return handler.handle(self.app, {"requestContext": meta, **event}, self.clock)

    def connect(
        self, connection_id: str = "c=", principal: str = "", **query: str
    ) -> dict[str, Any]:
        meta = {"authorizer": {"principalId": principal}} if principal else {}
        self.change(auth="jwt" if principal else "none")
        return self.send("CONNECT", connection_id, queryStringParameters=query or None, meta=meta)

    def say(self, body: Any, connection_id: str = "c=", **meta: str) -> list[dict[str, Any]]:
        """Sends a message and gives the frames that were posted because of it."""
        before = len(self.posted.frames)
        text = body if isinstance(body, str) else json.dumps(body)
        assert handler.OK == self.send("MESSAGE", connection_id, body=text, meta=meta)
        return [json.loads(frame) for frame in self.posted.frames[before:]]

    def script(self, **order: Any) -> list[dict[str, Any]]:
        return self.say("/script " + json.dumps(order))

    def change(self, **settings: Any) -> None:
        self.app = replace(self.app, settings=replace(self.app.settings, **settings))

    def turns(self, session_id: str = "s") -> tuple[Turn, ...]:
        return self.app.sessions.history(session_id, "anonymous", 100)[0]


@pytest.fixture
def chatting(table: Table, bedrock: str, connections: ConnectionsEndpoint) -> Chatting:
    client = boto3.client("bedrock-runtime", endpoint_url=bedrock, config=client_config(5.0))
    settings = load({"TABLE_NAME": "chat", "CALLBACK_URL": connections.url, "AUTH": "none"})
    # A poster serves one event at a time, as Lambda has it; some tests have two at once.
    posters: defaultdict[int, Poster] = defaultdict(connections.poster)
    app = Services(
        settings=settings,
        model=Model(client, settings.model_id, family_of(settings.model_id)),
        connections=Connections(table),
        conversations=(memory := Conversations(table, 30)),
        leases=(held := Leases(table, memory, Budget(0, 0))),
        sessions=Sessions(table, memory, held),
        uploads=Uploads(table, settings.max_input_bytes),
        poster_for=lambda _: posters[threading.get_ident()],
    )
    chatting = Chatting(app, connections)
    chatting.connect(session_id="s")
    return chatting


def text(frames: list[dict[str, Any]]) -> str:
    return "".join(frame["text"] for frame in frames if frame["type"] == "delta")


def well_formed(frames: list[dict[str, Any]]) -> None:
    assert 1 == len({frame["request_id"] for frame in frames})
    assert list(range(len(frames))) == [frame["seq"] for frame in frames]
    ends = [frame["type"] in ("done", "error") for frame in frames]
    assert [False] * (len(frames) - 1) + [True] == ends


@contextmanager
def failing(table: Table, operation: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(*_: object, **__: object) -> Any:
        raise ChatError("internal", "The memory cannot be reached.", cause="test")

    with monkeypatch.context() as patch:
        patch.setattr(table, operation, fail)
        yield


# $connect and $disconnect


def test_connect_settles_session_and_format(chatting: Chatting) -> None:
    """What the query string asked for holds for every message that follows."""
    assert handler.OK == chatting.connect("c1=", session_id="mine", format="text")

    kept = chatting.app.connections.get("c1=")
    assert ("mine", "text", "anonymous") == (kept.session_id, kept.format, kept.principal)


def test_connect_makes_an_unguessable_session(chatting: Chatting) -> None:
    """Without a session_id each connection gets one of its own, of 192 random bits."""
    ids = set()
    for n in range(20):
        chatting.connect(f"c{n}=")
        ids.add(chatting.app.connections.get(f"c{n}=").session_id)

    assert 20 == len(ids)
    assert all(len(session_id) == 32 for session_id in ids)


@pytest.mark.parametrize("query", [{"format": "xml"}, {"session_id": "../../etc"}])
def test_connect_refuses_what_it_does_not_know(chatting: Chatting, query: dict[str, str]) -> None:
    """A bad query string is refused before the upgrade."""
    assert 400 == chatting.connect("new=", **query)["statusCode"]
    with pytest.raises(ChatError):
        chatting.app.connections.get("new=")


@pytest.mark.parametrize(
    ("auth", "meta", "principal"),
    [
        ("none", {}, "anonymous"),
        ("none", {"authorizer": {"principalId": "p"}}, "anonymous"),
        ("iam", {"identity": {"userArn": "arn:aws:iam::1:user/a"}}, "arn:aws:iam::1:user/a"),
        ("iam", {"authorizer": {"principalId": "p"}}, None),
        ("iam", {}, None),
        ("jwt", {"authorizer": {"principalId": "p"}}, "p"),
        ("jwt", {"identity": {"userArn": "arn:aws:iam::1:user/a"}}, None),
        ("jwt", {"authorizer": {}}, None),
    ],
)
def test_who_is_let_in(
    chatting: Chatting, auth: str, meta: dict[str, Any], principal: str | None
) -> None:
    """Only the word that the deployment's AUTH asks for counts; without it the door is closed."""
    chatting.change(auth=auth)
    answer = chatting.send("CONNECT", "c1=", meta=meta)

    if principal is None:
        assert 403 == answer["statusCode"]
    else:
        assert handler.OK == answer
        assert principal == chatting.app.connections.get("c1=").principal


@pytest.mark.parametrize(
    ("allowed", "headers", "status"),
    [
        ((), {"Origin": "https://evil.example"}, 200),
        (("https://a.example",), {"Origin": "https://a.example"}, 200),
        (("https://a.example",), {"origin": "https://evil.example"}, 403),
        (("https://a.example",), {"Origin": "null"}, 403),
        (("https://a.example",), {}, 200),
    ],
)
def test_origins(
    chatting: Chatting, allowed: tuple[str, ...], headers: dict[str, str], status: int
) -> None:
    """A page of another site may not connect; what is no browser says no origin."""
    chatting.change(allowed_origins=allowed)

    assert status == chatting.send("CONNECT", "c1=", headers=headers)["statusCode"]


def test_only_the_protocol_is_echoed(chatting: Chatting) -> None:
    """A token that came as a subprotocol is not sent back, nor what is not ours."""
    offered = {"Sec-WebSocket-Protocol": "chat.v1, bearer.secret"}
    answer = chatting.send("CONNECT", "c1=", headers=offered)

    assert {"Sec-WebSocket-Protocol": "chat.v1"} == answer["headers"]
    assert handler.OK == chatting.send("CONNECT", "c2=", headers={"Sec-WebSocket-Protocol": "x"})


def test_whose_allowance(chatting: Chatting) -> None:
    """Who has a name has an allowance of their own; strangers share that of their address."""
    ips = [{"identity": {"sourceIp": ip}} for ip in ("1.2.3.4", "1.2.3.4", "1.2.3.5")]
    for n, meta in enumerate(ips):
        chatting.send("CONNECT", f"c{n}=", meta=meta)
    first, second, third = (chatting.app.connections.get(f"c{n}=").quota_subject for n in range(3))
    assert first == second != third
    assert "1.2.3" not in first
    chatting.connect("c4=", principal="me")
    assert "me" == chatting.app.connections.get("c4=").quota_subject


def test_disconnect(chatting: Chatting) -> None:
    """What was asked before, and arrives after, is answered: API Gateway promises no order."""
    assert handler.OK == chatting.send("DISCONNECT")
    assert "done" == chatting.say("hello?")[-1]["type"]


def test_an_unknown_connection(chatting: Chatting) -> None:
    """It is refused in a frame."""
    (frame,) = chatting.say("hello?", connection_id="never=")
    assert ("error", "unauthorized", False) == (frame["type"], frame["code"], frame["retryable"])


def test_a_failure_at_connect_is_a_status(
    chatting: Chatting, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No exception: API Gateway refuses the upgrade with the status."""
    with failing(table, "put", monkeypatch):
        assert 500 == chatting.connect("new=")["statusCode"]


# one turn


def test_a_turn(chatting: Chatting) -> None:
    """start, deltas, done; and the turn is saved with what Bedrock counted."""
    frames = chatting.say({"body": "my name is Zanzibar", "request_id": "r-1"})

    well_formed(frames)
    assert {
        "type": "start",
        "request_id": "r-1",
        "seq": 0,
        "session_id": "s",
        "model": "global.anthropic.claude-sonnet-4-6",
    } == frames[0]
    assert "You said: my name is Zanzibar" == text(frames)
    done = frames[-1]
    assert ("done", "end_turn") == (done["type"], done["stop_reason"])
    assert done["usage"]["output_tokens"] > 0
    assert done["latency_ms"]["total"] >= done["latency_ms"]["first_token"] >= 0
    (turn,) = chatting.turns()
    assert (1, "r-1", "complete") == (turn.number, turn.request_id, turn.state)
    assert ("my name is Zanzibar", "You said: my name is Zanzibar") == (turn.user, turn.assistant)
    assert turn.tokens == done["usage"]["input_tokens"] + done["usage"]["output_tokens"]


def test_the_event_stands_in_for_a_request_id(chatting: Chatting) -> None:
    """Where the client names no request, API Gateway's id of the event does."""
    frames = chatting.say("hello")

    assert f"event-{chatting.count}" == frames[0]["request_id"]


def test_the_model_sees_the_conversation(chatting: Chatting) -> None:
    """Bedrock gets the system prompt, what was said before, and the question, in order."""
    chatting.say("one")
    chatting.say("two")
    body = json.loads(text(chatting.script(echo=True)))

    assert "You are a helpful assistant." == body["system"]
    assert ["one", "You said: one", "two", "You said: two", '/script {"echo": true}'] == [
        message["content"] for message in body["messages"]
    ]
    assert 4096 == body["max_tokens"]


def test_the_settings_reach_the_model(chatting: Chatting) -> None:
    """What a deployment chooses is what Bedrock is asked with."""
    chatting.change(
        system_prompt="Rhyme.",
        max_output_tokens=77,
        temperature=0.5,
        top_p=0.9,
        stop_sequences=("END",),
    )
    body = json.loads(text(chatting.script(echo=True)))

    assert ("Rhyme.", 77, 0.5, 0.9, ["END"]) == tuple(
        body[name] for name in ("system", "max_tokens", "temperature", "top_p", "stop_sequences")
    )


def test_the_window_is_bounded(chatting: Chatting) -> None:
    """The model sees as many turns and tokens as the settings allow, the newest."""
    for word in ("one", "two", "three"):
        chatting.say(word)
    chatting.change(history_turns=1)
    assert "three" in (echo := text(chatting.script(echo=True)))
    assert "two" not in echo
    chatting.change(history_turns=50, history_tokens=0)
    assert 1 == len(json.loads(text(chatting.script(echo=True)))["messages"])


def test_a_base64_body(chatting: Chatting) -> None:
    """The event of the asynchronous integration carries the same message in base64."""
    body = base64.b64encode("é 🙂".encode()).decode()
    chatting.send("MESSAGE", body=body, isBase64Encoded=True)

    assert "You said: é 🙂" == text([json.loads(frame) for frame in chatting.posted.frames])


def test_reasoning_is_shown_only_if_asked_for(chatting: Chatting) -> None:
    """Reasoning is never saved, and sent only where the deployment shows it."""
    hidden = chatting.script(chunks=1, text="a", reasoning=2)
    chatting.change(show_reasoning=True)
    shown = chatting.script(chunks=1, text="a", reasoning=2)

    assert {"start", "delta", "done"} == {frame["type"] for frame in hidden}
    assert {"start", "reasoning", "delta", "done"} == {frame["type"] for frame in shown}
    assert ["a", "a"] == [turn.assistant for turn in chatting.turns()]


def test_posts_do_not_slow_the_reading(chatting: Chatting) -> None:
    """What gathers during a slow post leaves as one frame: far fewer posts than chunks."""
    chatting.posted.delay = 0.05
    frames = chatting.script(chunks=200, rate=400, text="ab ")

    well_formed(frames)
    assert "ab " * 200 == text(frames)
    assert len(frames) < 40


def test_two_people_in_one_environment(chatting: Chatting) -> None:
    """Two connections share the function and see nothing of each other."""
    chatting.connect("one=")
    chatting.connect("two=")
    secret = chatting.say("the word is Zanzibar", "one=")
    echo = chatting.say('/script {"echo": true}', "two=")

    assert "Zanzibar" not in text(echo)
    assert secret[0]["session_id"] != echo[0]["session_id"]
    assert "Zanzibar" in text(chatting.say('/script {"echo": true}', "one="))


def test_a_session_of_another_principal(chatting: Chatting) -> None:
    """Nobody continues, reads or clears a session that is not theirs, by any way of naming it."""
    chatting.connect("mine=", principal="me", session_id="private")
    chatting.connect("yours=", principal="you", session_id="private")
    chatting.connect("other=", principal="you")
    chatting.say("Zanzibar", "mine=")

    for connection_id in ("yours=", "other="):
        for action in ("chat", "history", "clear"):
            asked = {"action": action, "body": '/script {"echo": true}', "session_id": "private"}
            (frame,) = chatting.say(asked, connection_id)
            assert ("error", "unauthorized") == (frame["type"], frame["code"])
    assert 1 == len(chatting.app.sessions.history("private", "me", 5)[0])


@pytest.mark.parametrize(
    "fault",
    [
        {"before": "ThrottlingException"},
        {"before": "AccessDeniedException"},
        {"at": 0, "type": "cut"},
        {"at": 5, "type": "modelStreamErrorException"},
        {"at": 5, "type": "cut"},
        {"at": 5, "type": "truncate"},
        {"at": 5, "type": "bad_crc"},
    ],
    ids=str,
)
def test_a_fault_ends_in_one_error(chatting: Chatting, fault: dict[str, Any]) -> None:
    """One terminal frame, what was said is kept and marked, and the next turn works."""
    frames = chatting.script(chunks=9, text="ab", fault=fault)

    well_formed(frames)
    assert "error" == frames[-1]["type"]
    said = "ab" * fault.get("at", 0)
    assert said == text(frames)
    assert [(said, "error")] == [(turn.assistant, turn.state) for turn in chatting.turns()]
    assert "You said: still here" == text(chatting.say("still here"))
    roles = [m["role"] for m in json.loads(text(chatting.script(echo=True)))["messages"]]
    assert roles == [("user", "assistant")[n % 2] for n in range(len(roles))]


def test_deadline(chatting: Chatting) -> None:
    """A stream that would outlive the Lambda is ended before it, saved and told."""
    chatting.change(deadline_seconds=58.5)  # of 60
    frames = chatting.script(chunks=1000, rate=50, text="ab")

    well_formed(frames)
    assert ("done", "deadline") == (frames[-1]["type"], frames[-1]["stop_reason"])
    (turn,) = chatting.turns()
    assert ("deadline", text(frames)) == (turn.state, turn.assistant)


def test_deadline_of_slow_posts(chatting: Chatting) -> None:
    """Posts so slow that the time is over: what was said is saved whole, and the end is told."""
    chatting.clock.left = 4_000
    chatting.change(deadline_seconds=3.0)
    chatting.posted.delay = 0.6
    frames = chatting.script(chunks=600, text="ab" * 200)

    well_formed(frames)
    assert ("done", "deadline") == (frames[-1]["type"], frames[-1]["stop_reason"])
    (turn,) = chatting.turns()
    assert ("deadline", "ab" * 120_000) == (turn.state, turn.assistant)
    assert len(text(frames)) < 240_000


def test_a_broken_answer_weighs_what_it_is_long(chatting: Chatting) -> None:
    """What nobody counted is guessed: an answer that broke off must not slip through the budget."""
    chatting.script(chunks=90, text="x" * 100, fault={"at": 80, "type": "cut"})

    (turn,) = chatting.turns()
    assert turn.tokens > 2000


def test_gone_at_the_very_end(chatting: Chatting) -> None:
    """An answer that had its end is complete, though nobody was there to hear it."""
    chatting.change(on_disconnect="cancel")
    chatting.posted.delay = 0.3
    chatting.posted.answers = [200, 200, 410]
    chatting.script(chunks=3, rate=20, text="ab")

    assert [("complete", "ababab")] == [(t.state, t.assistant) for t in chatting.turns()]


def test_deadline_before_a_word(chatting: Chatting) -> None:
    """A model that says nothing in time is an error, not an empty answer."""
    chatting.change(deadline_seconds=58.0)
    frames = chatting.script(chunks=9, fault={"at": 0, "type": "stall"})

    well_formed(frames)
    assert ("error", "deadline") == (frames[-1]["type"], frames[-1]["code"])
    assert [("deadline", "")] == [(turn.state, turn.assistant) for turn in chatting.turns()]


def test_no_time_left(chatting: Chatting) -> None:
    """Where there is no time to answer, Bedrock is not called, and the session is free again."""
    chatting.clock.left = 5_000
    (frame,) = chatting.say({"body": "hi", "request_id": "r"})
    chatting.clock.left = 60_000

    assert ("error", "deadline") == (frame["type"], frame["code"])
    assert () == chatting.turns()
    assert "You said: hi" == text(chatting.say({"body": "hi", "request_id": "r2"}))


# who may not


def test_too_large(chatting: Chatting) -> None:
    """A message over the limit is refused before anything is paid for."""
    chatting.change(max_input_bytes=10)
    (frame,) = chatting.say("é" * 6)

    assert ("error", "too_large", False) == (frame["type"], frame["code"], frame["retryable"])
    assert "You said" in text(chatting.say("é" * 5))


def test_busy_and_duplicate(chatting: Chatting) -> None:
    """While one answer runs, another request is told so; the same one again is never answered."""
    slow = {"body": '/script {"chunks": 40, "rate": 40, "text": "ab"}', "request_id": "r-1"}
    with ThreadPoolExecutor() as pool:
        running = pool.submit(chatting.send, "MESSAGE", body=json.dumps(slow))
        while not chatting.posted.frames:
            assert not running.done()
        chatting.send("MESSAGE", body="me too")
        chatting.send("MESSAGE", body=json.dumps(slow))
        running.result(30)
    frames = [json.loads(frame) for frame in chatting.posted.frames]

    errors = [frame["code"] for frame in frames if frame["type"] == "error"]
    assert ["busy", "duplicate"] == errors
    well_formed([f for f in frames if f["request_id"] == "r-1" and f.get("code") != "duplicate"])
    assert "duplicate" == chatting.say(slow)[0]["code"]
    assert 1 == len(chatting.turns())


def test_a_redelivered_event_is_silent(chatting: Chatting) -> None:
    """The same event twice, as asynchronous invocation may: one answer, and no second end."""
    first = chatting.say("hi", requestId="event-x")
    second = chatting.say("hi", requestId="event-x")

    well_formed(first)
    assert [] == second
    assert 1 == len(chatting.turns())


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"action":"chat"}', "invalid_request"),
        ('{"action":"nope","request_id":"r-1"}', "invalid_request"),
        ("{broken", "invalid_request"),
        ("   ", "invalid_request"),
        ('{"body":"\\ud800"}', "invalid_request"),
    ],
)
def test_bad_frames(chatting: Chatting, body: str, code: str) -> None:
    """One clear error under the client's id or API Gateway's, and the conversation unharmed."""
    chatting.say("anchor")
    frames = chatting.say(body)

    well_formed(frames)
    assert ("error", code) == (frames[0]["type"], frames[0]["code"])
    expected = "r-1" if "r-1" in body else f"event-{chatting.count}"
    assert expected == frames[0]["request_id"]
    assert "anchor" in text(chatting.script(echo=True))


@pytest.mark.parametrize("event", [{"isBase64Encoded": True, "body": "/w=="}, {"body": 5}, {}])
def test_bodies_that_are_no_text(chatting: Chatting, event: dict[str, Any]) -> None:
    """A binary, missing or odd body is an error frame too."""
    chatting.send("MESSAGE", **event)

    assert "invalid_request" == json.loads(chatting.posted.frames[-1])["code"]


@pytest.mark.parametrize(
    "event", [None, {}, {"requestContext": {"eventType": "MESSAGE"}}, {"Records": []}]
)
def test_events_of_something_else(
    chatting: Chatting, event: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is no event of a WebSocket API is logged and refused, never raised."""
    assert 400 == handler.handle(chatting.app, event, Clock())["statusCode"]
    assert "event.not_understood" in capsys.readouterr().out


def test_an_unknown_event_type(chatting: Chatting) -> None:
    """Only the three types of a WebSocket API have a route."""
    assert 400 == chatting.send("AUTHORIZE")["statusCode"]


# when nobody listens


@pytest.mark.parametrize(
    ("on_disconnect", "state", "chunks"),
    [("finish", "complete", 40), ("cancel", "disconnected", 0)],
)
def test_gone(chatting: Chatting, on_disconnect: str, state: str, chunks: int) -> None:
    """The client leaves: the answer is finished and saved, or cancelled and what was said kept."""
    chatting.change(on_disconnect=on_disconnect)
    chatting.posted.answers = [200, 200, 410]
    chatting.script(chunks=40, rate=80, text="ab")

    (turn,) = chatting.turns()
    assert state == turn.state
    if chunks:
        assert "ab" * chunks == turn.assistant
    else:
        assert 0 < len(turn.assistant) < 80
    assert 2 == len(chatting.posted.frames)
    assert "You said: back" == text(chatting.say("back"))


# when the memory fails


@pytest.mark.parametrize("operation", ["get", "transact", "last"])
def test_memory_fails_before_the_model(
    chatting: Chatting, table: Table, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """One error frame, and the session is free again once the memory is back."""
    with failing(table, operation, monkeypatch):
        frames = chatting.say("hi")

    well_formed(frames)
    assert ("error", "internal", True) == (
        frames[-1]["type"],
        frames[-1]["code"],
        frames[-1]["retryable"],
    )
    assert "You said: again" == text(chatting.say("again"))


def test_memory_fails_at_a_resume(
    chatting: Chatting, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is no end of the request, which has its own: it is told apart, and asked for again."""
    told = chatting.say({"body": "hi", "request_id": "r"})
    wish = {"action": "resume", "request_id": "r"}
    for operation in ("get", "put_new", "update"):
        with failing(table, operation, monkeypatch):
            (frame,) = chatting.say(wish)
        assert ("error", "internal", True) == (frame["type"], frame["code"], frame["retryable"])
        assert "r" != frame["request_id"]

    assert told == chatting.say(wish)


def test_memory_fails_at_the_save(
    chatting: Chatting,
    table: Table,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A save is tried again for a while; one that fails for good ends in an error, and counts."""
    real: Callable[..., Any] = table.transact
    calls: list[int] = []

    def first_only(*writes: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            return real(*writes)
        raise ChatError("throttled", "The memory is busy.", cause="test")

    with monkeypatch.context() as patch:
        patch.setattr(table, "transact", first_only)
        patch.setattr(leases, "SAVE_SECONDS", 1.0)
        capsys.readouterr()
        frames = chatting.say("hi")

    well_formed(frames)
    assert ("error", "throttled") == (frames[-1]["type"], frames[-1]["code"])
    assert len(calls) > 2
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert ("turn", "unfinished", "throttled", 1, 1) == tuple(
        line[name] for name in ("event", "state", "Code", "Turns", "Failures")
    )
    assert line["OutputTokens"] > 0  # it was paid for


def test_a_fault_of_our_own(
    chatting: Chatting, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bug is told as `internal`, logged by kind and line, and gives nothing away."""
    monkeypatch.setattr(turn_module, "window", lambda *_: 1 / 0)
    frames = chatting.say("Zanzibar")
    logged = capsys.readouterr().out

    well_formed(frames)
    assert "internal" == frames[-1]["code"]
    assert "ZeroDivisionError at test_handler.py:" in logged
    assert "Zanzibar" not in logged


def test_a_fault_of_our_own_outside_a_message(
    chatting: Chatting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No exception leaves the function at $connect either."""
    monkeypatch.setattr(handler, "valid_id", lambda *_: 1 / 0)

    assert 500 == chatting.connect("new=")["statusCode"]


# history, clear, ping


@pytest.mark.parametrize(
    "asked",
    [
        {"action": "nope"},
        {"action": "history"},
        {"action": "stop"},
        {"action": "clear"},
        {"action": "resume", "request_id": "never"},
        {"body": "x" * 200},
        {"body": "hi"},
        {"continue": True},
    ],
    ids=str,
)
def test_every_event_is_answered_once(
    chatting: Chatting, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any]
) -> None:
    """A second and a third delivery of an event say nothing, whatever the first came to."""
    monkeypatch.setattr(sessions, "ARRIVAL_SECONDS", 0.0)
    chatting.change(max_input_bytes=100)
    first = chatting.say(asked, requestId="one")

    well_formed(first)
    assert [] == chatting.say(asked, requestId="one")
    assert [] == chatting.say(asked, requestId="one")


def test_over_budget(chatting: Chatting) -> None:
    """Who used up the day's allowance is told when there is more, and Bedrock is not called."""
    table = chatting.app.conversations._table
    held = Leases(table, chatting.app.conversations, Budget(1, 0))
    chatting.app = replace(chatting.app, leases=held)
    assert "You said: hi" == text(chatting.say("hi"))

    (frame,) = chatting.say("again")

    assert ("error", "over_budget", False) == (frame["type"], frame["code"], frame["retryable"])
    assert 0 == frame["retry_at"] % 86_400
    assert 1 == chatting.say({"action": "clear"})[-1]["cleared"]


def test_parts_that_say_nothing(chatting: Chatting) -> None:
    """White space in several parts is no question either."""
    one = {"request_id": "r", "body": " ", "parts": 2}

    assert [] == chatting.say({**one, "part": 1})
    (frame,) = chatting.say({**one, "part": 2})
    assert "invalid_request" == frame["code"]


def test_history(chatting: Chatting) -> None:
    """The newest turns, oldest first, then done."""
    for word in ("one", "two", "three"):
        chatting.say(word)
    frames = chatting.say({"action": "history", "limit": 2, "request_id": "h"})

    well_formed(frames)
    told = [turn for frame in frames for turn in frame.get("turns", [])]
    assert [(2, "two", "You said: two"), (3, "three", "You said: three")] == [
        (turn["turn"], turn["user"], turn["assistant"]) for turn in told
    ]
    assert {"type": "done", "request_id": "h", "seq": 1} == frames[-1]


def test_clear(chatting: Chatting) -> None:
    """What was said is forgotten, for the model and for history, and the session goes on."""
    chatting.say("Zanzibar")
    frames = chatting.say({"action": "clear"})

    well_formed(frames)
    assert 1 == frames[-1]["cleared"]
    assert [] == chatting.say({"action": "history"})[0]["turns"]
    assert "Zanzibar" not in text(chatting.script(echo=True))


def test_clear_of_nothing(chatting: Chatting) -> None:
    """Clearing a session in which nothing was said is no error."""
    assert 0 == chatting.say({"action": "clear"})[-1]["cleared"]


def test_ping(chatting: Chatting) -> None:
    """A ping that reaches the function is answered as API Gateway would."""
    assert [{"type": "pong"}] == chatting.say({"action": "ping"})


def test_seed_client(chatting: Chatting) -> None:
    """The seed's client is served in its own words."""
    chatting.connect("seed=", format="seed")
    assert handler.OK == chatting.send("MESSAGE", "seed=", body="__ping__")
    assert '"__pong__"' == chatting.posted.frames[-1]
    frames = chatting.say({"body": "hi", "request_id": "r", "convType": "normal"}, "seed=")

    assert {"request_id": "r", "msg": "You said: hi", "status": "completed"} == frames[-1]
    assert {"proceeding"} == {frame["status"] for frame in frames[:-1]}
    assert "__ping__" in text(chatting.say("__ping__"))  # elsewhere these are only words


# the log


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_log_tells_counts_and_no_words(
    chatting: Chatting, capsys: pytest.CaptureFixture[str]
) -> None:
    """One JSON line a turn, with no prompt, no answer and no session id in it."""
    chatting.connect("c2=", session_id="session-Zanzibar")
    chatting.say({"body": "secret-question", "request_id": "r-1"}, "c2=")
    chatting.say("{broken secret-question", "c2=")
    chatting.script(fault={"before": "ThrottlingException", "message": "secret-question"})
    out = capsys.readouterr().out
    turn, refused, failed = [json.loads(line) for line in out.splitlines()]

    assert ["turn", "request.failed", "turn"] == [line["event"] for line in (turn, refused, failed)]
    assert ("complete", "end_turn", "ok") == (
        turn["state"],
        turn["StopReason"],
        turn["delivery"],
    )
    assert turn["Posts"] >= 3
    assert turn["OutputTokens"] > 0
    assert turn["TurnLatency"] >= turn["FirstTokenLatency"] >= turn["BedrockWait"]
    assert ("throttled", "bedrock ThrottlingException") == (failed["Code"], failed["cause"])
    assert (1, 1) == (failed["Turns"], failed["Failures"])
    assert ("INFO", "WARN") == (refused["level"], failed["level"])
    assert "secret-question" not in out
    assert "session-Zanzibar" not in out
    assert "You said" not in out


def test_every_line_tells_what_it_is_about(
    chatting: Chatting, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the reading thread's: one request's whole story is found by its id, or its session's."""
    monkeypatch.setattr("bedrock_stream.FIRST_PAUSE_SECONDS", 0.01)
    chatting.app = replace(chatting.app, model=replace(chatting.app.model, retry_seconds=20.0))
    fault = {"before": "ThrottlingException", "times": 2, "message": secrets.token_hex(8)}
    order = {"chunks": 2, "fault": fault}
    chatting.say({"body": "/script " + json.dumps(order), "request_id": "r-1"})
    chatting.say({"body": "again", "request_id": "r-1"})
    handler.handle(chatting.app, {}, chatting.clock)
    *about, nothing = lines(capsys)
    again, again_too, turn, duplicate = about

    assert ["stream.retry", "turn", "request.failed"] == [
        line["event"] for line in (again, turn, duplicate)
    ]
    assert again_too["event"] == again["event"]
    assert 2 == turn["Retries"]
    assert {("c=", "r-1", digest("s"))} == {
        (line["connection_id"], line["request_id"], line["session"]) for line in about
    }
    assert again["event_id"] == turn["event_id"] != duplicate["event_id"]
    assert {"timestamp", "level", "event", "cause"} == nothing.keys()


def test_a_stranger_is_not_counted_as_a_fault(
    chatting: Chatting, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours is an ERROR with its place in the code; what a client did wrong is none."""
    chatting.say("{broken")
    monkeypatch.setattr(chatting.app.connections, "get", lambda _: 1 // 0)
    chatting.say("hello")
    chatting.connect("new=", session_id="x")
    monkeypatch.setattr(chatting.app.connections, "put", lambda _: 1 // 0)
    chatting.connect("new=", session_id="x")
    told = [(line["level"], line["event"], line["Code"], line["cause"]) for line in lines(capsys)]

    assert ("INFO", "request.failed", "invalid_request", "") == told[0]
    assert [
        ("ERROR", "request.failed", "internal"),
        ("ERROR", "event.failed", "internal"),
    ] == [each[:3] for each in told[1:]]
    assert all("ZeroDivisionError at test_handler.py:" in each[3] for each in told[1:])


# the entry point


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        ({}, SettingsError),
        ({"TABLE_NAME": "t", "MODEL_ID": "nobody.knows-this-v1:0"}, UnknownModelError),
    ],
)
def test_start_refuses_bad_settings(environment: dict[str, str], error: type[Exception]) -> None:
    """A deployment that cannot work fails at start, by the name of the setting."""
    with pytest.raises(error, match=r"TABLE_NAME|MODEL_ID"):
        build_services(environment)


def test_clients_for_connections_are_kept() -> None:
    """One poster for each endpoint, made once; the configured one at start."""
    app = build_services({"TABLE_NAME": "t", "CALLBACK_URL": "https://a.example/prod"})

    assert app.poster_for("https://a.example/prod") is app.poster_for("https://a.example/prod")
    assert (
        "https://b.example/prod/@connections/"
        == cast(SigningPoster, app.poster_for("https://b.example/prod")).url
    )


def test_lambda_handler() -> None:
    """Lambda's own entry point answers, with the clients that were made at import."""
    assert 400 == handler.lambda_handler({}, Clock())["statusCode"]
    assert handler.lambda_handler.__module__ == "handler"


def test_no_thread_is_left(chatting: Chatting) -> None:
    """After a turn nothing reads on: a frozen environment would thaw into it."""
    before = set(threading.enumerate())
    chatting.say("hi")
    for thread in set(threading.enumerate()) - before:
        if thread.name == "bedrock":
            thread.join(5)
            assert not thread.is_alive()


def test_nothing_heavy_is_imported() -> None:
    """Imports cost cold start: the function loads boto3, msgspec and the standard library only."""
    source = Path(handler.__file__).parent
    code = (
        "import sys, os; os.environ.update(TABLE_NAME='t', AWS_DEFAULT_REGION='us-east-1'); "
        f"sys.path.insert(0, {str(source)!r}); import handler; "
        "print(*sorted({name.split('.')[0] for name, module in sys.modules.items() "
        "if 'site-packages' in (getattr(module, '__file__', None) or '')}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # What the tests' own environment puts into every process.
    loaded = {name for name in done.stdout.split() if not name.startswith(("_", "a1_", "coverage"))}

    boto3_and_its_own = {"boto3", "s3transfer", "jmespath", "dateutil", "six"}
    botocore_and_its_own = {"botocore", "urllib3", "certifi", "awscrt"}
    # msgspec imports typing_extensions where Python is older than Lambda's 3.13.
    msgspec_and_its_own = {"msgspec", "typing_extensions"}
    assert loaded <= boto3_and_its_own | botocore_and_its_own | msgspec_and_its_own


class Cached:
    """A Bedrock that notes what it is asked, and answers as Claude does from its cache."""

    body: Any = None

    def invoke_model_with_response_stream(self, **request: Any) -> Any:
        self.body = json.loads(request["body"])
        return {"body": self}

    def __iter__(self) -> Iterator[Any]:
        usage = {"input_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 3}
        for chunk in (
            {"type": "message_start", "message": {"usage": usage}},
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hi"}},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"output_tokens": 2},
            },
        ):
            yield {"chunk": {"bytes": json.dumps(chunk).encode()}}

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("prompt_cache", "points"), [(False, 0), (True, 2)])
def test_prompt_cache(chatting: Chatting, prompt_cache: bool, points: int) -> None:
    """The setting puts cache points into Claude's prompt; what was cached is told in `done`."""
    chatting.script(chunks=1, text="a history")
    bedrock: Any = Cached()
    chatting.app = replace(chatting.app, model=replace(chatting.app.model, client=bedrock))
    chatting.change(prompt_cache=prompt_cache)

    usage = chatting.say("hi")[-1]["usage"]

    assert points == json.dumps(bedrock.body).count("cache_control")
    assert {
        "input_tokens": 5,
        "output_tokens": 2,
        "cache_read_tokens": 7,
        "cache_write_tokens": 3,
    } == usage

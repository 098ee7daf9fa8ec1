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
from store import leases as leases_module
from store import sessions as sessions_module
from store.budget import Budget
from store.connections import Connections
from store.conversations import Conversations
from store.leases import Leases
from store.sessions import Sessions
from store.table import Table
from store.uploads import Uploads


@dataclass
class LambdaContext:
    """Lambda's context, with `remaining_ms` until the timeout."""

    remaining_ms: int = 60_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_ms


@dataclass
class Function:
    """The handler with local AWS endpoints, called with events as API Gateway sends them."""

    app: Services
    endpoint: ConnectionsEndpoint
    count: int = 0
    context: LambdaContext = field(default_factory=LambdaContext)

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
        return handler.handle(self.app, {"requestContext": meta, **event}, self.context)

    def connect(
        self, connection_id: str = "c=", principal: str = "", **query: str
    ) -> dict[str, Any]:
        meta = {"authorizer": {"principalId": principal}} if principal else {}
        self.change(auth="jwt" if principal else "none")
        return self.send("CONNECT", connection_id, queryStringParameters=query or None, meta=meta)

    def message(self, body: Any, connection_id: str = "c=", **meta: str) -> list[dict[str, Any]]:
        """Sends a message and returns the frames posted for it."""
        before = len(self.endpoint.frames)
        text = body if isinstance(body, str) else json.dumps(body)
        assert handler.OK == self.send("MESSAGE", connection_id, body=text, meta=meta)
        return [json.loads(frame) for frame in self.endpoint.frames[before:]]

    def script(self, **order: Any) -> list[dict[str, Any]]:
        return self.message("/script " + json.dumps(order))

    def change(self, **settings: Any) -> None:
        self.app = replace(self.app, settings=replace(self.app.settings, **settings))

    def turns(self, session_id: str = "s") -> tuple[Turn, ...]:
        return self.app.sessions.history(session_id, "anonymous", 100)[0]


@pytest.fixture
def function(table: Table, bedrock: str, connections: ConnectionsEndpoint) -> Function:
    client = boto3.client("bedrock-runtime", endpoint_url=bedrock, config=client_config(5.0))
    settings = load({"TABLE_NAME": "chat", "CALLBACK_URL": connections.url, "AUTH": "none"})
    # A poster serves one event at a time, as in Lambda; some tests have two at once.
    posters: defaultdict[int, Poster] = defaultdict(connections.poster)
    conversations = Conversations(table, 30)
    leases = Leases(table, conversations, Budget(0, 0))
    app = Services(
        settings=settings,
        model=Model(client, settings.model_id, family_of(settings.model_id)),
        connections=Connections(table),
        conversations=conversations,
        leases=leases,
        sessions=Sessions(table, conversations, leases),
        uploads=Uploads(table, settings.max_input_bytes),
        poster_for=lambda _: posters[threading.get_ident()],
    )
    function = Function(app, connections)
    function.connect(session_id="s")
    return function


def text(frames: list[dict[str, Any]]) -> str:
    return "".join(frame["text"] for frame in frames if frame["type"] == "delta")


def assert_well_formed(frames: list[dict[str, Any]]) -> None:
    assert 1 == len({frame["request_id"] for frame in frames})
    assert list(range(len(frames))) == [frame["seq"] for frame in frames]
    ends = [frame["type"] in ("done", "error") for frame in frames]
    assert [False] * (len(frames) - 1) + [True] == ends


@contextmanager
def failing(table: Table, operation: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail(*_: object, **__: object) -> Any:
        raise ChatError("internal", "The conversation store is unavailable.", cause="test")

    with monkeypatch.context() as patch:
        patch.setattr(table, operation, fail)
        yield


# -- $connect and $disconnect ---------------------------------------------------------------------


def test_connect_stores_the_session_and_format_of_the_query(function: Function) -> None:
    """They apply to every later message."""
    assert handler.OK == function.connect("c1=", session_id="mine", format="text")

    stored = function.app.connections.get("c1=")
    assert ("mine", "text", "anonymous") == (stored.session_id, stored.format, stored.principal)


def test_connect_without_a_session_id_creates_an_unguessable_one(function: Function) -> None:
    """Of 192 random bits, for each connection."""
    ids = set()
    for n in range(20):
        function.connect(f"c{n}=")
        ids.add(function.app.connections.get(f"c{n}=").session_id)

    assert 20 == len(ids)
    assert all(len(session_id) == 32 for session_id in ids)


@pytest.mark.parametrize("query", [{"format": "xml"}, {"session_id": "../../etc"}])
def test_connect_rejects_an_invalid_query(function: Function, query: dict[str, str]) -> None:
    """Before the upgrade."""
    assert 400 == function.connect("new=", **query)["statusCode"]
    with pytest.raises(ChatError):
        function.app.connections.get("new=")


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
def test_connect_requires_the_principal_that_auth_demands(
    function: Function, auth: str, meta: dict[str, Any], principal: str | None
) -> None:
    """Only the identity that the setting AUTH requires is used; without it the status is 403."""
    function.change(auth=auth)
    response = function.send("CONNECT", "c1=", meta=meta)

    if principal is None:
        assert 403 == response["statusCode"]
    else:
        assert handler.OK == response
        assert principal == function.app.connections.get("c1=").principal


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
def test_connect_rejects_an_origin_that_is_not_allowed(
    function: Function, allowed: tuple[str, ...], headers: dict[str, str], status: int
) -> None:
    """Pages of other sites may not connect. A client without an Origin is no browser."""
    function.change(allowed_origins=allowed)

    assert status == function.send("CONNECT", "c1=", headers=headers)["statusCode"]


def test_connect_echoes_only_the_supported_subprotocol(function: Function) -> None:
    """A token sent as a subprotocol is not echoed, nor an unknown subprotocol."""
    offered = {"Sec-WebSocket-Protocol": "chat.v1, bearer.secret"}
    response = function.send("CONNECT", "c1=", headers=offered)

    assert {"Sec-WebSocket-Protocol": "chat.v1"} == response["headers"]
    assert handler.OK == function.send("CONNECT", "c2=", headers={"Sec-WebSocket-Protocol": "x"})


def test_the_quota_subject_is_the_principal_or_the_address(function: Function) -> None:
    """Unauthenticated clients with the same address share a quota."""
    ips = [{"identity": {"sourceIp": ip}} for ip in ("1.2.3.4", "1.2.3.4", "1.2.3.5")]
    for n, meta in enumerate(ips):
        function.send("CONNECT", f"c{n}=", meta=meta)
    first, second, third = (function.app.connections.get(f"c{n}=").quota_subject for n in range(3))
    assert first == second != third
    assert "1.2.3" not in first
    function.connect("c4=", principal="me")
    assert "me" == function.app.connections.get("c4=").quota_subject


def test_a_message_after_disconnect_is_answered(function: Function) -> None:
    """API Gateway does not guarantee the order of events."""
    assert handler.OK == function.send("DISCONNECT")
    assert "done" == function.message("hello?")[-1]["type"]


def test_an_unknown_connection_is_unauthorized(function: Function) -> None:
    (frame,) = function.message("hello?", connection_id="never=")
    assert ("error", "unauthorized", False) == (frame["type"], frame["code"], frame["retryable"])


def test_a_store_failure_at_connect_is_status_500(
    function: Function, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not an exception: API Gateway rejects the upgrade with this status."""
    with failing(table, "put", monkeypatch):
        assert 500 == function.connect("new=")["statusCode"]


# -- one turn -------------------------------------------------------------------------------------


def test_a_turn_is_start_deltas_and_done_and_is_saved(function: Function) -> None:
    """With the usage that Bedrock reported."""
    frames = function.message({"body": "my name is Zanzibar", "request_id": "r-1"})

    assert_well_formed(frames)
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
    (turn,) = function.turns()
    assert (1, "r-1", "complete") == (turn.number, turn.request_id, turn.state)
    assert ("my name is Zanzibar", "You said: my name is Zanzibar") == (turn.user, turn.assistant)
    assert turn.tokens == done["usage"]["input_tokens"] + done["usage"]["output_tokens"]


def test_the_event_id_is_the_default_request_id(function: Function) -> None:
    """API Gateway's id of the event is used if the client sends none."""
    frames = function.message("hello")

    assert f"event-{function.count}" == frames[0]["request_id"]


def test_the_prompt_has_the_history_in_order(function: Function) -> None:
    """The system prompt, the earlier turns and the question."""
    function.message("one")
    function.message("two")
    body = json.loads(text(function.script(echo=True)))

    assert "You are a helpful assistant." == body["system"]
    assert ["one", "You said: one", "two", "You said: two", '/script {"echo": true}'] == [
        message["content"] for message in body["messages"]
    ]
    assert 4096 == body["max_tokens"]


def test_the_model_settings_are_in_the_request_to_bedrock(function: Function) -> None:
    function.change(
        system_prompt="Rhyme.",
        max_output_tokens=77,
        temperature=0.5,
        top_p=0.9,
        stop_sequences=("END",),
    )
    body = json.loads(text(function.script(echo=True)))

    assert ("Rhyme.", 77, 0.5, 0.9, ["END"]) == tuple(
        body[name] for name in ("system", "max_tokens", "temperature", "top_p", "stop_sequences")
    )


def test_the_history_in_the_prompt_is_bounded(function: Function) -> None:
    """It has the newest turns, up to the turns and tokens of the settings."""
    for word in ("one", "two", "three"):
        function.message(word)
    function.change(history_turns=1)
    assert "three" in (echo := text(function.script(echo=True)))
    assert "two" not in echo
    function.change(history_turns=50, history_tokens=0)
    assert 1 == len(json.loads(text(function.script(echo=True)))["messages"])


def test_a_base64_body_is_decoded(function: Function) -> None:
    """The event of the asynchronous integration has the message in base64."""
    body = base64.b64encode("é 🙂".encode()).decode()
    function.send("MESSAGE", body=body, isBase64Encoded=True)

    assert "You said: é 🙂" == text([json.loads(frame) for frame in function.endpoint.frames])


def test_reasoning_is_sent_only_if_enabled_and_never_saved(function: Function) -> None:
    hidden = function.script(chunks=1, text="a", reasoning=2)
    function.change(show_reasoning=True)
    shown = function.script(chunks=1, text="a", reasoning=2)

    assert {"start", "delta", "done"} == {frame["type"] for frame in hidden}
    assert {"start", "reasoning", "delta", "done"} == {frame["type"] for frame in shown}
    assert ["a", "a"] == [turn.assistant for turn in function.turns()]


def test_deltas_that_arrive_during_a_post_are_one_frame(function: Function) -> None:
    """With slow posts there are far fewer frames than chunks."""
    function.endpoint.delay = 0.05
    frames = function.script(chunks=200, rate=400, text="ab ")

    assert_well_formed(frames)
    assert "ab " * 200 == text(frames)
    assert len(frames) < 40


def test_two_connections_have_separate_conversations(function: Function) -> None:
    """Although one environment serves both."""
    function.connect("one=")
    function.connect("two=")
    secret = function.message("the code is Zanzibar", "one=")
    echo = function.message('/script {"echo": true}', "two=")

    assert "Zanzibar" not in text(echo)
    assert secret[0]["session_id"] != echo[0]["session_id"]
    assert "Zanzibar" in text(function.message('/script {"echo": true}', "one="))


def test_a_session_of_another_principal_is_unauthorized(function: Function) -> None:
    """For chat, history and clear, whether the connection or the request names the session."""
    function.connect("mine=", principal="me", session_id="private")
    function.connect("yours=", principal="you", session_id="private")
    function.connect("other=", principal="you")
    function.message("Zanzibar", "mine=")

    for connection_id in ("yours=", "other="):
        for action in ("chat", "history", "clear"):
            request = {"action": action, "body": '/script {"echo": true}', "session_id": "private"}
            (frame,) = function.message(request, connection_id)
            assert ("error", "unauthorized") == (frame["type"], frame["code"])
    assert 1 == len(function.app.sessions.history("private", "me", 5)[0])


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
def test_a_failure_of_bedrock_ends_in_one_error(function: Function, fault: dict[str, Any]) -> None:
    """The partial answer is saved with its state, and the next turn succeeds."""
    frames = function.script(chunks=9, text="ab", fault=fault)

    assert_well_formed(frames)
    assert "error" == frames[-1]["type"]
    partial = "ab" * fault.get("at", 0)
    assert partial == text(frames)
    assert [(partial, "error")] == [(turn.assistant, turn.state) for turn in function.turns()]
    assert "You said: still here" == text(function.message("still here"))
    roles = [m["role"] for m in json.loads(text(function.script(echo=True)))["messages"]]
    assert roles == [("user", "assistant")[n % 2] for n in range(len(roles))]


def test_an_answer_ends_before_lambdas_timeout(function: Function) -> None:
    """The partial answer is saved, and the client receives the stop reason."""
    function.change(deadline_seconds=58.5)  # of 60
    frames = function.script(chunks=1000, rate=50, text="ab")

    assert_well_formed(frames)
    assert ("done", "deadline") == (frames[-1]["type"], frames[-1]["stop_reason"])
    (turn,) = function.turns()
    assert ("deadline", text(frames)) == (turn.state, turn.assistant)


def test_slow_posts_do_not_prevent_the_save_or_the_terminal_frame(function: Function) -> None:
    """At the deadline the received answer is saved completely; deltas may remain unposted."""
    function.context.remaining_ms = 7_000
    function.change(deadline_seconds=3.0)
    function.endpoint.delay = 1.0  # five posts of at most 31 KB before the last deltas are dropped
    frames = function.script(chunks=60, text="ab" * 2_000)

    assert_well_formed(frames)
    assert ("done", "deadline") == (frames[-1]["type"], frames[-1]["stop_reason"])
    (turn,) = function.turns()
    assert ("deadline", "ab" * 120_000) == (turn.state, turn.assistant)
    assert len(text(frames)) < 240_000


def test_the_tokens_of_an_interrupted_answer_are_estimated(function: Function) -> None:
    """Bedrock reports no usage then, but the budget must count it."""
    function.script(chunks=90, text="x" * 100, fault={"at": 80, "type": "cut"})

    (turn,) = function.turns()
    assert turn.tokens > 2000


def test_an_answer_that_ended_is_complete_although_the_client_is_gone(function: Function) -> None:
    function.change(on_disconnect="cancel")
    function.endpoint.delay = 0.3
    function.endpoint.answers = [200, 200, 410]
    function.script(chunks=3, rate=20, text="ab")

    assert [("complete", "ababab")] == [(t.state, t.assistant) for t in function.turns()]


def test_a_deadline_before_the_first_delta_is_an_error(function: Function) -> None:
    """And not an empty answer."""
    function.change(deadline_seconds=58.0)
    frames = function.script(chunks=9, fault={"at": 0, "type": "stall"})

    assert_well_formed(frames)
    assert ("error", "deadline") == (frames[-1]["type"], frames[-1]["code"])
    assert [("deadline", "")] == [(turn.state, turn.assistant) for turn in function.turns()]


def test_without_time_to_answer_bedrock_is_not_called(function: Function) -> None:
    """The session is available for the next request."""
    function.context.remaining_ms = 5_000
    (frame,) = function.message({"body": "hi", "request_id": "r"})
    function.context.remaining_ms = 60_000

    assert ("error", "deadline") == (frame["type"], frame["code"])
    assert () == function.turns()
    assert "You said: hi" == text(function.message({"body": "hi", "request_id": "r2"}))


# -- rejected requests ----------------------------------------------------------------------------


def test_a_message_over_the_limit_is_rejected(function: Function) -> None:
    """The limit is in bytes."""
    function.change(max_input_bytes=10)
    (frame,) = function.message("é" * 6)

    assert ("error", "too_large", False) == (frame["type"], frame["code"], frame["retryable"])
    assert "You said" in text(function.message("é" * 5))


def test_during_an_answer_other_requests_are_busy_or_duplicate(function: Function) -> None:
    """Another request is `busy`; the same request again is `duplicate`, also after the answer."""
    slow = {"body": '/script {"chunks": 40, "rate": 40, "text": "ab"}', "request_id": "r-1"}
    with ThreadPoolExecutor() as pool:
        running = pool.submit(function.send, "MESSAGE", body=json.dumps(slow))
        while not function.endpoint.frames:
            assert not running.done()
        function.send("MESSAGE", body="me too")
        function.send("MESSAGE", body=json.dumps(slow))
        running.result(30)
    frames = [json.loads(frame) for frame in function.endpoint.frames]

    errors = [frame["code"] for frame in frames if frame["type"] == "error"]
    assert ["busy", "duplicate"] == errors
    assert_well_formed(
        [f for f in frames if f["request_id"] == "r-1" and f.get("code") != "duplicate"]
    )
    assert "duplicate" == function.message(slow)[0]["code"]
    assert 1 == len(function.turns())


def test_a_redelivered_event_posts_nothing(function: Function) -> None:
    """Asynchronous invocation may deliver an event twice: there is one answer and one end."""
    first = function.message("hi", requestId="event-x")
    second = function.message("hi", requestId="event-x")

    assert_well_formed(first)
    assert [] == second
    assert 1 == len(function.turns())


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
def test_an_invalid_frame_is_one_error_frame(function: Function, body: str, code: str) -> None:
    """With the request id of the client or of API Gateway; the conversation is unchanged."""
    function.message("anchor")
    frames = function.message(body)

    assert_well_formed(frames)
    assert ("error", code) == (frames[0]["type"], frames[0]["code"])
    expected = "r-1" if "r-1" in body else f"event-{function.count}"
    assert expected == frames[0]["request_id"]
    assert "anchor" in text(function.script(echo=True))


@pytest.mark.parametrize("event", [{"isBase64Encoded": True, "body": "/w=="}, {"body": 5}, {}])
def test_a_body_that_is_no_text_is_an_error_frame(
    function: Function, event: dict[str, Any]
) -> None:
    """Binary, of another type, or missing."""
    function.send("MESSAGE", **event)

    assert "invalid_request" == json.loads(function.endpoint.frames[-1])["code"]


@pytest.mark.parametrize(
    "event", [None, {}, {"requestContext": {"eventType": "MESSAGE"}}, {"Records": []}]
)
def test_an_event_of_another_source_is_logged_and_status_400(
    function: Function, event: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """No exception is raised."""
    assert 400 == handler.handle(function.app, event, LambdaContext())["statusCode"]
    assert "event.not_understood" in capsys.readouterr().out


def test_an_unknown_event_type_is_status_400(function: Function) -> None:
    assert 400 == function.send("AUTHORIZE")["statusCode"]


# -- a client that is gone ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_disconnect", "state", "chunks"),
    [("finish", "complete", 40), ("cancel", "disconnected", 0)],
)
def test_after_a_disconnect_the_answer_is_finished_or_cancelled(
    function: Function, on_disconnect: str, state: str, chunks: int
) -> None:
    """According to ON_DISCONNECT; a cancelled answer is saved as far as it was received."""
    function.change(on_disconnect=on_disconnect)
    function.endpoint.answers = [200, 200, 410]
    function.script(chunks=40, rate=80, text="ab")

    (turn,) = function.turns()
    assert state == turn.state
    if chunks:
        assert "ab" * chunks == turn.assistant
    else:
        assert 0 < len(turn.assistant) < 80
    assert 2 == len(function.endpoint.frames)
    assert "You said: back" == text(function.message("back"))


# -- failures of the store and of the code --------------------------------------------------------


@pytest.mark.parametrize("operation", ["get", "transact", "last"])
def test_a_store_failure_before_the_model_is_one_error(
    function: Function, table: Table, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    """The session is available once the store is."""
    with failing(table, operation, monkeypatch):
        frames = function.message("hi")

    assert_well_formed(frames)
    assert ("error", "internal", True) == (
        frames[-1]["type"],
        frames[-1]["code"],
        frames[-1]["retryable"],
    )
    assert "You said: again" == text(function.message("again"))


def test_a_store_failure_at_a_resume_does_not_end_the_request(
    function: Function, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error frame has another request id, and the resume can be repeated."""
    answer = function.message({"body": "hi", "request_id": "r"})
    resume = {"action": "resume", "request_id": "r"}
    for operation in ("get", "put_new", "update"):
        with failing(table, operation, monkeypatch):
            (frame,) = function.message(resume)
        assert ("error", "internal", True) == (frame["type"], frame["code"], frame["retryable"])
        assert "r" != frame["request_id"]

    assert answer == function.message(resume)


def test_a_failed_save_is_retried_and_then_an_error(
    function: Function,
    table: Table,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A turn that cannot be saved is counted, with its usage and its failure."""
    original: Callable[..., Any] = table.transact
    calls: list[int] = []

    def first_only(*writes: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            return original(*writes)
        raise ChatError("throttled", "The conversation store is busy.", cause="test")

    with monkeypatch.context() as patch:
        patch.setattr(table, "transact", first_only)
        patch.setattr(leases_module, "SAVE_SECONDS", 1.0)
        capsys.readouterr()
        frames = function.message("hi")

    assert_well_formed(frames)
    assert ("error", "throttled") == (frames[-1]["type"], frames[-1]["code"])
    assert len(calls) > 2
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert ("turn", "unfinished", "throttled", 1, 1) == tuple(
        line[name] for name in ("event", "state", "Code", "Turns", "Failures")
    )
    assert line["OutputTokens"] > 0  # it was billed


def test_an_unexpected_exception_is_internal_and_logged_by_place(
    function: Function, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log has its type and line, but no content of the request."""
    monkeypatch.setattr(turn_module, "window", lambda *_: 1 / 0)
    frames = function.message("Zanzibar")
    logged = capsys.readouterr().out

    assert_well_formed(frames)
    assert "internal" == frames[-1]["code"]
    assert "ZeroDivisionError at test_handler.py:" in logged
    assert "Zanzibar" not in logged


def test_an_unexpected_exception_at_connect_is_status_500(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "valid_id", lambda *_: 1 / 0)

    assert 500 == function.connect("new=")["statusCode"]


# -- history, clear, ping -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
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
    function: Function, monkeypatch: pytest.MonkeyPatch, body: dict[str, Any]
) -> None:
    """Later deliveries of an event post nothing, whatever the result of the first."""
    monkeypatch.setattr(sessions_module, "ARRIVAL_SECONDS", 0.0)
    function.change(max_input_bytes=100)
    first = function.message(body, requestId="one")

    assert_well_formed(first)
    assert [] == function.message(body, requestId="one")
    assert [] == function.message(body, requestId="one")


def test_a_request_over_the_daily_budget_is_rejected_with_a_time(function: Function) -> None:
    """Bedrock is not called; `retry_at` is the start of the next UTC day."""
    table = function.app.conversations._table
    leases = Leases(table, function.app.conversations, Budget(1, 0))
    function.app = replace(function.app, leases=leases)
    assert "You said: hi" == text(function.message("hi"))

    (frame,) = function.message("again")

    assert ("error", "over_budget", False) == (frame["type"], frame["code"], frame["retryable"])
    assert 0 == frame["retry_at"] % 86_400
    assert 1 == function.message({"action": "clear"})[-1]["cleared"]


def test_parts_of_white_space_are_an_invalid_request(function: Function) -> None:
    part = {"request_id": "r", "body": " ", "parts": 2}

    assert [] == function.message({**part, "part": 1})
    (frame,) = function.message({**part, "part": 2})
    assert "invalid_request" == frame["code"]


def test_history_is_the_newest_turns_oldest_first(function: Function) -> None:
    """Followed by `done`."""
    for word in ("one", "two", "three"):
        function.message(word)
    frames = function.message({"action": "history", "limit": 2, "request_id": "h"})

    assert_well_formed(frames)
    turns = [turn for frame in frames for turn in frame.get("turns", [])]
    assert [(2, "two", "You said: two"), (3, "three", "You said: three")] == [
        (turn["turn"], turn["user"], turn["assistant"]) for turn in turns
    ]
    assert {"type": "done", "request_id": "h", "seq": 1} == frames[-1]


def test_clear_removes_the_turns_from_the_history_and_the_prompt(function: Function) -> None:
    """The session can be used afterwards."""
    function.message("Zanzibar")
    frames = function.message({"action": "clear"})

    assert_well_formed(frames)
    assert 1 == frames[-1]["cleared"]
    assert [] == function.message({"action": "history"})[0]["turns"]
    assert "Zanzibar" not in text(function.script(echo=True))


def test_clear_of_an_empty_session_is_no_error(function: Function) -> None:
    assert 0 == function.message({"action": "clear"})[-1]["cleared"]


def test_a_ping_is_answered_with_a_pong(function: Function) -> None:
    """The same frame as by API Gateway's own route."""
    assert [{"type": "pong"}] == function.message({"action": "ping"})


def test_the_seed_format_serves_the_client_of_the_seed(function: Function) -> None:
    """Its ping and its frames."""
    function.connect("seed=", format="seed")
    assert handler.OK == function.send("MESSAGE", "seed=", body="__ping__")
    assert '"__pong__"' == function.endpoint.frames[-1]
    frames = function.message({"body": "hi", "request_id": "r", "convType": "normal"}, "seed=")

    assert {"request_id": "r", "msg": "You said: hi", "status": "completed"} == frames[-1]
    assert {"proceeding"} == {frame["status"] for frame in frames[:-1]}
    assert "__ping__" in text(function.message("__ping__"))  # in other formats this is text


# -- the log --------------------------------------------------------------------------------------


def log_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_log_has_counts_and_no_content(
    function: Function, capsys: pytest.CaptureFixture[str]
) -> None:
    """One JSON line per turn, without the prompt, the answer or the session id."""
    function.connect("c2=", session_id="session-Zanzibar")
    function.message({"body": "secret-question", "request_id": "r-1"}, "c2=")
    function.message("{broken secret-question", "c2=")
    function.script(fault={"before": "ThrottlingException", "message": "secret-question"})
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


def test_every_log_line_has_the_ids_of_its_request(
    function: Function, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Including lines of the reading thread: any id of a request finds all its lines."""
    monkeypatch.setattr("bedrock_stream.FIRST_PAUSE_SECONDS", 0.01)
    function.app = replace(function.app, model=replace(function.app.model, retry_seconds=20.0))
    fault = {"before": "ThrottlingException", "times": 2, "message": secrets.token_hex(8)}
    order = {"chunks": 2, "fault": fault}
    function.message({"body": "/script " + json.dumps(order), "request_id": "r-1"})
    function.message({"body": "again", "request_id": "r-1"})
    handler.handle(function.app, {}, function.context)
    *with_ids, without_ids = log_lines(capsys)
    retry, second_retry, turn, duplicate = with_ids

    assert ["stream.retry", "turn", "request.failed"] == [
        line["event"] for line in (retry, turn, duplicate)
    ]
    assert second_retry["event"] == retry["event"]
    assert 2 == turn["Retries"]
    assert {("c=", "r-1", digest("s"))} == {
        (line["connection_id"], line["request_id"], line["session"]) for line in with_ids
    }
    assert retry["event_id"] == turn["event_id"] != duplicate["event_id"]
    assert {"timestamp", "level", "event", "cause"} == without_ids.keys()


def test_only_our_own_faults_are_logged_as_errors(
    function: Function, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An ERROR line has the place in the code; an invalid request is INFO."""
    function.message("{broken")
    monkeypatch.setattr(function.app.connections, "get", lambda _: 1 // 0)
    function.message("hello")
    function.connect("new=", session_id="x")
    monkeypatch.setattr(function.app.connections, "put", lambda _: 1 // 0)
    function.connect("new=", session_id="x")
    logged = [
        (line["level"], line["event"], line["Code"], line["cause"]) for line in log_lines(capsys)
    ]

    assert ("INFO", "request.failed", "invalid_request", "") == logged[0]
    assert [
        ("ERROR", "request.failed", "internal"),
        ("ERROR", "event.failed", "internal"),
    ] == [each[:3] for each in logged[1:]]
    assert all("ZeroDivisionError at test_handler.py:" in each[3] for each in logged[1:])


# -- the entry point ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        ({}, SettingsError),
        ({"TABLE_NAME": "t", "MODEL_ID": "unknown.model-v1:0"}, UnknownModelError),
    ],
)
def test_invalid_settings_fail_at_start_by_name(
    environment: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"TABLE_NAME|MODEL_ID"):
        build_services(environment)


def test_each_endpoint_has_one_poster() -> None:
    """The poster of the configured endpoint is created at start."""
    app = build_services({"TABLE_NAME": "t", "CALLBACK_URL": "https://a.example/prod"})

    assert app.poster_for("https://a.example/prod") is app.poster_for("https://a.example/prod")
    assert (
        "https://b.example/prod/@connections/"
        == cast(SigningPoster, app.poster_for("https://b.example/prod")).url
    )


def test_lambda_handler_uses_the_services_created_at_import() -> None:
    assert 400 == handler.lambda_handler({}, LambdaContext())["statusCode"]
    assert handler.lambda_handler.__module__ == "handler"


def test_the_reading_thread_ends_with_the_turn(function: Function) -> None:
    """Otherwise it would continue when Lambda resumes the frozen environment."""
    before = set(threading.enumerate())
    function.message("hi")
    for thread in set(threading.enumerate()) - before:
        if thread.name == "bedrock":
            thread.join(5)
            assert not thread.is_alive()


def test_only_boto3_msgspec_and_the_standard_library_are_imported() -> None:
    """Imports add to the cold start."""
    source = Path(handler.__file__).parent
    code = (
        "import sys, os; os.environ.update(TABLE_NAME='t', AWS_DEFAULT_REGION='us-east-1'); "
        f"sys.path.insert(0, {str(source)!r}); import handler; "
        "print(*sorted({name.split('.')[0] for name, module in sys.modules.items() "
        "if 'site-packages' in (getattr(module, '__file__', None) or '')}))"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    # Without the packages that the test environment loads into every process.
    loaded = {
        name for name in process.stdout.split() if not name.startswith(("_", "a1_", "coverage"))
    }

    boto3_packages = {"boto3", "s3transfer", "jmespath", "dateutil", "six"}
    botocore_packages = {"botocore", "urllib3", "certifi", "awscrt"}
    # msgspec imports typing_extensions where Python is older than Lambda's 3.13.
    msgspec_packages = {"msgspec", "typing_extensions"}
    assert loaded <= boto3_packages | botocore_packages | msgspec_packages


class CachingClient:
    """A Bedrock client that records the request and streams an answer with cached tokens."""

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
def test_prompt_cache_adds_cache_points_and_reports_cached_tokens(
    function: Function, prompt_cache: bool, points: int
) -> None:
    """Cache points in Claude's prompt, cached tokens in `done`."""
    function.script(chunks=1, text="a history")
    bedrock: Any = CachingClient()
    function.app = replace(function.app, model=replace(function.app.model, client=bedrock))
    function.change(prompt_cache=prompt_cache)

    usage = function.message("hi")[-1]["usage"]

    assert points == json.dumps(bedrock.body).count("cache_control")
    assert {
        "input_tokens": 5,
        "output_tokens": 2,
        "cache_read_tokens": 7,
        "cache_write_tokens": 3,
    } == usage

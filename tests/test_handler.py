"""Covers src/handler.py: connections, refused requests, the other actions, and the log."""

import json
import secrets
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace
from support.endpoints import ConnectionsEndpoint, at
from support.functions import (
    Function,
    LambdaContext,
    assert_well_formed,
    connected_function,
    failing,
    text,
)
from support.lambda_environments import PATIENCE

import handler
from errors import ChatError
from families.registry import UnknownModelError
from log import digest
from services import build_services
from settings import SettingsError
from signing_poster import SigningPoster
from store import sessions as sessions_module
from store.budget import Budget
from store.leases import Leases
from store.table import Table


@pytest.fixture
def function(table: Table, bedrock: str, connections: ConnectionsEndpoint) -> Function:
    return connected_function(table, bedrock, connections)


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


def test_an_unexpected_exception_at_connect_is_status_500(
    function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "valid_id", lambda *_: 1 / 0)

    assert 500 == function.connect("new=")["statusCode"]


# -- rejected requests ----------------------------------------------------------------------------


def test_a_message_over_the_limit_is_rejected(function: Function) -> None:
    """The limit is in bytes."""
    function.change(max_input_bytes=10)
    (frame,) = function.message("é" * 6)

    assert ("error", "too_large", False) == (frame["type"], frame["code"], frame["retryable"])
    assert "You said" in text(function.message("é" * 5))


def test_during_an_answer_other_requests_are_busy_or_duplicate(function: Function) -> None:
    """Another request is `busy`; the same request again is `duplicate`, also after the answer."""
    slow = {"body": '/script {"chunks": 40, "text": "ab"}', "request_id": "r-1"}
    is_running, others_are_refused = threading.Event(), threading.Event()

    def hold() -> None:
        is_running.set()
        assert others_are_refused.wait(PATIENCE)

    function.endpoint.on_post = at(0, hold)
    with ThreadPoolExecutor() as pool:
        running = pool.submit(function.send, "MESSAGE", body=json.dumps(slow))
        assert is_running.wait(PATIENCE)
        function.send("MESSAGE", body="me too")
        function.send("MESSAGE", body=json.dumps(slow))
        others_are_refused.set()
        running.result(PATIENCE)
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


def test_each_api_has_one_poster_at_its_own_endpoint() -> None:
    """Not at the domain through which a client came: a custom domain has another path."""
    app = build_services({"TABLE_NAME": "t"})

    assert app.poster_for("abc", "prod") is app.poster_for("abc", "prod")
    assert (
        "https://abc.execute-api.us-east-1.amazonaws.com/prod/@connections/"
        == cast(SigningPoster, app.poster_for("abc", "prod")).url
    )


def test_the_configured_callback_url_serves_every_api() -> None:
    """Its poster is created at start."""
    app = build_services({"TABLE_NAME": "t", "CALLBACK_URL": "https://a.example/chat"})

    assert app.poster_for("abc", "prod") is app.poster_for("other", "stage")
    assert (
        "https://a.example/chat/@connections/" == cast(SigningPoster, app.poster_for("x", "y")).url
    )


@pytest.mark.parametrize(("status", "cause"), [(403, "forbidden"), (400, "refused")])
@pytest.mark.parametrize("body", ["hi", {"action": "history"}, {"action": "resume"}])
def test_a_refused_post_is_a_failure_that_is_counted(
    function: Function,
    capsys: pytest.CaptureFixture[str],
    body: Any,
    status: int,
    cause: str,
) -> None:
    """The client saw no answer and no error: without the metric the operator would not know."""
    if isinstance(body, dict) and body["action"] == "resume":
        (start, *_) = function.message("hi")
        body = {**body, "request_id": start["request_id"], "from_seq": 0}
    capsys.readouterr()
    function.endpoint.answers = [status] * 9
    function.message(body)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    refused = [line for line in lines if line["event"] == "post.refused"]
    assert [("ERROR", f"post {cause}", "internal", 1)] == [
        (line["level"], line["cause"], line["Code"], line["Failures"]) for line in refused
    ]


def test_a_client_that_is_gone_is_no_failure(
    function: Function, capsys: pytest.CaptureFixture[str]
) -> None:
    function.endpoint.answers = [410] * 9
    function.message({"action": "history"})

    assert "post.refused" not in capsys.readouterr().out


def test_lambda_handler_uses_the_services_created_at_import() -> None:
    assert 400 == handler.lambda_handler({}, LambdaContext())["statusCode"]
    assert handler.lambda_handler.__module__ == "handler"


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

"""Covers deploy/smoke.py, with the real local stack, and with servers that fail."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from deploy import access_log, alias, smoke, terraform
from deploy.conversation import SmokeError, Target, UntestedError
from deploy.smoke import QUESTION, deployed
from local.stack import Stack

PATIENCE = 1.0  # seconds without a frame, after which a step fails here
FUNCTION = {"region": "eu-west-1", "function": "chat-fn"}
LOGS = "the log group /aws/lambda/chat-fn in eu-west-1"

Frame = dict[str, Any]
Reply = Callable[[Frame], list[Frame | None]]  # None closes the connection


REQUEST_ID = "Xk2bFh6joAMCLfA="  # API Gateway's, which a message without an id of its own has
REFUSED = {"type": "error", "request_id": "e", "seq": 0, "code": "invalid_request", "message": "?"}


def frames_for(request: Frame) -> list[Frame | None]:
    """The answer of a deployment that works."""
    if request["action"] == "ping":
        return [{"type": "pong"}]
    if request["action"] == "empty frame":
        return [REFUSED]
    rows: dict[str, list[Frame]] = {
        "chat": [
            {"type": "start", "session_id": "s", "model": "m"},
            {"type": "delta", "text": "rea"},
            {"type": "delta", "text": "dy"},
            {"type": "done", "model": "m", "latency_ms": {"first_token": 1, "total": 2}},
        ],
        "history": [
            {"type": "history", "turns": [{"turn": 0, "user": QUESTION, "assistant": "ready"}]},
            {"type": "done"},
        ],
        "clear": [{"type": "done", "cleared": 1}],
    }
    return [
        {"request_id": request.get("request_id", REQUEST_ID), "seq": seq, **row}
        for seq, row in enumerate(rows[request["action"]])
    ]


@contextlib.contextmanager
def gateway(
    reply: Reply = frames_for,
    statuses: Sequence[int] = (),
    requests: list[Request] | None = None,
    messages: list[str] | None = None,
) -> Iterator[str]:
    """A WebSocket server with these answers; it refuses the first handshakes with `statuses`."""
    refusals = iter(statuses)

    def refuse(connection: ServerConnection, request: Request) -> Response | None:
        if requests is not None:
            requests.append(request)
        status = next(refusals, None)
        return connection.respond(HTTPStatus(status), "") if status else None

    def converse(connection: ServerConnection) -> None:
        for message in connection:
            if messages is not None:
                messages.append(str(message))
            for frame in reply(json.loads(message or '{"action": "empty frame"}')):
                if frame is None:
                    return
                connection.send(json.dumps(frame))

    with serve(
        converse,
        "127.0.0.1",
        0,
        process_request=refuse,
        select_subprotocol=lambda _, offered: offered[0] if offered else None,
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def changed(action: str, change: Callable[[list[Any]], list[Any]]) -> Reply:
    """The answers of a deployment that works, changed for one action."""
    return lambda request: (
        change(frames_for(request)) if action == request["action"] else frames_for(request)
    )


def failing(reply: Reply, **target: str) -> str:
    """The error message for a deployment with these answers."""
    with (
        gateway(reply) as url,
        pytest.raises(SmokeError) as failed,
    ):
        smoke.smoke(Target(url=url, **FUNCTION, **target), PATIENCE, lambda _: None)
    return str(failed.value)


@pytest.fixture(autouse=True)
def patterns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The patterns that were looked for in the access log, which may not be read."""
    asked: list[str] = []

    def logged(_target: Target, pattern: str, _since: float, _wait: float) -> str:
        asked.append(pattern)
        return "unknown: AccessDeniedException"

    monkeypatch.setattr(smoke, "logged", logged)
    return asked


@pytest.fixture(scope="module")
def printed() -> list[str]:
    """The output of `make smoke` for the real local stack."""

    async def main() -> list[str]:
        lines: list[str] = []
        async with Stack(say=lambda _: None, log=lambda _: None) as stack:
            await asyncio.to_thread(smoke.smoke, Target(url=stack.url), 30, lines.append)
        return lines

    return asyncio.run(main())


def test_each_step_is_reported_with_its_duration(printed: list[str]) -> None:
    """With the real gateway and function: six steps, then success."""
    rows = [line.split(maxsplit=2) for line in printed[:-1]]

    assert ["connect", "ping", "chat", "history", "empty frame", "clear"] == [
        rest.partition(":")[0] for _, _, rest in rows
    ]
    assert {"s"} == {unit for _, unit, _ in rows}
    assert all(float(seconds) >= 0 for seconds, _, _ in rows)
    assert "it works" == printed[-1]


def test_the_answer_is_described(printed: list[str]) -> None:
    """Its text, its model, the number of deltas and the time to the first one."""
    assert "claude" in printed[2]
    assert QUESTION[:20] in printed[2]
    assert "first after" in printed[2]


def test_the_session_is_cleared_at_the_end(printed: list[str]) -> None:
    """A smoke test leaves no turns."""
    assert "1 turn deleted" in printed[5]


def test_quotes_umlauts_and_an_emoji_come_back_unchanged(printed: list[str]) -> None:
    """Through the real template and function: the question is in the history as it was sent."""
    assert {'"', "'", "\\", "ä", "ß", "🙂"} <= set(QUESTION)
    assert "contains the message, every character of it" in printed[3]


def test_an_empty_frame_is_answered_with_its_documented_error(printed: list[str]) -> None:
    """By the real gateway and function."""
    assert "invalid_request: The message is empty" in printed[4]


def test_no_answer_to_a_chat_names_the_alternative() -> None:
    """If the route does not invoke the function: the variable for proxy integrations."""
    message = failing(changed("chat", lambda _: []))

    assert 'chat_integration = "proxy"' in message
    assert LOGS in message


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (changed("ping", lambda _: []), "the stage does not serve the routes"),
        (changed("ping", lambda _: [{"type": "error"}]), "the stage does not serve the routes"),
        (changed("history", lambda _: []), LOGS),
        (changed("clear", lambda _: []), LOGS),
        (changed("chat", lambda frames: frames[:2]), "received nothing after 2 frames"),
        (changed("chat", lambda frames: [frames[0], *frames[2:]]), "unexpected frame"),
        (changed("chat", lambda frames: [*frames, frames[-1]]), "unexpected frame"),
        (changed("history", lambda frames: [{**frames[0], "request_id": "x"}]), "unexpected frame"),
        (
            changed("chat", lambda frames: [frames[0], {**frames[1], "request_id": "x"}]),
            "unexpected frame",
        ),
        (changed("chat", lambda frames: [{**frames[3], "seq": 0}]), "received no answer"),
        (
            changed("chat", lambda frames: [frames[0], {**frames[3], "seq": 1}]),
            "received no answer, but ['start', 'done']",
        ),
        (changed("chat", lambda _: [None]), "the connection was closed"),
        (changed("ping", lambda frames: [*frames, None]), "the connection was closed"),
        (
            changed("chat", lambda _: [{"message": "Internal server error", "requestId": "r"}]),
            "received from API Gateway: Internal server error",
        ),
        (changed("history", lambda frames: [{**frames[1], "seq": 0}]), "not in the history"),
        (
            changed("history", lambda frames: [{**frames[0], "turns": [{"user": "�"}]}, frames[1]]),
            "characters were changed on the way",
        ),
        (
            changed("chat", lambda _: [{"message": "Endpoint request timed out"}]),
            "ignored the header that asks for asynchronous invocation, or chat_integration",
        ),
        (changed("empty frame", lambda frames: [{**frames[0], "code": "busy"}]), "empty frame: "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_failure_message_says_what_was_received_and_what_to_check(
    reply: Reply, expected: str
) -> None:
    """The first failure ends the test."""
    assert expected in failing(reply)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("model_unavailable", "make preflight"),
        ("internal", LOGS),
        ("model_error", LOGS),
        ("over_budget", "tokens_per_day"),
        ("deadline", "It is late."),
    ],
)
def test_an_error_frame_is_reported_with_its_remedy(code: str, expected: str) -> None:
    """Code and message, and a remedy for the owner of the deployment."""
    error = {"type": "error", "code": code, "message": "It is late.", "retryable": False}
    message = failing(changed("chat", lambda frames: [{**frames[0], **error}]))

    assert f"chat: received {code}: It is late." in message
    assert expected in message


@pytest.mark.parametrize(
    ("auth", "status", "expected"),
    [
        ("iam", 403, "execute-api:Invoke"),
        ("cognito", 401, "The authorizer rejected the token: it may have expired"),
        ("jwt", 401, "The authorizer rejected the token"),
        ("none", 403, "allowed_origins"),
        ("none", 429, "throttle_rate"),
        ("none", 502, LOGS),
        ("none", 404, "check the URL"),
    ],
)
def test_a_refused_handshake_is_explained(
    auth: str, status: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its status and the deployment's authentication."""
    monkeypatch.setenv("TOKEN", "t")
    with (
        gateway(statuses=[status]) as url,
        pytest.raises(SmokeError, match=f"failed with status {status}") as failed,
    ):
        smoke.smoke(Target(url=url, auth=auth, **FUNCTION), PATIENCE, lambda _: None)

    assert expected in str(failed.value)


def test_the_handshake_is_retried_after_a_deployment() -> None:
    """For the given time: a new deployment takes a while to respond."""
    requests: list[Request] = []
    lines: list[str] = []
    with gateway(statuses=[503, 403], requests=requests) as url:
        smoke.smoke(Target(url=url), 5, lines.append, retry_seconds=60)

    assert 3 == len(requests)
    assert "it works" == lines[-1]


def test_with_iam_the_url_is_signed() -> None:
    """With the user's credentials, for the deployment's Region."""
    requests: list[Request] = []
    with gateway(requests=requests) as url:
        smoke.smoke(Target(url=url, auth="iam", **FUNCTION), 5, lambda _: None)
    query = parse_qs(urlsplit(requests[0].path).query)

    assert "testing" == query["X-Amz-Credential"][0].split("/")[0]
    assert ["eu-west-1", "execute-api"] == query["X-Amz-Credential"][0].split("/")[2:4]


def test_with_iam_missing_credentials_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent."""
    monkeypatch.setattr("botocore.session.Session.get_credentials", lambda _: None)

    with pytest.raises(UntestedError, match="No AWS credentials were found"):
        smoke.opened(Target(url="ws://127.0.0.1:9", auth="iam", region="us-east-1"), PATIENCE)


def test_with_jwt_the_token_is_sent_as_a_subprotocol(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the environment, and not in the URL."""
    monkeypatch.setenv("TOKEN", "a.b.c")
    requests: list[Request] = []
    with gateway(requests=requests) as url:
        smoke.smoke(Target(url=url, auth="jwt", **FUNCTION), 5, lambda _: None)

    assert "chat.v1, bearer.a.b.c" == requests[0].headers["Sec-WebSocket-Protocol"]
    assert "a.b.c" not in requests[0].path


@pytest.mark.parametrize("auth", ["cognito", "jwt"])
def test_with_jwt_a_missing_token_is_reported(monkeypatch: pytest.MonkeyPatch, auth: str) -> None:
    """At once, although connections are retried; nothing is sent, and the variable is named."""
    monkeypatch.delenv("TOKEN", raising=False)

    with pytest.raises(UntestedError, match="variable TOKEN"):
        smoke.smoke(Target(url="ws://127.0.0.1:9", auth=auth), PATIENCE, retry_seconds=1e9)


def test_the_target_is_read_from_the_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """URL, authentication, Region, function and page."""
    outputs = {
        "websocket_url": "wss://x/live",
        "auth": "iam",
        "region": "eu-west-1",
        "function_name": "chat-fn",
    }
    monkeypatch.setattr(terraform, "outputs", lambda: outputs)

    assert Target(url="wss://x/live", auth="iam", **FUNCTION) == deployed()

    outputs["page_url"] = "https://page/"
    assert "https://page/" == deployed().page


def test_without_a_deployment_the_first_step_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, with exit status 1."""
    monkeypatch.setattr(terraform, "outputs", dict)

    assert 1 == smoke.main([])
    assert "failed: Nothing is deployed: run `make deploy` first.\n" == capsys.readouterr().err


def test_a_stopped_deployment_is_not_tested(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is as its owner wants it: that is no failure, and the alias stays."""
    outputs = {"websocket_url": "wss://x/live", "reserved_concurrency": 0}
    monkeypatch.setattr(terraform, "outputs", lambda: outputs)

    assert 0 == smoke.main(["--else-live", "7"])
    assert "not tested: The deployment is stopped: reserved_concurrency is 0.\n" == (
        capsys.readouterr().out
    )


def test_a_missing_terraform_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sentence."""
    monkeypatch.setenv("PATH", "")

    with pytest.raises(SmokeError, match="no terraform on PATH"):
        deployed()


def test_the_option_url_tests_any_server(capsys: pytest.CaptureFixture[str]) -> None:
    """If it is not reachable, that is reported, with exit status 1."""
    with gateway() as url:
        assert 0 == smoke.main(["--url", url])
    assert 1 == smoke.main(["--url", url, "--patience", "1"])

    output = capsys.readouterr()
    assert output.out.endswith("it works\n")
    assert f"failed: Cannot connect to {url}" in output.err


def test_the_pages_url_is_printed_last(capsys: pytest.CaptureFixture[str]) -> None:
    """After the success message."""
    with gateway() as url:
        smoke.smoke(Target(url=url, page="https://page/"))

    assert capsys.readouterr().out.endswith("minutes): https://page/\n")


def test_a_local_stack_logs_to_its_terminal() -> None:
    """It has no log group."""
    assert "the output of `make run`" == Target(url="ws://127.0.0.1:3001").logs


def test_characters_are_sent_as_they_are() -> None:
    """Not as escape sequences, which no template could damage; and one frame is empty."""
    messages: list[str] = []
    with gateway(messages=messages) as url:
        smoke.smoke(Target(url=url), PATIENCE, lambda _: None)

    assert "äöü ß €, 🙂" in messages[1]
    assert "" in messages


@pytest.mark.parametrize("reply", [[], [{"message": "Internal server error", "requestId": "r"}]])
def test_an_empty_frame_that_is_not_passed_on_is_a_warning(reply: list[Frame]) -> None:
    """Whether API Gateway passes one on is not confirmed, so the test continues."""
    lines: list[str] = []
    with gateway(changed("empty frame", lambda _: list(reply))) as url:
        smoke.smoke(Target(url=url), PATIENCE, lines.append)

    assert ["warning"] == [line.split(": ")[1] for line in lines if "empty frame" in line]
    assert "it works" == lines[-1]


def test_the_access_log_is_asked_about_the_own_question(patterns: list[str]) -> None:
    """By API Gateway's id of it; without the permission the answer is: unknown."""
    lines: list[str] = []
    with gateway() as url:
        smoke.smoke(Target(url=url, **FUNCTION), 5, lines.append)

    assert [f'{{ $.requestId = "{REQUEST_ID}" }}'] == patterns
    assert "invocation: unknown: AccessDeniedException" in lines[-2]


def test_no_answer_is_reported_with_the_logs_newest_line(patterns: list[str]) -> None:
    """Of the route: the client did not receive its request id."""
    message = failing(changed("chat", lambda _: []))

    assert ['{ $.eventType = "MESSAGE" && $.routeKey = "chat" }'] == patterns
    assert message.endswith("The access log's newest line: unknown: AccessDeniedException.")


def test_the_verdict_is_that_of_the_access_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the time of the answer, and the deployment's kind of integration."""
    line = access_log.Line(200, 200, 1, "")
    monkeypatch.setattr(smoke, "logged", lambda *_: line)
    lines: list[str] = []
    with gateway() as url:
        smoke.smoke(Target(url=url, **FUNCTION, integration="proxy"), 5, lines.append)

    assert f"invocation: {access_log.verdict(line, 2, 'proxy')}" in lines[-2]


def test_a_failed_step_moves_the_alias_back(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the version that was live; without that option nothing is moved."""
    moved: list[str] = []
    monkeypatch.setattr(terraform, "outputs", lambda: {"region": "eu-west-1"})

    def move_back(_client: Any, _outputs: Any, version: str) -> str:
        moved.append(version)
        return "Moved."

    monkeypatch.setattr(alias, "move_back", move_back)
    with gateway(changed("history", lambda _: [None])) as url:
        assert 1 == smoke.main(["--url", url])
        assert [] == moved
        assert 1 == smoke.main(["--url", url, "--else-live", "7"])

    assert ["7"] == moved
    assert "Moved.\n" == capsys.readouterr().err[-7:]


def test_a_deployment_that_cannot_be_tested_keeps_its_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing token, or a caller who may not connect, says nothing about the new version."""
    monkeypatch.setattr(alias, "move_back", lambda *_: pytest.fail("It was moved."))
    monkeypatch.delenv("TOKEN", raising=False)
    with gateway(statuses=[403]) as url:
        assert 2 == smoke.main(["--url", url, "--auth", "jwt", "--else-live", "7"])
        assert 2 == smoke.main(["--url", url, "--auth", "iam", "--else-live", "7"])

    assert 2 == capsys.readouterr().err.count("not tested: ")

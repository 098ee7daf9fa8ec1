"""Covers deploy/smoke.py: against the real local stack, and against gateways that fail."""

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

from deploy import smoke, terraform
from deploy.smoke import QUESTION, SmokeError, Target, deployed
from local.stack import Stack

PATIENCE = 1.0  # seconds of silence that are enough here
FUNCTION = {"region": "eu-west-1", "function": "chat-fn"}
LOGS = "the log group /aws/lambda/chat-fn in eu-west-1"

Frame = dict[str, Any]
Reply = Callable[[Frame], list[Frame | None]]  # None closes the connection


def frames_for(asked: Frame) -> list[Frame | None]:
    """What a deployment that works would answer."""
    if asked["action"] == "ping":
        return [{"type": "pong"}]
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
        {"request_id": asked["request_id"], "seq": seq, **row}
        for seq, row in enumerate(rows[asked["action"]])
    ]


@contextlib.contextmanager
def gateway(
    reply: Reply = frames_for,
    statuses: Sequence[int] = (),
    requests: list[Request] | None = None,
) -> Iterator[str]:
    """A WebSocket server that answers so; the first handshakes are refused with the statuses."""
    refusals = iter(statuses)

    def refuse(connection: ServerConnection, request: Request) -> Response | None:
        if requests is not None:
            requests.append(request)
        status = next(refusals, None)
        return connection.respond(HTTPStatus(status), "") if status else None

    def talk(connection: ServerConnection) -> None:
        for message in connection:
            for frame in reply(json.loads(message)):
                if frame is None:
                    return
                connection.send(json.dumps(frame))

    with serve(
        talk,
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
    """Answers as a deployment that works, but for what comes of one action."""
    return lambda asked: (
        change(frames_for(asked)) if action == asked["action"] else frames_for(asked)
    )


def failing(reply: Reply, **target: str) -> str:
    """What is said of a deployment that answers so."""
    with (
        gateway(reply) as url,
        pytest.raises(SmokeError) as failed,
    ):
        smoke.smoke(Target(url=url, **FUNCTION, **target), PATIENCE, lambda _: None)
    return str(failed.value)


@pytest.fixture(scope="module")
def printed() -> list[str]:
    """What `make smoke` prints of the real local stack."""

    async def main() -> list[str]:
        lines: list[str] = []
        async with Stack(say=lambda _: None, log=lambda _: None) as stack:
            await asyncio.to_thread(smoke.smoke, Target(url=stack.url), 30, lines.append)
        return lines

    return asyncio.run(main())


def test_each_step_is_told_with_its_time(printed: list[str]) -> None:
    """Over the real gateway, function and protocol: five steps, then that it works."""
    told = [line.split(maxsplit=2) for line in printed[:-1]]

    assert ["connect:", "ping:", "chat:", "history:", "clear:"] == [
        rest.split()[0] for _, _, rest in told
    ]
    assert {"s"} == {unit for _, unit, _ in told}
    assert all(float(seconds) >= 0 for seconds, _, _ in told)
    assert "it works" == printed[-1]


def test_the_chat_is_described(printed: list[str]) -> None:
    """What was said, by which model, in how many deltas and when the first came."""
    assert "claude" in printed[2]
    assert QUESTION[:20] in printed[2]
    assert "first after" in printed[2]


def test_the_session_is_cleared(printed: list[str]) -> None:
    """Nothing stays of it but this line."""
    assert "1 turn forgotten" in printed[4]


def test_silence_after_a_chat_names_the_way_out() -> None:
    """A route that invokes nobody: the variable that switches to the proxy integration is named."""
    said = failing(changed("chat", lambda _: []))

    assert 'chat_integration = "proxy"' in said
    assert LOGS in said


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (changed("ping", lambda _: []), "the stage does not serve the routes"),
        (changed("ping", lambda _: [{"type": "error"}]), "the stage does not serve the routes"),
        (changed("history", lambda _: []), LOGS),
        (changed("clear", lambda _: []), LOGS),
        (changed("chat", lambda frames: frames[:2]), "nothing came after 2 frames"),
        (changed("chat", lambda frames: [frames[0], *frames[2:]]), "does not belong there"),
        (changed("chat", lambda frames: [*frames, frames[-1]]), "does not belong there"),
        (changed("chat", lambda frames: [{**frames[0], "request_id": "x"}]), "does not belong"),
        (changed("chat", lambda frames: [{**frames[3], "seq": 0}]), "came no answer"),
        (
            changed("chat", lambda frames: [frames[0], {**frames[3], "seq": 1}]),
            "came no answer, but ['start', 'done']",
        ),
        (changed("chat", lambda _: [None]), "the connection was closed"),
        (changed("ping", lambda frames: [*frames, None]), "the connection was closed"),
        (
            changed("chat", lambda _: [{"message": "Internal server error", "requestId": "r"}]),
            "API Gateway itself answered: Internal server error",
        ),
        (changed("history", lambda frames: [{**frames[1], "seq": 0}]), "not in the history"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_goes_wrong_is_told(reply: Reply, words: str) -> None:
    """Each failure ends the run in one sentence that says what was seen and where to look."""
    assert words in failing(reply)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("model_unavailable", "make preflight"),
        ("internal", LOGS),
        ("model_error", LOGS),
        ("over_budget", "tokens_per_day"),
        ("deadline", "It is late."),
    ],
)
def test_an_error_frame_is_told(code: str, words: str) -> None:
    """Its code, its message, and what it means for whoever deployed."""
    error = {"type": "error", "code": code, "message": "It is late.", "retryable": False}
    said = failing(changed("chat", lambda frames: [{**frames[0], **error}]))

    assert f"To chat came the error {code}: It is late." in said
    assert words in said


@pytest.mark.parametrize(
    ("auth", "status", "words"),
    [
        ("iam", 403, "execute-api:Invoke"),
        ("jwt", 401, "The authorizer did not take the token"),
        ("none", 403, "allowed_origins"),
        ("none", 429, "throttle_rate"),
        ("none", 502, LOGS),
        ("none", 404, "is the URL right?"),
    ],
)
def test_a_refused_handshake_is_told(
    auth: str, status: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its status, and by the way of authorization that was deployed."""
    monkeypatch.setenv("TOKEN", "t")
    with (
        gateway(statuses=[status]) as url,
        pytest.raises(SmokeError, match=f"answered with {status}") as failed,
    ):
        smoke.smoke(Target(url=url, auth=auth, **FUNCTION), PATIENCE, lambda _: None)

    assert words in str(failed.value)


def test_what_was_just_deployed_may_take_a_while() -> None:
    """A handshake that is refused at first is tried again while it may settle."""
    requests: list[Request] = []
    lines: list[str] = []
    with gateway(statuses=[503, 403], requests=requests) as url:
        smoke.smoke(Target(url=url), 5, lines.append, settle=60)

    assert 3 == len(requests)
    assert "it works" == lines[-1]


def test_iam_signs_the_url() -> None:
    """The signature is by the person's own credentials, for the deployment's Region."""
    requests: list[Request] = []
    with gateway(requests=requests) as url:
        smoke.smoke(Target(url=url, auth="iam", **FUNCTION), 5, lambda _: None)
    query = parse_qs(urlsplit(requests[0].path).query)

    assert "testing" == query["X-Amz-Credential"][0].split("/")[0]
    assert ["eu-west-1", "execute-api"] == query["X-Amz-Credential"][0].split("/")[2:4]


def test_iam_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent; what is missing is said."""
    monkeypatch.setattr("botocore.session.Session.get_credentials", lambda _: None)

    with pytest.raises(SmokeError, match="no AWS credentials"):
        smoke.opened(Target(url="ws://127.0.0.1:9", auth="iam", region="us-east-1"), PATIENCE)


def test_jwt_brings_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a subprotocol, from the environment, and not in the URL."""
    monkeypatch.setenv("TOKEN", "a.b.c")
    requests: list[Request] = []
    with gateway(requests=requests) as url:
        smoke.smoke(Target(url=url, auth="jwt", **FUNCTION), 5, lambda _: None)

    assert "chat.v1, bearer.a.b.c" == requests[0].headers["Sec-WebSocket-Protocol"]
    assert "a.b.c" not in requests[0].path


def test_jwt_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent; where the token is looked for is said."""
    monkeypatch.delenv("TOKEN", raising=False)

    with pytest.raises(SmokeError, match="variable TOKEN"):
        smoke.opened(Target(url="ws://127.0.0.1:9", auth="jwt"), PATIENCE)


def test_what_is_deployed_is_read_from_the_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """URL, authorization, Region, function and page come from Terraform."""
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


def test_nothing_deployed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Says what comes first, in one line, with status 1."""
    monkeypatch.setattr(terraform, "outputs", dict)

    assert 1 == smoke.main([])
    assert "failed: Nothing is deployed: `make deploy` comes first.\n" == capsys.readouterr().err


def test_without_terraform(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Terraform lacks is said."""
    monkeypatch.setenv("PATH", "")

    with pytest.raises(SmokeError, match="no terraform on PATH"):
        deployed()


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """`--url` talks to any gateway; one that is not there is told, with status 1."""
    with gateway() as url:
        assert 0 == smoke.main(["--url", url])
    assert 1 == smoke.main(["--url", url, "--patience", "1"])

    told = capsys.readouterr()
    assert told.out.endswith("it works\n")
    assert f"failed: {url} cannot be reached" in told.err


def test_where_the_page_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Is the last thing that a person is told."""
    with gateway() as url:
        smoke.smoke(Target(url=url, page="https://page/"))

    assert capsys.readouterr().out.endswith("new: https://page/\n")


def test_a_local_stack_logs_to_its_terminal() -> None:
    """There is no log group to look at."""
    assert "what `make run` printed" == Target(url="ws://127.0.0.1:3001").logs

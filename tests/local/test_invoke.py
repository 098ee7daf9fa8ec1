"""Covers local/invoke.py with the real python-lambda-local."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from local import invoke as invoke_module
from local.invoke import invoke
from local.stack import Backends, Child, StackError

HANDLER = """
import json, os, sys, time, urllib.request

def handler(event, context):
    context = event["requestContext"]
    with open("events", "a") as seen:
        print(context["eventType"], context["connectionId"], file=seen)
    do = event.get("body")
    if do == "raise":
        raise KeyError("no")
    if do == "sleep":
        time.sleep(60)
    if do == "unpicklable":
        return lambda: None
    if do == "post":
        for frame in ("one", "two", "three"):
            url = os.environ["CALLBACK_URL"] + "/@connections/" + context["connectionId"]
            post = urllib.request.Request(url, frame.encode(), method="POST")
            urllib.request.urlopen(post).close()
    profile = "AWS_PROFILE" in os.environ
    return {"statusCode": 200, "table": os.environ["TABLE_NAME"], "profile": profile}
"""


def run(
    folder: Path, body: str, *, source: str = HANDLER, seconds: int = 20
) -> tuple[int, list[str]]:
    """Writes handler and events, and runs the event. Returns the exit status and the output."""

    def sample(kind: str, **fields: Any) -> str:
        context = {"eventType": kind, "connectionId": f"of-{kind.lower()}"}
        return json.dumps({"requestContext": context, **fields})

    (folder / "app.py").write_text(source)
    (folder / "connect.json").write_text(sample("CONNECT"))
    (folder / "chat.json").write_text(sample("MESSAGE", body=body))
    output: list[str] = []
    path = folder / ("connect.json" if body == "connect" else "chat.json")
    status = asyncio.run(
        invoke(path, seconds=seconds, code=folder, handler="app.handler", say=output.append)
    )
    return status, output


@pytest.fixture
def without_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    """No services are started: the handler above calls none of them."""

    @asynccontextmanager
    async def nothing(*_: object, **__: object) -> AsyncIterator[Backends]:
        yield Backends(*(Child(name, "none", log=print) for name in ("DynamoDB", "Bedrock")))

    monkeypatch.setattr(invoke_module, "backends", nothing)


def test_frames_and_result_are_printed_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is handled first, frames are in order of posting, and the status is 0.

    This test has the services, too.
    """
    monkeypatch.setenv("AWS_PROFILE", "of-no-such-name")

    status, output = run(tmp_path, "post")

    assert status == 0
    assert [line for line in output if line.startswith("frame: ")] == [
        "frame: one",
        "frame: two",
        "frame: three",
    ]
    assert "{'statusCode': 200, 'table': 'chat', 'profile': False}" in output
    assert (tmp_path / "events").read_text() == "CONNECT of-message\nMESSAGE of-message\n"


@pytest.mark.usefixtures("without_backends")
def test_an_event_that_is_no_message_needs_no_connection(tmp_path: Path) -> None:
    """`connect.json` is handled by itself."""
    status, _ = run(tmp_path, "connect")

    assert status == 0
    assert (tmp_path / "events").read_text() == "CONNECT of-connect\n"


@pytest.mark.usefixtures("without_backends")
def test_a_handler_that_raises_gives_status_1(tmp_path: Path) -> None:
    """And its error is printed."""
    status, output = run(tmp_path, "raise")

    assert status == 1
    assert any("KeyError" in line for line in output)


@pytest.mark.usefixtures("without_backends")
def test_a_slow_handler_is_timed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By python-lambda-local itself, at the given timeout."""
    monkeypatch.setattr(invoke_module, "MARGIN_SECONDS", 60)

    status, output = run(tmp_path, "sleep", seconds=1)

    assert status == 1
    assert any("Timeout after 1 seconds" in line for line in output)


@pytest.mark.usefixtures("without_backends")
def test_a_result_that_cannot_be_pickled_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """python-lambda-local would wait for it for ever; it is killed, and that is reported."""
    monkeypatch.setattr(invoke_module, "MARGIN_SECONDS", 1)

    status, output = run(tmp_path, "unpicklable", seconds=2)

    assert status == 1
    assert output[-1] == "The handler did not finish within 3 s and was killed."


@pytest.mark.usefixtures("without_backends")
def test_an_import_error_is_reported_at_once(tmp_path: Path) -> None:
    """python-lambda-local would hang, so the import is tried before."""
    with pytest.raises(
        StackError, match=r"^The handler cannot be imported: .*nothing_of_that_name"
    ):
        run(tmp_path, "post", source="import nothing_of_that_name")


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_file_that_is_not_an_event_is_reported(tmp_path: Path, content: str | None) -> None:
    """Missing, not JSON, or not an object: one sentence with the file's name."""
    path = tmp_path / "chat.json"
    if content is not None:
        path.write_text(content)

    with pytest.raises(StackError, match=r"chat\.json is not a sample event: "):
        asyncio.run(invoke(path, code=tmp_path, say=lambda _: None))

"""Covers local/stack.py: the parts together, with a handler of a few lines."""

import asyncio
import json
import os
import signal
import socket
from dataclasses import fields
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect

import settings
from local import stack as stack_module
from local.stack import Child, Stack, StackError

HANDLER = """
import json, os, urllib.parse, urllib.request

def handler(event, context):
    context = event["requestContext"]
    if context["eventType"] == "MESSAGE":
        url = os.environ["CALLBACK_URL"] + "/@connections/"
        url += urllib.parse.quote(context["connectionId"], safe="")
        frame = json.dumps({"pid": os.getpid(), "environment": dict(os.environ)}).encode()
        urllib.request.urlopen(urllib.request.Request(url, frame, method="POST")).close()
    return {"statusCode": 200}
"""


def silent(_: str) -> None:
    pass


def small_stack(folder: Path, source: str = HANDLER, **settings: str) -> Stack:
    (folder / "app.py").write_text(source)
    return Stack(
        code=folder,
        handler="app.handler",
        environment={"MAX_OUTPUT_TOKENS": "7", **settings},
        say=silent,
        log=silent,
    )


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def pids_of(running: Stack) -> list[int]:
    assert running._backends is not None
    parts = (running._backends.dynamodb, running._backends.bedrock)
    return [part._process.pid for part in parts if part._process is not None]


def test_a_message_reaches_the_function_and_its_answer_the_client(tmp_path: Path) -> None:
    """Gateway, function and backends are wired; afterwards no process and no port is left."""

    async def main() -> None:
        async with small_stack(tmp_path) as running:
            pids = pids_of(running)
            async with connect(running.url) as client:
                await client.send("hello")
                frame = json.loads(await asyncio.wait_for(client.recv(), 20))
        pids.append(frame["pid"])
        seen = frame["environment"]

        port = urlsplit(running.url).port
        assert seen["CALLBACK_URL"] == f"http://127.0.0.1:{port}/local"
        assert seen["TABLE_NAME"] == "chat"
        assert seen["AUTH"] == "none"  # which the function would not assume
        assert seen["MODEL_ID"] == ""  # the function's own default
        assert seen["MAX_OUTPUT_TOKENS"] == "7"
        assert seen["AWS_ENDPOINT_URL_DYNAMODB"] != seen["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"]
        assert len(pids) == 3
        assert all(gone(pid) for pid in pids)
        for url in (running.url, seen["AWS_ENDPOINT_URL_DYNAMODB"]):
            with pytest.raises(ConnectionRefusedError), socket.socket() as probe:
                probe.connect(("127.0.0.1", urlsplit(url).port))

    asyncio.run(main())


def test_a_port_in_use_is_said_before_anything_starts(tmp_path: Path) -> None:
    """One sentence with the port, and no part was started for it."""
    (tmp_path / "app.py").write_text(HANDLER)
    said: list[str] = []

    async def main(port: int) -> None:
        stack = Stack(port, code=tmp_path, handler="app.handler", say=said.append, log=silent)
        with pytest.raises(StackError, match=rf"^Port {port} on 127\.0\.0\.1 cannot be used: "):
            await stack.__aenter__()

    with socket.create_server(("127.0.0.1", 0)) as taken:
        asyncio.run(main(taken.getsockname()[1]))
    assert said == []


def test_a_handler_that_cannot_be_imported_ends_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sentence has Lambda's reason, and the backends are stopped again."""
    started: list[Child] = []
    start = Child.start

    async def watched(self: Child) -> None:
        started.append(self)
        await start(self)

    monkeypatch.setattr(Child, "start", watched)

    async def main() -> None:
        with pytest.raises(StackError, match=r"does not start: .*ImportModuleError"):
            await small_stack(tmp_path, "import nothing_of_that_name").__aenter__()

        assert len(started) == 2
        assert all(each._process is not None and gone(each._process.pid) for each in started)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import sys; sys.exit('no such thing')", r"^Part ended. It said:\nno such thing$"),
        ("import time; time.sleep(60)", r"^Part did not listen within 0 s\.$"),
    ],
)
def test_a_part_that_does_not_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, said: str
) -> None:
    """Its last words are shown; a silent one is given up."""
    (tmp_path / "part.py").write_text(source)
    monkeypatch.setattr(stack_module, "ROOT", tmp_path)
    if "sleep" in source:
        monkeypatch.setattr(stack_module, "START_SECONDS", 0.3)

    async def main() -> None:
        part = Child("Part", "part", log=silent)
        with pytest.raises(StackError, match=said):
            await part.start()
        await part.close()

        assert part._process is not None
        assert gone(part._process.pid)

    asyncio.run(main())


def test_a_part_that_dies_later_is_named(tmp_path: Path) -> None:
    """`died` waits, and then says which part it was and how it ended."""

    async def main() -> None:
        async with small_stack(tmp_path) as running:
            death = asyncio.ensure_future(running.died())
            await asyncio.sleep(0.1)
            assert not death.done()
            os.kill(pids_of(running)[0], signal.SIGKILL)

            said = await asyncio.wait_for(death, 10)
            assert said.startswith("DynamoDB (moto) ended with status -9.")

    asyncio.run(main())


def test_parts_do_not_see_the_developers_aws_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile that exists nowhere would stop boto3 in every part: it is not passed on."""
    monkeypatch.setenv("AWS_PROFILE", "of-no-such-name")

    async def main() -> None:
        async with small_stack(tmp_path) as running, connect(running.url) as client:
            await client.send('{"action":"ping"}')
            assert "pong" in str(await asyncio.wait_for(client.recv(), 10))

    asyncio.run(main())


def test_the_settings_that_are_passed_on_are_the_functions() -> None:
    """Every setting can be tried locally, but for those that the stack itself decides."""
    environment = {f.metadata["env"] for f in fields(settings.Settings)}
    decided = {"AUTH", "TABLE_NAME", "MODEL_ID", "CALLBACK_URL"}

    assert set(stack_module.SETTINGS) == environment - decided


def test_settings_come_from_the_person_and_suit_the_model() -> None:
    """What the person says goes before what suits the model; all else of theirs stays out."""
    asked = {"HISTORY_TOKENS": "9", "PATH": "/bin", "TABLE_NAME": "mine"}

    assert {"HISTORY_TOKENS": "9"} == stack_module.settings_for("scripted", asked)
    suitable = stack_module.settings_for("smollm2", {"TOP_P": "0.5"})
    assert int(suitable["HISTORY_TOKENS"]) + int(suitable["MAX_OUTPUT_TOKENS"]) < 8192
    assert "0.5" == suitable["TOP_P"]

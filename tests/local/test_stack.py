"""Covers local/stack.py: the parts together, with a handler of a few lines."""

import asyncio
import json
import os
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.pids import PATIENCE, runs
from websockets.asyncio.client import connect

import settings
from local import stack as stack_module
from local.aws.account import NO_CONFIGURATION
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

PRINTING = """
import json, os, sys

print(json.dumps(dict(os.environ)))
print("listening: here", flush=True)
sys.stdin.read()
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


def pids_of(running: Stack) -> list[int]:
    assert running._backends is not None
    parts = (running._backends.dynamodb, running._backends.bedrock)
    return [part._process.pid for part in parts if part._process is not None]


def test_a_message_reaches_the_function_and_its_answer_the_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gateway, function and backends are connected; afterwards no process and no port is left.

    A profile of the developer's that does not exist, which stops boto3, makes no difference.
    """
    monkeypatch.setenv("AWS_PROFILE", "of-no-such-name")

    async def main() -> None:
        async with small_stack(tmp_path) as running:
            pids = pids_of(running)
            async with connect(running.url) as client:
                await client.send("hello")
                frame = json.loads(await asyncio.wait_for(client.recv(), PATIENCE))
        pids.append(frame["pid"])
        seen = frame["environment"]

        assert running.page == {"websocket_url": running.url, "auth": "none"}
        port = urlsplit(running.url).port
        assert seen["CALLBACK_URL"] == f"http://127.0.0.1:{port}/local"
        assert seen["TABLE_NAME"] == "chat"
        assert seen["AUTH"] == "none"  # not the function's own default
        assert seen["MODEL_ID"] == ""  # the function's own default
        assert seen["MAX_OUTPUT_TOKENS"] == "7"
        assert seen["AWS_ENDPOINT_URL_DYNAMODB"] != seen["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"]
        assert len(pids) == 3
        assert not any(runs(pid) for pid in pids)
        for url in (running.url, seen["AWS_ENDPOINT_URL_DYNAMODB"]):
            with pytest.raises(ConnectionRefusedError), socket.socket() as probe:
                probe.connect(("127.0.0.1", urlsplit(url).port))

    asyncio.run(main())


def test_a_port_in_use_is_reported_before_anything_starts(tmp_path: Path) -> None:
    """One sentence with the port, and no part was started."""
    (tmp_path / "app.py").write_text(HANDLER)
    messages: list[str] = []

    async def main(port: int) -> None:
        stack = Stack(port, code=tmp_path, handler="app.handler", say=messages.append, log=silent)
        with pytest.raises(StackError, match=rf"^Port {port} on 127\.0\.0\.1 cannot be used: "):
            await stack.__aenter__()

    with socket.create_server(("127.0.0.1", 0)) as taken:
        asyncio.run(main(taken.getsockname()[1]))
    assert messages == []


def test_the_port_is_reserved_until_the_gateway_listens() -> None:
    """No other process can take it while the other parts start."""
    with (
        stack_module._reserve(0) as reserved,
        socket.socket() as other,
        pytest.raises(OSError, match="Address already in use"),
    ):
        other.bind(reserved.getsockname())


def test_an_invalid_port_is_reported() -> None:
    """In one sentence, too."""
    with pytest.raises(StackError, match=r"^99999 is not a port number\.$"):
        stack_module._reserve(99999)


def test_a_handler_that_cannot_be_imported_ends_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has Lambda's reason, and the backends are stopped."""
    started: list[Child] = []
    start = Child.start

    async def watched(self: Child) -> None:
        started.append(self)
        await start(self)

    monkeypatch.setattr(Child, "start", watched)

    async def main() -> None:
        with pytest.raises(StackError, match=r"does not start: .*ImportModuleError"):
            await small_stack(tmp_path, "import nothing_of_that_name").__aenter__()

        pids = [each._process.pid for each in started if each._process is not None]
        assert len(pids) == 2
        assert not any(runs(pid) for pid in pids)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import sys; sys.exit('no such thing')", r"^Part ended. Its last output:\nno such thing$"),
        ("import time; time.sleep(60)", r"^Part did not listen within 0 s\.$"),
    ],
)
def test_a_part_that_does_not_start_is_reported_with_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, message: str
) -> None:
    """One without output is stopped after a limit."""
    (tmp_path / "part.py").write_text(source)
    monkeypatch.setattr(stack_module, "ROOT", tmp_path)
    if "sleep" in source:
        monkeypatch.setattr(stack_module, "START_SECONDS", 0.3)

    async def main() -> None:
        part = Child("Part", "part", log=silent)
        with pytest.raises(StackError, match=message):
            await part.start()
        await part.close()

        assert part._process is not None
        assert not runs(part._process.pid)

    asyncio.run(main())


def test_a_part_that_ends_later_is_named(tmp_path: Path) -> None:
    """`wait_for_exit` returns which part it was, and its exit status."""

    async def main() -> None:
        async with small_stack(tmp_path) as running:
            exit_ = asyncio.ensure_future(running.wait_for_exit())
            os.kill(pids_of(running)[0], signal.SIGKILL)

            message = await asyncio.wait_for(exit_, PATIENCE)
            assert message.startswith("DynamoDB (moto) ended with status -9.")

    asyncio.run(main())


def test_the_developers_aws_settings_are_not_passed_on_to_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither from the environment nor from the files in ~/.aws; everything else is."""
    (tmp_path / "part.py").write_text(PRINTING)
    monkeypatch.setattr(stack_module, "ROOT", tmp_path)
    monkeypatch.setenv("AWS_PROFILE", "of-no-such-name")
    monkeypatch.setenv("OTHER", "passed on")
    seen: list[str] = []

    async def main() -> None:
        part = Child("Part", "part", log=seen.append)
        await part.start()
        await part.close()

    asyncio.run(main())
    [environment] = map(json.loads, seen)
    assert NO_CONFIGURATION == {
        name: value for name, value in environment.items() if name.startswith("AWS_")
    }
    assert "passed on" == environment["OTHER"]


def test_every_setting_of_the_function_is_passed_on() -> None:
    """Except for those that the stack itself decides."""
    environment = set(settings.Settings.__struct_encode_fields__)
    excepted = {"AUTH", "TABLE_NAME", "MODEL_ID", "CALLBACK_URL", "SYSTEM_PROMPT_OBJECT"}

    assert set(stack_module.SETTINGS) == environment - excepted


def test_the_environment_overrides_the_defaults_for_a_model() -> None:
    """Variables that are not settings of the function are not passed on."""
    environment = {"HISTORY_TOKENS": "9", "PATH": "/bin", "TABLE_NAME": "mine"}

    assert {"HISTORY_TOKENS": "9"} == stack_module.settings_for("scripted", environment)
    defaults = stack_module.settings_for("smollm2", {"TOP_P": "0.5"})
    assert int(defaults["HISTORY_TOKENS"]) + int(defaults["MAX_OUTPUT_TOKENS"]) < 8192
    assert "0.5" == defaults["TOP_P"]

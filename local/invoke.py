"""`make invoke`: runs the handler on one sample event with python-lambda-local, without AWS.

Rules: DynamoDB is moto, the model is scripted, and the frames that the handler posts are printed in
order instead of being sent to a client. A message needs a connection, so a `$connect` is handled
first: the one that was recorded with it, or else `connect.json`. The run is bounded, whatever the
handler does: python-lambda-local waits for ever for a handler that cannot be imported or a result
that cannot be pickled, so its process group is killed `MARGIN_SECONDS` after the timeout.

What it does not know: routes, and the limits of API Gateway.
"""

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from local.lambda_runtime.environment import worker_environment
from local.lambda_runtime.function import Function, InitFailedError
from local.loopback import serving
from local.processes import lines, module_command, stop
from local.recordings import find_connect_event
from local.stack import ROOT, Say, StackError, backends

# For a message whose own `$connect` was not recorded.
CONNECT = ROOT / "events" / "connect.json"
TIMEOUT_SECONDS = 30
# python-lambda-local normally ends a slow handler itself; after this time it is killed.
MARGIN_SECONDS = 5


@contextlib.asynccontextmanager
async def callback_server(say: Say) -> AsyncIterator[str]:
    """Serves an @connections endpoint that prints each frame as it arrives. Yields its URL."""

    async def post(request: web.Request) -> web.Response:
        say(f"frame: {await request.text()}")
        return web.Response()

    async def get(_: web.Request) -> web.Response:
        return web.json_response({"connectedAt": "", "identity": {}, "lastActiveAt": ""})

    async def delete(_: web.Request) -> web.Response:
        say("the handler deleted the connection")
        return web.Response(status=204)

    app = web.Application()
    connection = "/local/@connections/{id}"
    app.add_routes(
        [web.post(connection, post), web.get(connection, get), web.delete(connection, delete)]
    )
    async with serving(app) as url:
        yield f"{url}/local"


async def invoke(
    event: Path,
    *,
    seconds: int = TIMEOUT_SECONDS,
    code: Path = ROOT / "src",
    handler: str = "handler.lambda_handler",
    say: Say = print,
) -> int:
    """Runs the handler on the event (a JSON file). Returns 0 if the handler returned, else 1.

    Raises StackError for a file that is not an event, or a handler that cannot be imported.
    """
    sample = _read(event)
    async with (
        backends("scripted", say=lambda _: None, log=say) as running,
        callback_server(say) as callback,
    ):
        variables = running.environment(callback)
        say(f"frames posted to {callback}/@connections/... are printed here")
        function = Function(handler, code, variables, log=say)
        await _prepare(function, sample, event)
        command = _python_lambda_local(handler, event, seconds)
        return await _run(command, code, variables, seconds + MARGIN_SECONDS, say)


async def _prepare(function: Function, sample: dict[str, Any], event: Path) -> None:
    """Starts the handler once as Lambda would, which reports clearly why an import fails.

    If the event is a message, handles a `$connect` event with its connection id.
    """
    try:
        await function.start()
        context = sample.get("requestContext", {})
        if context.get("eventType") == "MESSAGE":
            connection_id = context.get("connectionId", "")
            connect = find_connect_event(event, connection_id) or event.with_name("connect.json")
            connection = _read(connect if connect.exists() else CONNECT)
            connection["requestContext"]["connectionId"] = connection_id
            result = await function.invoke(json.dumps(connection).encode())
            if result.error:
                raise StackError(f"{connect.name} failed: {result.payload.decode()}")
    except InitFailedError as error:
        raise StackError(f"The handler cannot be imported: {error}") from None
    finally:
        await function.close()


def _python_lambda_local(handler: str, event: Path, seconds: int) -> list[str]:
    module, function = handler.rsplit(".", 1)
    options = ("-f", function, "-t", str(seconds))
    return module_command(
        sys.executable, "lambda_local", *options, f"{module}.py", str(event.absolute())
    )


async def _run(
    command: list[str], code: Path, variables: Mapping[str, str], limit: float, say: Say
) -> int:
    """Runs the command, for `limit` seconds at most. Returns 0 if it succeeded, else 1."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=code,
        env=worker_environment({"PYTHONWARNINGS": "ignore", **variables}),
        stdin=PIPE,
        stdout=PIPE,
        stderr=STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    try:
        async with asyncio.timeout(limit):
            async for line in lines(process.stdout):
                say(line)
            return 1 if await process.wait() else 0
    except TimeoutError:
        say(f"The handler did not finish within {limit:.0f} s and was killed.")
        return 1
    finally:
        await stop(process, grace=0)


def _read(path: Path) -> dict[str, Any]:
    try:
        sample = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StackError(f"{path} is not a sample event: {error}") from None
    if not isinstance(sample, dict):
        raise StackError(f"{path} is not a sample event: not a JSON object")
    return sample

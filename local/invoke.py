"""`make invoke`: the handler on one sample event, by python-lambda-local, with no AWS account.

Rules: DynamoDB is moto, the model is scripted, and the frames that the handler posts are printed in
order instead of going to a client. A message needs a connection, so its `$connect` is handled
first: the one that was recorded with it, or else `connect.json`. It ends within the timeout and a
little, whatever the handler does: python-lambda-local waits for ever for a handler that cannot be
imported or a result that cannot be pickled, so its whole process group is killed when the time is
over.

What it does not know: routes, and the limits of a gateway.
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
from local.processes import lines, stop, tethered
from local.recordings import connection_of
from local.stack import HOST, ROOT, Say, StackError, backends

# For a message whose own connection nobody kept.
CONNECT = ROOT / "events" / "connect.json"
TIMEOUT_SECONDS = 30
# python-lambda-local ends a slow handler itself; this is for when it does not.
MARGIN_SECONDS = 5


@contextlib.asynccontextmanager
async def catcher(say: Say) -> AsyncIterator[str]:
    """Stands in for the @connections endpoint: prints each frame as it arrives. Yields its URL."""

    async def post(request: web.Request) -> web.Response:
        say(f"frame: {await request.text()}")
        return web.Response()

    async def get(_: web.Request) -> web.Response:
        return web.json_response({"connectedAt": "", "identity": {}, "lastActiveAt": ""})

    async def delete(_: web.Request) -> web.Response:
        say("the handler closed the connection")
        return web.Response(status=204)

    app = web.Application()
    connection = "/local/@connections/{id}"
    app.add_routes(
        [web.post(connection, post), web.get(connection, get), web.delete(connection, delete)]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        yield f"http://{HOST}:{runner.addresses[0][1]}/local"
    finally:
        await runner.cleanup()


async def invoke(
    event: Path,
    *,
    seconds: int = TIMEOUT_SECONDS,
    code: Path = ROOT / "src",
    handler: str = "handler.lambda_handler",
    say: Say = print,
) -> int:
    """Runs the handler on the event (a JSON file). Returns 0 if it returned, 1 if it did not.

    Raises StackError for a file that is no event, or a handler that cannot be imported.
    """
    sample = _read(event)
    silent: Say = lambda _: None  # noqa: E731 - a name for doing nothing
    async with backends("scripted", say=silent, log=say) as running, catcher(say) as callback:
        variables = running.environment(callback)
        say(f"frames go to {callback}/@connections/..., which prints them here")
        function = Function(handler, code, variables, log=say)
        await _prepare(function, sample, event)
        command = _python_lambda_local(handler, event, seconds)
        return await _bounded(command, code, variables, seconds + MARGIN_SECONDS, say)


async def _prepare(function: Function, sample: dict[str, Any], event: Path) -> None:
    """Starts the handler once as Lambda would, which says clearly why it cannot be imported.

    A message's connection is stored here, under the id that the event names.
    """
    try:
        await function.start()
        context = sample.get("requestContext", {})
        if context.get("eventType") == "MESSAGE":
            connection_id = context.get("connectionId", "")
            connect = connection_of(event, connection_id) or event.with_name("connect.json")
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
    return tethered(sys.executable, "lambda_local", *options, f"{module}.py", str(event.absolute()))


async def _bounded(
    command: list[str], code: Path, variables: Mapping[str, str], limit: float, say: Say
) -> int:
    """Runs the command for `limit` seconds at most."""
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
        say(f"The handler did not come to an end within {limit:.0f} s and was killed.")
        return 1
    finally:
        await stop(process, grace=0)


def _read(path: Path) -> dict[str, Any]:
    try:
        sample = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise StackError(f"{path} is no sample event: {error}") from None
    if not isinstance(sample, dict):
        raise StackError(f"{path} is no sample event: not a JSON object")
    return sample

"""A server that keeps connections open, in its own process: `python -m bench.holding KIND`.

KIND is `gateway`, the local gateway with a scripted function in the same process, or `websockets`,
the server of that library, which sends nothing. The process prints `listening: <port>`, and its
resident memory in bytes for each line on its standard input. It exits when its input ends.

The scripted function accepts every connection. For `{"chunks": n, "text": t}` it posts `start`, n
deltas and `done`, one HTTP request each. Streams run concurrently.
"""

import asyncio
import base64
import gc
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from websockets.asyncio.server import ServerConnection, serve

from local.gateway.api import Api
from local.gateway.server import Gateway
from local.invocation import Result
from local.loopback import HOST


def resident() -> int:
    """Returns this process's resident memory in bytes. Linux only."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def allow_many_sockets() -> None:
    """Raises the limit of open files to its maximum."""
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


class Scripted:
    """The scripted function, in the gateway's process."""

    def __init__(self) -> None:
        self.port = 0
        self._http: aiohttp.ClientSession | None = None
        self._streams: set[asyncio.Task[None]] = set()

    async def invoke(self, _: bytes) -> Result:
        """Accepts a connection."""
        return Result(b'{"statusCode": 200}')

    def invoke_async(self, event: bytes) -> None:
        """Starts the stream that a message requests."""
        task = asyncio.get_running_loop().create_task(self._stream(json.loads(event)))
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)

    async def _stream(self, event: Any) -> None:
        order = json.loads(base64.b64decode(event["body"]))
        deltas = [{"type": "delta", "text": order["text"]}] * order["chunks"]
        if self._http is None:
            self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        connection = quote(event["requestContext"]["connectionId"], safe="")
        url = f"http://{HOST}:{self.port}/local/@connections/{connection}"
        for seq, frame in enumerate(({"type": "start"}, *deltas, {"type": "done"})):
            body = {**frame, "seq": seq, "request_id": event["requestContext"]["requestId"]}
            async with self._http.post(url, data=json.dumps(body)) as response:
                response.raise_for_status()

    async def close(self) -> None:
        """Closes the HTTP session."""
        if self._http:
            await self._http.close()


async def run_gateway(ended: asyncio.Event) -> None:
    """Runs the local gateway until `ended` is set."""
    function = Scripted()
    gateway = Gateway(Api.load(chat_integration="async"), function.invoke, function.invoke_async)
    function.port = await gateway.start()
    sys.stdout.write(f"listening: {function.port}\n")
    sys.stdout.flush()
    await ended.wait()
    await function.close()
    await gateway.close()


async def run_websockets(ended: asyncio.Event) -> None:
    """Runs the library's server until `ended` is set; without compression, like the gateway."""

    async def wait_closed(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with serve(
        wait_closed, HOST, 0, compression=None, ping_interval=None, backlog=2048
    ) as server:
        sys.stdout.write(f"listening: {next(iter(server.sockets)).getsockname()[1]}\n")
        sys.stdout.flush()
        await ended.wait()


KINDS = {"gateway": run_gateway, "websockets": run_websockets}


async def main(kind: str) -> None:
    """Serves, and reports its memory on request, until its input ends."""
    allow_many_sockets()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_input() -> None:
        if os.read(0, 100):
            sys.stdout.write(f"{resident()}\n")
            sys.stdout.flush()
        else:
            loop.remove_reader(0)
            ended.set()

    loop.add_reader(0, on_input)
    await KINDS[kind](ended)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

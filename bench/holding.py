"""A server that holds connections, in a process of its own: `python -m bench.holding KIND`.

KIND is `gateway`, the local gateway with a scripted function inside its process, or `websockets`,
that library's own server, which says nothing. It prints `listening: <port>`, and for each line on
its standard input the bytes of memory that it has resident; it ends when its input does.

The scripted function accepts everybody. To `{"chunks": n, "text": t}` it posts `start`, n deltas
and `done`, one HTTP request each, all streams beside each other.
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
    """Bytes of memory that this process has; Linux alone tells."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def allow_many_sockets() -> None:
    """As many open files as this user may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Scripted:
    """The function, inside the gateway's process."""

    def __init__(self) -> None:
        self.port = 0
        self._http: aiohttp.ClientSession | None = None
        self._streams: set[asyncio.Task[None]] = set()

    async def invoke(self, _: bytes) -> Result:
        """Accepts."""
        return Result(b'{"statusCode": 200}')

    def invoke_async(self, event: bytes) -> None:
        """Streams."""
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
            async with self._http.post(url, data=json.dumps(body)) as answer:
                answer.raise_for_status()

    async def close(self) -> None:
        """Hangs up."""
        if self._http:
            await self._http.close()


async def hold_as_gateway(ended: asyncio.Event) -> None:
    """The gateway."""
    function = Scripted()
    gateway = Gateway(Api.load(chat_integration="async"), function.invoke, function.invoke_async)
    function.port = await gateway.start()
    sys.stdout.write(f"listening: {function.port}\n")
    sys.stdout.flush()
    await ended.wait()
    await function.close()
    await gateway.close()


async def hold_as_websockets(ended: asyncio.Event) -> None:
    """The library's server, without compression, as the gateway has none."""

    async def listen(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with serve(listen, HOST, 0, compression=None, ping_interval=None, backlog=2048) as server:
        sys.stdout.write(f"listening: {next(iter(server.sockets)).getsockname()[1]}\n")
        sys.stdout.flush()
        await ended.wait()


KINDS = {"gateway": hold_as_gateway, "websockets": hold_as_websockets}


async def main(kind: str) -> None:
    """Serves, and tells its memory, until its input ends."""
    allow_many_sockets()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked() -> None:
        if os.read(0, 100):
            sys.stdout.write(f"{resident()}\n")
            sys.stdout.flush()
        else:
            loop.remove_reader(0)
            ended.set()

    loop.add_reader(0, asked)
    await KINDS[kind](ended)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))

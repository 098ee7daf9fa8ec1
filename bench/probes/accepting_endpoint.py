"""An HTTP endpoint that accepts every post at once. Prints its port; exits when its input ends."""

import asyncio
import re
import sys

RESPONSE = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nx-amzn-RequestId: 7f6e5d4c-3b2a-4190-8f7e\r\n\r\n"
)
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        try:
            length = _LENGTH.search(await reader.readuntil(b"\r\n\r\n"))
        except (asyncio.IncompleteReadError, asyncio.CancelledError):
            break
        if length:
            await reader.readexactly(int(length[1]))
        writer.write(RESPONSE)
    writer.close()


async def _main() -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    await reader.read()  # until the input ends


if __name__ == "__main__":
    asyncio.run(_main())

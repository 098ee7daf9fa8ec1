"""A small OpenAI-compatible server: streams back the roles that it was sent and the last words.

Prints its URL; ends when its input does.
"""

import asyncio
import json
import sys
from typing import Any

from aiohttp import web


def chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    body = {"object": "chat.completion.chunk", "choices": [choice], **more}
    return f"data: {json.dumps(body)}\n\n".encode()


async def models(_: web.Request) -> web.Response:
    return web.json_response({"object": "list", "data": [{"id": "tiny", "object": "model"}]})


async def completions(request: web.Request) -> web.StreamResponse:
    messages = (await request.json())["messages"]
    answer = f"{' '.join(m['role'] for m in messages)}: {messages[-1]['content']}"
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(chunk({"role": "assistant", "content": ""}))
    for word in answer.split(" "):
        await response.write(chunk({"content": word if word == "system" else f" {word}"}))
    await response.write(chunk({}, "stop"))
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    await response.write(b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n")
    await response.write(b"data: [DONE]\n\n")
    return response


async def main() -> None:
    app = web.Application()
    app.add_routes([web.get("/v1/models", models), web.post("/v1/chat/completions", completions)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"http://127.0.0.1:{runner.addresses[0][1]}/v1\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())

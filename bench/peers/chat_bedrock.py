"""The peer: `ChatBedrock.stream`, with a frame for each of its chunks. Prints CPU per chunk.

Run with the peers' interpreter: `chat_bedrock.py URL CHUNKS RATE`.
"""

import json
import sys
import time

from langchain_aws import ChatBedrock

MODEL = "global.anthropic.claude-sonnet-4-6"
TEXT = "some words "


def run(chat: ChatBedrock, chunks: int, rate: int) -> None:
    """Streams one answer and checks that it is complete."""
    text = ""
    order = json.dumps({"chunks": chunks, "rate": rate, "text": TEXT})
    for chunk in chat.stream(f"/script {order}"):
        if isinstance(chunk.content, str) and chunk.content:
            text += chunk.content
            json.dumps({"type": "delta", "text": chunk.content}).encode()
    if text != TEXT * chunks:
        raise RuntimeError("the answer is incomplete")


def main() -> None:
    """Measures one answer after a warm-up."""
    url, chunks, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    chat = ChatBedrock(
        model=MODEL, provider="anthropic", endpoint_url=url, region="us-east-1",
        max_tokens=64_000,
    )  # fmt: skip
    run(chat, 50, 0)
    start = time.process_time()
    run(chat, chunks, rate)
    sys.stdout.write(f"{(time.process_time() - start) / chunks * 1e6}\n")


if __name__ == "__main__":
    main()

"""The peer: `ChatBedrock.stream`, and a frame of each of its chunks. Prints CPU per chunk.

Run by the peers' interpreter: `chat_bedrock.py URL CHUNKS RATE`.
"""

import json
import sys
import time

from langchain_aws import ChatBedrock

MODEL = "global.anthropic.claude-sonnet-4-6"
WORDS = "some words "


def run(chat: ChatBedrock, chunks: int, rate: int) -> None:
    """One answer, whole."""
    text = ""
    order = json.dumps({"chunks": chunks, "rate": rate, "text": WORDS})
    for chunk in chat.stream(f"/script {order}"):
        if isinstance(chunk.content, str) and chunk.content:
            text += chunk.content
            json.dumps({"type": "delta", "text": chunk.content}).encode()
    if text != WORDS * chunks:
        raise RuntimeError("the answer is not whole")


def main() -> None:
    """Warms up, then measures."""
    url, chunks, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    chat = ChatBedrock(
        model=MODEL, provider="anthropic", endpoint_url=url, region="us-east-1",
        max_tokens=64_000,
    )  # fmt: skip
    run(chat, 50, 0)
    began = time.process_time()
    run(chat, chunks, rate)
    sys.stdout.write(f"{(time.process_time() - began) / chunks * 1e6}\n")


if __name__ == "__main__":
    main()

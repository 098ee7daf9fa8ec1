"""From Bedrock's bytes to frames, without HTTP posts. Prints CPU per chunk, of all threads.

Usage: `decode_to_frame.py URL CHUNKS RATE KIND`. KIND is `ours`, or a lower bound: `botocore` reads
its stream and parses the JSON, `http` reads the bytes only. Run with the peers' interpreter, so
that both use the same Python and botocore.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

import boto3

from bedrock_stream import Model, client_config, open_stream
from families.registry import family_of, request_body
from families.types import Message, Prompt, TextDelta
from wire.formats import EventsEncoder
from ws_sender import Sender

MODEL = "global.anthropic.claude-sonnet-4-6"
TEXT = "some words "


class NullPoster:
    """Discards every post."""

    def post(self, _connection_id: str, _body: bytes) -> int:
        """Reports success."""
        return 200


def ours(model: Model, prompt: Prompt, chunks: int) -> None:
    """Streams one answer. Posts without delay coalesce least, so this is the maximum cost."""
    poster: Any = NullPoster()
    sender = Sender(poster, "c=", EventsEncoder("r"), time.monotonic() + 600)
    with open_stream(model, prompt, time.monotonic() + 600, 1.0) as batches:
        for batch in batches:
            sender.send(event for event in batch if isinstance(event, TextDelta))
    text = "".join(item.text for item in sender.log.events if isinstance(item, TextDelta))
    if text != TEXT * chunks:
        raise RuntimeError("the answer is incomplete")


def lower_bound(model: Model, prompt: Prompt, *, parsed: bool) -> None:
    """Reads the same answer and discards it."""
    response: Any = model.client.invoke_model_with_response_stream(
        modelId=MODEL, body=json.dumps(request_body(model.family, MODEL, prompt))
    )
    if parsed:
        for message in response["body"]:
            json.loads(message["chunk"]["bytes"])
    else:
        for _ in response["body"]._raw_stream.stream():  # noqa: SLF001 - a measurement
            pass


def run(model: Model, chunks: int, rate: int, kind: str) -> None:
    """Streams one answer of this kind."""
    order = json.dumps({"chunks": chunks, "rate": rate, "text": TEXT})
    message = Message("user", f"/script {order}")
    prompt = Prompt(system="", messages=(message,), max_tokens=64_000)
    if kind == "ours":
        ours(model, prompt, chunks)
    else:
        lower_bound(model, prompt, parsed=kind == "botocore")


def main() -> None:
    """Measures one answer after a warm-up."""
    url, chunks, rate, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    client = boto3.client("bedrock-runtime", endpoint_url=url, config=client_config(10.0))
    model = Model(client, MODEL, family_of(MODEL))
    run(model, 50, 0, kind)
    start = time.process_time()
    run(model, chunks, rate, kind)
    sys.stdout.write(f"{(time.process_time() - start) / chunks * 1e6}\n")


if __name__ == "__main__":
    main()

"""CPU per chunk of each family's decoder: `python -m bench.decoders` prints the table.

A chunk of each family, already parsed from JSON, is decoded repeatedly; the cost of parsing it is
printed beside it. `time.process_time` counts this process only, so other load changes little.
"""

import itertools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "src")]

from families import shapes  # noqa: E402 - needs the path above
from families.registry import FAMILIES, Decoder  # noqa: E402 - as above

CHUNKS = 100_000
TEXT = "some words "

LLAMA = {"generation": TEXT, "generation_token_count": 7, "stop_reason": None}
CHAT = {"choices": [{"index": 0, "delta": {"content": TEXT}, "finish_reason": None}]}
CHUNK_OF: dict[Callable[..., Any], dict[str, Any]] = {
    shapes.claude_events: {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": TEXT},
    },
    shapes.nova_events: {"contentBlockDelta": {"delta": {"text": TEXT}, "contentBlockIndex": 0}},
    shapes.titan_events: {"outputText": TEXT, "index": 0, "completionReason": None},
    shapes.mistral_text_events: {"outputs": [{"text": TEXT, "stop_reason": None}]},
    shapes.command_r_events: {
        "is_finished": False,
        "event_type": "text-generation",
        "text": TEXT,
    },
    shapes.llama_events: LLAMA,
    shapes.choice_events: CHAT,
}


def microseconds(call: Callable[[], object]) -> float:
    """Returns the CPU time per call over `CHUNKS` calls, with that of the loop."""
    start = time.process_time()
    for _ in itertools.repeat(None, CHUNKS):
        call()
    return (time.process_time() - start) / CHUNKS * 1e6


def main() -> None:
    """Prints the table."""
    write = sys.stdout.write
    write(f"CPU per chunk, microseconds, over {CHUNKS:,} chunks\n")
    write(f"{'family':<14}{'decode':>8}{'parse':>8}\n")
    for family in FAMILIES:
        chunk = CHUNK_OF[family.events]
        line = json.dumps(chunk).encode()
        events = Decoder(family).events
        decode = microseconds(lambda: list(events(chunk)))  # noqa: B023 - called at once
        parse = microseconds(lambda: json.loads(line))  # noqa: B023 - called at once
        write(f"{family.name:<14}{decode:>8.2f}{parse:>8.2f}\n")


if __name__ == "__main__":
    main()

"""What a chunk costs: `python -m bench.decoders` prints CPU per chunk of each family's decoder.

One long answer in each family's own chunks, already parsed from JSON, is decoded again and again;
beside it stands what parsing the same chunks costs. `time.process_time` counts this process alone,
so that a busy machine changes little.
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

from families import shapes  # noqa: E402 - found through the line above
from families.registry import FAMILIES, Decoder  # noqa: E402 - found through the line above

CHUNKS = 100_000
WORDS = "some words "

LLAMA = {"generation": WORDS, "generation_token_count": 7, "stop_reason": None}
CHAT = {"choices": [{"index": 0, "delta": {"content": WORDS}, "finish_reason": None}]}
TEXT: dict[Callable[..., Any], dict[str, Any]] = {
    shapes.claude_events: {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": WORDS},
    },
    shapes.nova_events: {"contentBlockDelta": {"delta": {"text": WORDS}, "contentBlockIndex": 0}},
    shapes.titan_events: {"outputText": WORDS, "index": 0, "completionReason": None},
    shapes.mistral_text_events: {"outputs": [{"text": WORDS, "stop_reason": None}]},
    shapes.command_r_events: {"is_finished": False, "event_type": "text-generation", "text": WORDS},
    shapes.llama_events: LLAMA,
    shapes.choice_events: CHAT,
}


def microseconds(work: Callable[[], object]) -> float:
    """CPU for each of `CHUNKS` calls, the loop's own included."""
    began = time.process_time()
    for _ in itertools.repeat(None, CHUNKS):
        work()
    return (time.process_time() - began) / CHUNKS * 1e6


def main() -> None:
    """Prints the table."""
    say = sys.stdout.write
    say(f"CPU per chunk, microseconds, over {CHUNKS:,} chunks\n")
    say(f"{'family':<14}{'decode':>8}{'parse':>8}\n")
    for family in FAMILIES:
        chunk = TEXT[family.events]
        line = json.dumps(chunk).encode()
        events = Decoder(family).events
        decode = microseconds(lambda: list(events(chunk)))  # noqa: B023 - called at once
        parse = microseconds(lambda: json.loads(line))  # noqa: B023 - called at once
        say(f"{family.name:<14}{decode:>8.2f}{parse:>8.2f}\n")


if __name__ == "__main__":
    main()

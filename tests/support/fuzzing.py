"""Frames as people and programs get them wrong."""

import json
import random
from typing import Any

ACTIONS = ("chat", "stop", "resume", "history", "clear", "ping", "", "$connect", "chat ")
FIELDS = ("body", "limit", "request_id", "session_id", "from_seq", "part", "parts", "continue")


def fuzz(rng: random.Random) -> str:
    """A frame that is almost one of ours: bitten, doubled, or made of the characters that hurt."""
    hurtful = "\"'\\{}[]:,\n\r\t\x00\x7f$#a0 \u2028\ufeff\ud7ff\ue000🙂é"
    kind = rng.randrange(4)
    if kind == 0:
        return "{" + "".join(rng.choice(hurtful) for _ in range(rng.randrange(1, 60)))
    values: list[Any] = [
        None,
        0,
        -1,
        2.5,
        1e308,
        True,
        [],
        {},
        "\ud800",
        "../x",
        "x" * 200,
        {"a": [None]},
    ]
    good = json.dumps({"action": rng.choice(ACTIONS), rng.choice(FIELDS): rng.choice(values)})
    if kind == 1:
        return good
    at = rng.randrange(len(good))
    if kind == 2:
        return good[:at] + rng.choice(hurtful) + good[at + 1 :]
    return good[:at]

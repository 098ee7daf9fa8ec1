"""The scripted model: it answers as the last user message prescribes. Used by the tests.

A script is a text that begins with `/script `, followed by one JSON object:

| field | meaning |
|---|---|
| `chunks` | how many chunks of text to stream (default 10) |
| `text` | the text of each of them (default `"w "`) |
| `rate` | chunks per second; absent or 0: as fast as possible |
| `reasoning` | how many chunks of reasoning come first (default 0) |
| `unknown` | true: inserts chunks and events of unknown types |
| `stop_reason` | the answer's stop reason, passed on unchanged |
| `echo` | true: streams back the request's body as received, ignoring `max_tokens` |
| `fault` | `{"before": "ThrottlingException"}` rejects the request with that error; |
| | `{"at": 5, "type": T}` breaks the stream after 5 chunks of text |

T is the lowerCamel name of an exception (`"event": true` sends it as an event message), `error`
(an error message outside of the service's model), `cut` (the connection is aborted), `stall` (no
data until the client disconnects), `truncate` (a clean end without the family's last chunk), or
`bad_crc`. A fault may have a `message`, and `times`: it applies to that many calls with the same
script, and not to later ones. An invalid script is answered with the reason.

Any other text is answered with `You said: <text>`: the first two words at once, then one word per
chunk.

Rules: `plan` is pure; only `Scripted.answer` uses the clock. Output tokens are the chunks of text
and of reasoning. `max_tokens` and stop sequences are applied as a model applies them.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from local.bedrock.pieces import (
    ERRORS,
    End,
    Fault,
    Piece,
    Prompt,
    Reasoning,
    ServiceError,
    Text,
    Unknown,
)

PREFIX = "/script "
MAX_CHUNKS = 1_000_000  # ours: one line of JSON must not fill the memory
MAX_TEXT_CHARACTERS = 100_000_000  # ours: as MAX_CHUNKS, for chunks times their text
ECHO_CHUNK_CHARACTERS = 64  # ours: an ordinary request becomes several chunks
STREAM_FAULTS = ("bad_crc", "cut", "error", "stall", "truncate")
"""The faults that are not exceptions."""

_WORDS = re.compile(r"\AYou said: |\S+\s*|\s+")
_EXCEPTION = re.compile(r"[a-z][A-Za-z]*Exception")
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "chunks": int,
    "echo": bool,
    "fault": dict,
    "rate": (int, float),
    "reasoning": int,
    "stop_reason": str,
    "text": str,
    "unknown": bool,
}
_FAULT_FIELDS: dict[str, type | tuple[type, ...]] = {
    "at": int,
    "before": str,
    "event": bool,
    "message": str,
    "times": int,
    "type": str,
}


class _InvalidScriptError(ValueError):
    """The script is invalid; the message says why."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A planned answer: its pieces, their rate per second (0: no pause), or an error."""

    pieces: tuple[Piece, ...]
    rate: float = 0.0
    error: ServiceError | None = None


def plan(prompt: Prompt, previous_calls: int = 0) -> Plan:
    """Returns the scripted model's answer to a prompt that it has had `previous_calls` times."""
    text = prompt.last_user_text
    if not text.startswith(PREFIX):
        return _plain(prompt, f"You said: {text}")
    try:
        return _run(prompt, _parse(text.removeprefix(PREFIX)), previous_calls)
    except _InvalidScriptError as error:
        return _plain(prompt, f"Invalid /script: {error}.")


def _plain(prompt: Prompt, answer: str) -> Plan:
    return _answer(prompt, tuple(_WORDS.findall(answer)), {})


def _parse(text: str) -> dict[str, Any]:
    try:
        script = json.loads(text)
    except ValueError as error:
        raise _InvalidScriptError(f"not JSON ({error})") from None
    if not isinstance(script, dict):
        raise _InvalidScriptError("not a JSON object")
    _check(script, _FIELDS)
    return script


def _check(script: Mapping[str, Any], fields: Mapping[str, type | tuple[type, ...]]) -> None:
    for name, value in script.items():
        if name not in fields:
            raise _InvalidScriptError(f"{name!r} is none of {', '.join(fields)}")
        wrong = not isinstance(value, fields[name])
        if wrong or (isinstance(value, bool) and fields[name] is not bool):
            raise _InvalidScriptError(f"{name!r} has a value of the wrong type")
        if isinstance(value, int | float) and not 0 <= value <= MAX_CHUNKS:
            raise _InvalidScriptError(f"{name!r} is not between 0 and {MAX_CHUNKS}")


def _run(prompt: Prompt, script: Mapping[str, Any], previous_calls: int) -> Plan:
    fault = script.get("fault", {})
    _check(fault, _FAULT_FIELDS)
    if fault and previous_calls >= fault.get("times", previous_calls + 1):
        fault, script = {}, {name: value for name, value in script.items() if name != "fault"}
    if "before" in fault:
        if fault["before"] not in ERRORS:
            raise _InvalidScriptError(f"'before' is none of {', '.join(ERRORS)}")
        return Plan((), error=ServiceError(fault["before"], fault.get("message", "")))
    if script.get("echo"):
        size = ECHO_CHUNK_CHARACTERS
        body = prompt.body
        chunks = tuple(body[start : start + size] for start in range(0, len(body), size))
        return _answer(prompt, chunks, script, limited=False)
    count, text = script.get("chunks", 10), script.get("text", "w ")
    if not text or count * len(text) > MAX_TEXT_CHARACTERS:
        raise _InvalidScriptError("'text' is empty, or too long for so many chunks")
    return _answer(prompt, (text,) * count, script)


def _answer(
    prompt: Prompt, chunks: tuple[str, ...], script: Mapping[str, Any], *, limited: bool = True
) -> Plan:
    """Returns the plan for these chunks of text. `limited`: by the prompt's limits."""
    reasoning = script.get("reasoning", 0)
    fault = _fault(script, len(chunks))
    reason, stopped_by = "end", None
    if limited:
        chunks, stopped_by = _cut_at_stop_sequence(chunks, prompt.stop_sequences)
        reason = "stop_sequence" if stopped_by else "end"
        if reasoning + len(chunks) > prompt.max_tokens:
            reasoning = min(reasoning, prompt.max_tokens)
            chunks, reason, stopped_by = chunks[: prompt.max_tokens - reasoning], "length", None
    end = End(
        script.get("stop_reason", reason),
        input_tokens=prompt.estimated_tokens,
        output_tokens=max(1, reasoning + len(chunks)),
        stop_sequence=stopped_by,
    )
    pieces: list[Piece] = [
        *(Reasoning("hm "),) * reasoning,
        *(Text(chunk) for chunk in chunks),
        end,
    ]
    if fault and fault[0] <= len(chunks):
        pieces[reasoning + fault[0] :] = [fault[1]]
    if script.get("unknown"):
        # At the start, after the first chunk (where a block is open), and before the end.
        *rest, last = pieces
        pieces = [Unknown(), *rest[:1], Unknown(), *rest[1:], Unknown(), last]
    return Plan(tuple(pieces), float(script.get("rate", 0)))


def _cut_at_stop_sequence(
    chunks: tuple[str, ...], sequences: tuple[str, ...]
) -> tuple[tuple[str, ...], str | None]:
    """Returns the chunks up to the first stop sequence, which may span chunks, and the sequence."""
    if not sequences:
        return chunks, None
    text = "".join(chunks)
    found = [(text.find(sequence), sequence) for sequence in sequences if sequence in text]
    if not found:
        return chunks, None
    left, sequence = min(found)
    result = []
    for chunk in chunks:
        if left <= 0:
            break
        result.append(chunk[:left])
        left -= len(chunk)
    return tuple(result), sequence


def _fault(script: Mapping[str, Any], chunks: int) -> tuple[int, Fault] | None:
    """Returns after how many chunks of text the stream breaks, and how; None if it does not."""
    fault = script.get("fault")
    if not fault:
        return None
    if "at" not in fault or "type" not in fault:
        raise _InvalidScriptError("a fault needs 'before', or 'at' and 'type'")
    kind = fault["type"]
    if kind not in STREAM_FAULTS and not _EXCEPTION.fullmatch(kind):
        raise _InvalidScriptError(
            f"'type' is neither a lowerCamel exception nor one of {', '.join(STREAM_FAULTS)}"
        )
    if fault["at"] > chunks:
        raise _InvalidScriptError(
            f"the fault is at {fault['at']}, after the last of {chunks} chunks"
        )
    return fault["at"], Fault(kind, fault.get("message", ""), as_event=fault.get("event", False))


class Scripted:
    """A `Model` (`models.py`) without dependencies."""

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()

    async def start(self) -> None:
        """Does nothing."""

    async def close(self) -> None:
        """Does nothing."""

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """Yields the planned pieces. Their schedule is absolute: delays do not accumulate."""
        planned = plan(prompt, self._calls[prompt.last_user_text])
        self._calls[prompt.last_user_text] += 1
        if planned.error:
            raise planned.error
        clock = asyncio.get_running_loop().time
        start, sent = clock(), 0
        for piece in planned.pieces:
            wait = 0.0
            if planned.rate and isinstance(piece, Text | Reasoning):
                wait = max(0.0, start + sent / planned.rate - clock())
                sent += 1
            await asyncio.sleep(wait)  # 0, too, lets other streams run
            yield piece

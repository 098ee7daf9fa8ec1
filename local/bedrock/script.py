"""The scripted model: it says what the last user message orders. What the tests talk to.

The order is a text that begins with `/script ` and goes on with one JSON object:

| member | meaning |
|---|---|
| `chunks` | how many chunks of text to stream (default 10) |
| `text` | what each of them says (default `"w "`) |
| `rate` | chunks a second; absent or 0: as fast as possible |
| `reasoning` | how many chunks of reasoning come first (default 0) |
| `unknown` | true: puts chunks and events of unknown types in between |
| `stop_reason` | what the answer ends with, as it is |
| `echo` | true: streams back the request's body as received, whatever `max_tokens` says |
| `fault` | `{"before": "ThrottlingException"}` refuses the request with that error; |
| | `{"at": 5, "type": T}` breaks the stream after 5 chunks of text |

T is the lowerCamel name of an exception (`"event": true` sends it as an event message), `error`
(an error message that no model describes), `cut` (the connection is aborted), `stall` (silence
until the client hangs up), `truncate` (a clean end without the family's last chunk), or `bad_crc`.
A fault may have a `message`, and `times`: it befalls the first so many calls with the very same
order, and then no more. An order that makes no sense is answered with the reason why.

Anything else is answered with `You said: <text>`: the first two words at once, then a word a chunk.

Rules: `plan` is pure; only `Scripted.answer` knows the time. Output tokens are the chunks of text
and of reasoning. `max_tokens` and stop sequences are kept as a model would.
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
    Failure,
    Fault,
    Piece,
    Prompt,
    Reasoning,
    Text,
    Unknown,
)

PREFIX = "/script "
MAX_CHUNKS = 1_000_000  # ours: an order is a line of JSON and must not fill the memory
MAX_TEXT_CHARACTERS = 100_000_000  # ours: as MAX_CHUNKS, for chunks times the text of one
ECHO_CHUNK_CHARACTERS = 64  # ours: small enough that an ordinary request makes several chunks
BREAKS = ("bad_crc", "cut", "error", "stall", "truncate")
"""The faults that are not exceptions."""

_WORDS = re.compile(r"\AYou said: |\S+\s*|\s+")
_EXCEPTION = re.compile(r"[a-z][A-Za-z]*Exception")
_MEMBERS: dict[str, type | tuple[type, ...]] = {
    "chunks": int,
    "echo": bool,
    "fault": dict,
    "rate": (int, float),
    "reasoning": int,
    "stop_reason": str,
    "text": str,
    "unknown": bool,
}
_FAULT_MEMBERS: dict[str, type | tuple[type, ...]] = {
    "at": int,
    "before": str,
    "event": bool,
    "message": str,
    "times": int,
    "type": str,
}


class _MistakeError(ValueError):
    """The order makes no sense; the message says why."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An answer, decided: its pieces, how many with words a second (0: no pause), or a failure."""

    pieces: tuple[Piece, ...]
    rate: float = 0.0
    failure: Failure | None = None


def plan(prompt: Prompt, met: int = 0) -> Plan:
    """What the scripted model will do with a prompt, `met` so often before. Raises nothing."""
    said = prompt.last_words
    if not said.startswith(PREFIX):
        return _plain(prompt, f"You said: {said}")
    try:
        return _obey(prompt, _order(said.removeprefix(PREFIX)), met)
    except _MistakeError as mistake:
        return _plain(prompt, f"This /script makes no sense: {mistake}.")


def _plain(prompt: Prompt, answer: str) -> Plan:
    return _answer(prompt, tuple(_WORDS.findall(answer)), {})


def _order(text: str) -> dict[str, Any]:
    try:
        order = json.loads(text)
    except ValueError as error:
        raise _MistakeError(f"what follows is not JSON ({error})") from None
    if not isinstance(order, dict):
        raise _MistakeError("what follows is not a JSON object")
    _check(order, _MEMBERS)
    return order


def _check(order: Mapping[str, Any], members: Mapping[str, type | tuple[type, ...]]) -> None:
    for name, value in order.items():
        if name not in members:
            raise _MistakeError(f"{name!r} is none of {', '.join(members)}")
        wrong = not isinstance(value, members[name])
        if wrong or (isinstance(value, bool) and members[name] is not bool):
            raise _MistakeError(f"{name!r} has a value of the wrong type")
        if isinstance(value, int | float) and not 0 <= value <= MAX_CHUNKS:
            raise _MistakeError(f"{name!r} is not between 0 and {MAX_CHUNKS}")


def _obey(prompt: Prompt, order: Mapping[str, Any], met: int) -> Plan:
    fault = order.get("fault", {})
    _check(fault, _FAULT_MEMBERS)
    if fault and met >= fault.get("times", met + 1):
        fault, order = {}, {name: value for name, value in order.items() if name != "fault"}
    if "before" in fault:
        if fault["before"] not in ERRORS:
            raise _MistakeError(f"'before' is none of {', '.join(ERRORS)}")
        return Plan((), failure=Failure(fault["before"], fault.get("message", "")))
    if order.get("echo"):
        size = ECHO_CHUNK_CHARACTERS
        body = prompt.body
        chunks = tuple(body[start : start + size] for start in range(0, len(body), size))
        return _answer(prompt, chunks, order, limited=False)
    count, text = order.get("chunks", 10), order.get("text", "w ")
    if not text or count * len(text) > MAX_TEXT_CHARACTERS:
        raise _MistakeError("'text' is empty, or too long for so many chunks")
    return _answer(prompt, (text,) * count, order)


def _answer(
    prompt: Prompt, chunks: tuple[str, ...], order: Mapping[str, Any], *, limited: bool = True
) -> Plan:
    """The plan that says these chunks of text, as far as the prompt and the order let it."""
    thoughts = order.get("reasoning", 0)
    fault = _fault(order, len(chunks))
    reason, stopped_by = "end", None
    if limited:
        chunks, stopped_by = _until_stop(chunks, prompt.stop_sequences)
        reason = "stop_sequence" if stopped_by else "end"
        if thoughts + len(chunks) > prompt.max_tokens:
            thoughts = min(thoughts, prompt.max_tokens)
            chunks, reason, stopped_by = chunks[: prompt.max_tokens - thoughts], "length", None
    end = End(
        order.get("stop_reason", reason),
        input_tokens=prompt.estimated_tokens,
        output_tokens=max(1, thoughts + len(chunks)),
        stop_sequence=stopped_by,
    )
    pieces: list[Piece] = [*(Reasoning("hm "),) * thoughts, *(Text(chunk) for chunk in chunks), end]
    if fault and fault[0] <= len(chunks):
        pieces[thoughts + fault[0] :] = [fault[1]]
    if order.get("unknown"):
        # At the very start, after the first words (where a block is open), and before the end.
        *words, last = pieces
        pieces = [Unknown(), *words[:1], Unknown(), *words[1:], Unknown(), last]
    return Plan(tuple(pieces), float(order.get("rate", 0)))


def _until_stop(
    chunks: tuple[str, ...], sequences: tuple[str, ...]
) -> tuple[tuple[str, ...], str | None]:
    """The chunks up to the first stop sequence, which may lie across chunks, and that sequence."""
    if not sequences:
        return chunks, None
    whole = "".join(chunks)
    found = [(whole.find(sequence), sequence) for sequence in sequences if sequence in whole]
    if not found:
        return chunks, None
    left, sequence = min(found)
    kept = []
    for chunk in chunks:
        if left <= 0:
            break
        kept.append(chunk[:left])
        left -= len(chunk)
    return tuple(kept), sequence


def _fault(order: Mapping[str, Any], chunks: int) -> tuple[int, Fault] | None:
    """After how many chunks of text the stream breaks, and how. None: it does not."""
    fault = order.get("fault")
    if not fault:
        return None
    if "at" not in fault or "type" not in fault:
        raise _MistakeError("a fault needs 'before', or 'at' and 'type'")
    kind = fault["type"]
    if kind not in BREAKS and not _EXCEPTION.fullmatch(kind):
        raise _MistakeError(
            f"'type' is neither a lowerCamel exception nor one of {', '.join(BREAKS)}"
        )
    if fault["at"] > chunks:
        raise _MistakeError(f"the fault is at {fault['at']}, after the last of {chunks} chunks")
    return fault["at"], Fault(kind, fault.get("message", ""), as_event=fault.get("event", False))


class Scripted:
    """A `Model` (see `local/bedrock/models.py`) that needs nothing and is always ready."""

    def __init__(self) -> None:
        self._met: Counter[str] = Counter()

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to give back."""

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Piece, None]:
        """The planned pieces, each at its time. The schedule is absolute: delays do not add up."""
        planned = plan(prompt, self._met[prompt.last_words])
        self._met[prompt.last_words] += 1
        if planned.failure:
            raise planned.failure
        clock = asyncio.get_running_loop().time
        start, words = clock(), 0
        for piece in planned.pieces:
            wait = 0.0
            if planned.rate and isinstance(piece, Text | Reasoning):
                wait = max(0.0, start + words / planned.rate - clock())
                words += 1
            await asyncio.sleep(wait)  # even 0 gives way to the other streams
            yield piece

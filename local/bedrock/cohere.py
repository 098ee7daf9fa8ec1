"""The native shape of Cohere's Command R and R+, read strictly and spoken in stream events.

Rules: pure; what the service refuses is refused. The newest message stands by itself; the history
before it has roles in capitals.

Source: Bedrock user guide, "Cohere Command R and Command R+ models"; Cohere's Chat API v1.

Does not know: documents, searches and tools (let through and never used).
"""

from collections.abc import Mapping
from typing import Any

from local.bedrock.native import (
    METRICS,
    Document,
    alternating,
    count,
    fraction,
    keys,
    malformed,
    refuse,
    strings,
    typed,
)
from local.bedrock.pieces import End, Prompt, Turn

_OPTIONAL = {
    "chat_history",
    "documents",
    "frequency_penalty",
    "k",
    "max_tokens",
    "p",
    "preamble",
    "presence_penalty",
    "prompt_truncation",
    "raw_prompting",
    "return_prompt",
    "search_queries_only",
    "seed",
    "stop_sequences",
    "temperature",
    "tool_results",
    "tools",
}
_MAX_TOKENS = 4000  # ours: the user guide names no default


def read(document: Document, body: str) -> Prompt:
    """The prompt in a parsed request whose text is `body`. Raises Failure."""
    keys(document, {"message"}, _OPTIONAL)
    message: str = typed(document["message"], str, "#/message")
    if not message.strip():
        raise refuse("message must be at least 1 token long")
    history = typed(document.get("chat_history", []), list, "#/chat_history")
    turns = [_turn(entry, f"#/chat_history/{index}") for index, entry in enumerate(history)]
    return Prompt(
        system=typed(document.get("preamble", ""), str, "#/preamble"),
        turns=alternating([*turns, Turn("user", (message,))]),
        max_tokens=count(document.get("max_tokens", _MAX_TOKENS), "#/max_tokens"),
        stop_sequences=strings(document.get("stop_sequences", []), "#/stop_sequences"),
        temperature=fraction(document, "temperature"),
        top_p=fraction(document, "p"),
        body=body,
    )


def _turn(entry: Any, path: str) -> Turn:
    keys(typed(entry, dict, path), {"role", "message"}, set())
    text: str = typed(entry["message"], str, f"{path}/message")
    match entry["role"]:
        case "USER":
            return Turn("user", (text,))
        case "CHATBOT":
            return Turn("assistant", (text,))
    raise malformed(f"{path}/role: {entry['role']} is not a valid enum value")


_STOPS = {
    "end": "COMPLETE",
    "length": "MAX_TOKENS",
    "stop_sequence": "STOP_SEQUENCE",
    "filtered": "ERROR_TOXIC",
}


class Speech:
    """Events with a type; the last repeats the whole answer. Command R does not think aloud."""

    def __init__(self, model_id: str, prompt: Prompt) -> None:
        del model_id, prompt
        self._said: list[str] = []

    def begin(self) -> list[Document]:
        """The start."""
        return [{"is_finished": False, "event_type": "stream-start", "generation_id": "local"}]

    def text(self, text: str) -> list[Document]:
        """The words."""
        self._said.append(text)
        return [{"is_finished": False, "event_type": "text-generation", "text": text}]

    def reasoning(self, text: str) -> list[Document]:
        """Nothing."""
        del text
        return []

    def unknown(self) -> list[Document]:
        """An event of a new type."""
        return [{"is_finished": False, "event_type": "something-new", "text": "not for you"}]

    def end(self, end: End, metrics: Mapping[str, int]) -> list[Document]:
        """The reason, with all that was said once more."""
        reason = _STOPS.get(end.stop_reason, end.stop_reason)
        response = {
            "response_id": "local",
            "text": "".join(self._said),
            "generation_id": "local",
            "finish_reason": reason,
        }
        return [
            {
                "is_finished": True,
                "event_type": "stream-end",
                "response": response,
                "finish_reason": reason,
                METRICS: dict(metrics),
            }
        ]

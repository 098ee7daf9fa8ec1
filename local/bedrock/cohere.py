"""The native shape of Cohere's Command R and R+, read strictly, and its stream events.

Rules: no I/O; a request that the service refuses is refused. The newest message has a field of its
own; the roles in the history are upper case.

Source: Bedrock user guide, "Cohere Command R and Command R+ models"; Cohere's Chat API v1.

Does not know: documents, searches and tools (accepted and ignored).
"""

from collections.abc import Mapping
from typing import Any

from local.bedrock.native import (
    METRICS,
    Document,
    check_alternation,
    check_keys,
    expect_type,
    malformed_request,
    optional_number,
    positive_integer,
    string_list,
    validation_error,
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
_MAX_TOKENS = 4000  # ours: the user guide documents no default


def read(document: Document, body: str) -> Prompt:
    """Returns the prompt in a parsed request whose text is `body`. Raises ServiceError."""
    check_keys(document, {"message"}, _OPTIONAL)
    message: str = expect_type(document["message"], str, "#/message")
    if not message.strip():
        raise validation_error("message must be at least 1 token long")
    history = expect_type(document.get("chat_history", []), list, "#/chat_history")
    turns = [_turn(entry, f"#/chat_history/{index}") for index, entry in enumerate(history)]
    return Prompt(
        system=expect_type(document.get("preamble", ""), str, "#/preamble"),
        turns=check_alternation([*turns, Turn("user", (message,))]),
        max_tokens=positive_integer(document.get("max_tokens", _MAX_TOKENS), "#/max_tokens"),
        stop_sequences=string_list(document.get("stop_sequences", []), "#/stop_sequences"),
        temperature=optional_number(document, "temperature"),
        top_p=optional_number(document, "p"),
        body=body,
    )


def _turn(entry: Any, path: str) -> Turn:
    check_keys(expect_type(entry, dict, path), {"role", "message"}, set())
    text: str = expect_type(entry["message"], str, f"{path}/message")
    match entry["role"]:
        case "USER":
            return Turn("user", (text,))
        case "CHATBOT":
            return Turn("assistant", (text,))
    raise malformed_request(f"{path}/role: {entry['role']} is not a valid enum value")


_STOP_REASONS = {
    "end": "COMPLETE",
    "length": "MAX_TOKENS",
    "stop_sequence": "STOP_SEQUENCE",
    "filtered": "ERROR_TOXIC",
}


class ChunkWriter:
    """Writes events with a type; the last repeats the whole answer. There is no reasoning."""

    def __init__(self, _model_id: str, _prompt: Prompt) -> None:
        self._texts: list[str] = []

    def begin(self) -> list[Document]:
        """Returns the start event."""
        return [{"is_finished": False, "event_type": "stream-start", "generation_id": "local"}]

    def text(self, text: str) -> list[Document]:
        """Returns a text event."""
        self._texts.append(text)
        return [{"is_finished": False, "event_type": "text-generation", "text": text}]

    def reasoning(self, _text: str) -> list[Document]:
        """Returns nothing."""
        return []

    def unknown(self) -> list[Document]:
        """Returns an event of an unknown type."""
        return [{"is_finished": False, "event_type": "something-new", "text": "not for you"}]

    def end(self, end: End, metrics: Mapping[str, int]) -> list[Document]:
        """Returns the stop reason with the whole answer."""
        reason = _STOP_REASONS.get(end.stop_reason, end.stop_reason)
        response = {
            "response_id": "local",
            "text": "".join(self._texts),
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

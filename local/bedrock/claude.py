"""The native shape of Claude on Bedrock: Anthropic's Messages, read strictly, spoken in events.

Rules: pure; what the service refuses is refused. Roles must alternate, as they must for the models
that do not merge neighbours themselves: the strictest reading keeps a caller portable.

Does not know: the largest `max_tokens` of a model, tools (they are let through and never called),
images and documents (let through; they say nothing).
"""

import re
from collections.abc import Mapping
from typing import Any

from local.bedrock.native import METRICS, Document, count, fraction, keys, refuse, strings, typed
from local.bedrock.pieces import End, Prompt, Role, Turn

_VERSION = "bedrock-2023-05-31"
_REQUIRED = {"anthropic_version", "max_tokens", "messages"}
_OPTIONAL = {
    "anthropic_beta",
    "metadata",
    "output_config",
    "stop_sequences",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
}
_SILENT_BLOCKS = {
    "document",
    "image",
    "redacted_thinking",
    "thinking",
    "tool_result",
    "tool_use",
}


def read(document: Document, body: str) -> Prompt:
    """The prompt in a parsed request whose text is `body`. Raises Failure."""
    keys(document, _REQUIRED, _OPTIONAL)
    if document["anthropic_version"] != _VERSION:
        raise refuse("anthropic_version: unsupported version")
    max_tokens = count(document["max_tokens"], "#/max_tokens")
    return Prompt(
        system="\n".join(_texts(document.get("system", []), "system")),
        turns=_turns(typed(document["messages"], list, "#/messages")),
        max_tokens=max_tokens,
        stop_sequences=strings(document.get("stop_sequences", []), "#/stop_sequences"),
        temperature=fraction(document, "temperature"),
        top_p=fraction(document, "top_p"),
        body=body,
    )


def _turns(messages: list[Any]) -> tuple[Turn, ...]:
    if not messages:
        raise refuse("messages: at least one message is required")
    turns: list[Turn] = []
    for index, message in enumerate(messages):
        typed(message, dict, f"#/messages/{index}")
        keys(message, {"role", "content"}, set())
        role: Role = message["role"]
        if role not in ("user", "assistant"):
            raise refuse('messages: Unexpected role. Allowed roles are "user" or "assistant"')
        if not turns and role != "user":
            raise refuse('messages: first message must use the "user" role')
        if turns and turns[-1].role == role:
            raise refuse(
                'messages: roles must alternate between "user" and "assistant", '
                f'but found multiple "{role}" roles in a row'
            )
        turns.append(Turn(role, _texts(message["content"], "messages")))
    if turns[-1].role == "assistant" and turns[-1].text != turns[-1].text.rstrip():
        raise refuse("messages: final assistant content cannot end with trailing whitespace")
    return tuple(turns)


def _texts(content: Any, where: str) -> tuple[str, ...]:
    """The texts of a message's content, or of the system prompt: a string, or a list of blocks."""
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    texts = []
    for block in typed(blocks, list, f"#/{where}"):
        typed(block, dict, f"#/{where}")
        if block.get("type") in _SILENT_BLOCKS:
            continue
        if block.get("type") != "text":
            raise refuse(
                f"{where}: Input tag {block.get('type')!r} does not match any of the expected tags"
            )
        text: str = typed(block.get("text"), str, f"#/{where}/text")
        if not text:
            raise refuse(f"{where}: text content blocks must be non-empty")
        if not text.strip():
            raise refuse(f"{where}: text content blocks must contain non-whitespace text")
        texts.append(text)
    if not blocks and where == "messages":
        raise refuse("messages: all messages must have non-empty content")
    return tuple(texts)


_STOPS = {
    "end": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "filtered": "refusal",
}
_OPENINGS: dict[str, Document] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}


class Speech:
    """Blocks open and close: thinking is one, text is the next."""

    def __init__(self, model_id: str, input_tokens: int) -> None:
        self._model = re.sub(r"^anthropic\.|-v\d+(:\d+)?$", "", model_id)
        self._input_tokens = input_tokens
        self._index = -1
        self._open: str | None = None

    def begin(self) -> list[Document]:
        """The message, still without content."""
        usage = {
            "input_tokens": self._input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 1,
        }
        message: Document = {
            "id": f"msg_bdrk_{self._input_tokens:024d}",
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        return [{"type": "message_start", "message": message}]

    def text(self, text: str) -> list[Document]:
        """A text delta, in a text block."""
        return [*self._block("text"), self._delta({"type": "text_delta", "text": text})]

    def reasoning(self, text: str) -> list[Document]:
        """A thinking delta, in a thinking block."""
        return [*self._block("thinking"), self._delta({"type": "thinking_delta", "thinking": text})]

    def unknown(self) -> list[Document]:
        """An event of a new type and, where a block is open, a delta of a new type."""
        return [
            {"type": "something_new", "detail": {"text": "not for you"}},
            *(
                [self._delta({"type": "something_new_delta", "note": "not for you"})]
                if self._open
                else []
            ),
        ]

    def end(self, end: End, metrics: Mapping[str, int]) -> list[Document]:
        """The block closes, then the stop reason and the usage, then Bedrock's metrics."""
        delta = {
            "stop_reason": _STOPS.get(end.stop_reason, end.stop_reason),
            "stop_sequence": end.stop_sequence,
        }
        usage = {"output_tokens": end.output_tokens}
        return [
            *self._close(),
            {"type": "message_delta", "delta": delta, "usage": usage},
            {"type": "message_stop", METRICS: dict(metrics)},
        ]

    def _delta(self, delta: Document) -> Document:
        return {"type": "content_block_delta", "index": self._index, "delta": delta}

    def _block(self, kind: str) -> list[Document]:
        """The chunks that lead to an open block of this kind; none if it is open already."""
        if self._open == kind:
            return []
        closing = self._close()
        self._index, self._open = self._index + 1, kind
        opening = {
            "type": "content_block_start",
            "index": self._index,
            "content_block": _OPENINGS[kind],
        }
        return [*closing, opening, *([{"type": "ping"}] if self._index == 0 else [])]

    def _close(self) -> list[Document]:
        if self._open is None:
            return []
        signature = [self._delta({"type": "signature_delta", "signature": "c2lnbmVk"})]
        closing = signature if self._open == "thinking" else []
        self._open = None
        return [*closing, {"type": "content_block_stop", "index": self._index}]

"""The native shape of Claude on Bedrock: Anthropic's Messages, read strictly, and its events.

Rules: no I/O; a request that the service refuses is refused. Roles must alternate, as for models
that do not merge consecutive messages of one role: the strictest reading keeps a caller portable.

Does not know: the largest `max_tokens` of a model; tools, images and documents, which are accepted
and ignored.
"""

import re
from collections.abc import Mapping
from typing import Any

from local.bedrock.native import (
    METRICS,
    Document,
    check_keys,
    expect_type,
    optional_number,
    positive_integer,
    string_list,
    validation_error,
)
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
_IGNORED_BLOCKS = {
    "document",
    "image",
    "redacted_thinking",
    "thinking",
    "tool_result",
    "tool_use",
}


def read(document: Document, body: str) -> Prompt:
    """Returns the prompt in a parsed request whose text is `body`. Raises ServiceError."""
    check_keys(document, _REQUIRED, _OPTIONAL)
    if document["anthropic_version"] != _VERSION:
        raise validation_error("anthropic_version: unsupported version")
    max_tokens = positive_integer(document["max_tokens"], "#/max_tokens")
    return Prompt(
        system="\n".join(_texts(document.get("system", []), "system")),
        turns=_turns(expect_type(document["messages"], list, "#/messages")),
        max_tokens=max_tokens,
        stop_sequences=string_list(document.get("stop_sequences", []), "#/stop_sequences"),
        temperature=optional_number(document, "temperature"),
        top_p=optional_number(document, "top_p"),
        body=body,
    )


def _turns(messages: list[Any]) -> tuple[Turn, ...]:
    if not messages:
        raise validation_error("messages: at least one message is required")
    turns: list[Turn] = []
    for index, message in enumerate(messages):
        expect_type(message, dict, f"#/messages/{index}")
        check_keys(message, {"role", "content"}, set())
        role: Role = message["role"]
        if role not in ("user", "assistant"):
            raise validation_error(
                'messages: Unexpected role. Allowed roles are "user" or "assistant"'
            )
        if not turns and role != "user":
            raise validation_error('messages: first message must use the "user" role')
        if turns and turns[-1].role == role:
            raise validation_error(
                'messages: roles must alternate between "user" and "assistant", '
                f'but found multiple "{role}" roles in a row'
            )
        turns.append(Turn(role, _texts(message["content"], "messages")))
    if turns[-1].role == "assistant" and turns[-1].text != turns[-1].text.rstrip():
        raise validation_error(
            "messages: final assistant content cannot end with trailing whitespace"
        )
    return tuple(turns)


def _texts(content: Any, where: str) -> tuple[str, ...]:
    """Returns the texts of a content or of the system prompt: a string, or a list of blocks."""
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    texts = []
    for block in expect_type(blocks, list, f"#/{where}"):
        expect_type(block, dict, f"#/{where}")
        if block.get("type") in _IGNORED_BLOCKS:
            continue
        if block.get("type") != "text":
            raise validation_error(
                f"{where}: Input tag {block.get('type')!r} does not match any of the expected tags"
            )
        text: str = expect_type(block.get("text"), str, f"#/{where}/text")
        if not text:
            raise validation_error(f"{where}: text content blocks must be non-empty")
        if not text.strip():
            raise validation_error(f"{where}: text content blocks must contain non-whitespace text")
        texts.append(text)
    if not blocks and where == "messages":
        raise validation_error("messages: all messages must have non-empty content")
    return tuple(texts)


_STOP_REASONS = {
    "end": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "filtered": "refusal",
}
_EMPTY_BLOCKS: dict[str, Document] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}


class ChunkWriter:
    """Writes content blocks: one for thinking, the next for text."""

    def __init__(self, model_id: str, prompt: Prompt) -> None:
        self._model = re.sub(r"^anthropic\.|-v\d+(:\d+)?$", "", model_id)
        self._input_tokens = prompt.estimated_tokens
        self._index = -1
        self._open: str | None = None

    def begin(self) -> list[Document]:
        """Returns the message without content."""
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
        """Returns a text delta, in a text block."""
        return [*self._block("text"), self._delta({"type": "text_delta", "text": text})]

    def reasoning(self, text: str) -> list[Document]:
        """Returns a thinking delta, in a thinking block."""
        return [*self._block("thinking"), self._delta({"type": "thinking_delta", "thinking": text})]

    def unknown(self) -> list[Document]:
        """Returns an event of an unknown type and, in an open block, an unknown delta."""
        return [
            {"type": "something_new", "detail": {"text": "not for you"}},
            *(
                [self._delta({"type": "something_new_delta", "note": "not for you"})]
                if self._open
                else []
            ),
        ]

    def end(self, end: End, metrics: Mapping[str, int]) -> list[Document]:
        """Returns the end of the block, stop reason with usage, and Bedrock's metrics."""
        delta = {
            "stop_reason": _STOP_REASONS.get(end.stop_reason, end.stop_reason),
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
        """Returns the chunks that open a block of this kind; none if it is open already."""
        if self._open == kind:
            return []
        closing = self._close()
        self._index, self._open = self._index + 1, kind
        opening = {
            "type": "content_block_start",
            "index": self._index,
            "content_block": _EMPTY_BLOCKS[kind],
        }
        return [*closing, opening, *([{"type": "ping"}] if self._index == 0 else [])]

    def _close(self) -> list[Document]:
        if self._open is None:
            return []
        signature = [self._delta({"type": "signature_delta", "signature": "c2lnbmVk"})]
        closing = signature if self._open == "thinking" else []
        self._open = None
        return [*closing, {"type": "content_block_stop", "index": self._index}]

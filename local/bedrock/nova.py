"""The native shape of Amazon Nova, schema `messages-v1`, read strictly, and its stream events.

Rules: no I/O; a request that the service refuses is refused.

Does not know: the largest `maxTokens` of a model; tools, images and videos (accepted and ignored).
"""

from collections.abc import Mapping
from typing import Any

from local.bedrock.native import (
    METRICS,
    Document,
    check_keys,
    expect_type,
    malformed_request,
    optional_number,
    positive_integer,
    string_list,
    validation_error,
)
from local.bedrock.pieces import End, Prompt, Role, Turn

_OPTIONAL = {"inferenceConfig", "schemaVersion", "system", "toolConfig"}
_INFERENCE = {"maxTokens", "max_new_tokens", "stopSequences", "temperature", "topK", "topP"}
_MAX_TOKENS = 5_000  # Nova user guide: the default


def read(document: Document, body: str) -> Prompt:
    """Returns the prompt in a parsed request whose text is `body`. Raises ServiceError."""
    check_keys(document, {"messages"}, _OPTIONAL)
    if document.get("schemaVersion", "messages-v1") != "messages-v1":
        raise malformed_request("#/schemaVersion: must be equal to constant: messages-v1")
    config: Document = expect_type(document.get("inferenceConfig", {}), dict, "#/inferenceConfig")
    check_keys(config, set(), _INFERENCE)
    max_tokens = config.get("maxTokens", config.get("max_new_tokens", _MAX_TOKENS))
    return Prompt(
        system="\n".join(_texts(document.get("system", []), "system")),
        turns=_turns(expect_type(document["messages"], list, "#/messages")),
        max_tokens=positive_integer(max_tokens, "#/inferenceConfig/maxTokens"),
        stop_sequences=string_list(
            config.get("stopSequences", []), "#/inferenceConfig/stopSequences"
        ),
        temperature=optional_number(config, "temperature"),
        top_p=optional_number(config, "topP"),
        body=body,
    )


def _turns(messages: list[Any]) -> tuple[Turn, ...]:
    turns: list[Turn] = []
    for index, message in enumerate(messages):
        expect_type(message, dict, f"#/messages/{index}")
        check_keys(message, {"role", "content"}, set())
        role: Role = message["role"]
        if role not in ("user", "assistant"):
            raise malformed_request(f"#/messages/{index}/role: {role} is not a valid enum value")
        if turns and turns[-1].role == role:
            raise validation_error(
                "A conversation must alternate between user and assistant roles. Make sure the "
                "conversation alternates between user and assistant roles and try again."
            )
        turns.append(Turn(role, _texts(message["content"], f"messages.{index}.content")))
    if not turns or turns[0].role != "user":
        raise validation_error(
            "A conversation must start with a user message. Try again with a conversation that "
            "starts with a user message."
        )
    return tuple(turns)


def _texts(content: Any, where: str) -> tuple[str, ...]:
    """Returns the texts of a list of blocks; Nova accepts no string, not even as system prompt."""
    path = f"#/{where.replace('.', '/')}"
    blocks = expect_type(content, list, path)
    if not blocks and where != "system":
        raise validation_error(
            f"The content field in the Message object at {where} is empty. Add a ContentBlock."
        )
    texts = []
    for index, block in enumerate(blocks):
        if "text" not in expect_type(block, dict, f"{path}/{index}"):
            continue
        text: str = expect_type(block["text"], str, f"{path}/{index}/text")
        if not text.strip():
            raise validation_error(
                f"The text field in the ContentBlock object at {where}.{index} is blank. "
                "Add text to the text field, and try again."
            )
        texts.append(text)
    return tuple(texts)


_STOP_REASONS = {
    "end": "end_turn",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "filtered": "content_filtered",
}


class ChunkWriter:
    """Writes one key per chunk. The usage follows the stop reason."""

    def __init__(self, _model_id: str, _prompt: Prompt) -> None:
        self._index = -1
        self._open: str | None = None

    def begin(self) -> list[Document]:
        """Returns the message without content."""
        return [{"messageStart": {"role": "assistant"}}]

    def text(self, text: str) -> list[Document]:
        """Returns a text delta."""
        return [*self._block("text"), self._delta({"text": text})]

    def reasoning(self, text: str) -> list[Document]:
        """Returns a reasoning delta, as Nova 2 sends it, in a block of its own."""
        delta = {"reasoningContent": {"reasoningText": {"text": text}}}
        return [*self._block("reasoning"), self._delta(delta)]

    def unknown(self) -> list[Document]:
        """Returns an event of an unknown type."""
        return [{"somethingNew": {"text": "not for you"}}]

    def end(self, end: End, metrics: Mapping[str, int]) -> list[Document]:
        """Returns the end of the block, the stop reason, and the usage with Bedrock's metrics."""
        usage = {
            "inputTokens": end.input_tokens,
            "outputTokens": end.output_tokens,
            "cacheReadInputTokenCount": 0,
            "cacheWriteInputTokenCount": 0,
        }
        stop_reason = _STOP_REASONS.get(end.stop_reason, end.stop_reason)
        return [
            *self._close(),
            {"messageStop": {"stopReason": stop_reason}},
            {"metadata": {"usage": usage, "metrics": {}, "trace": {}}, METRICS: dict(metrics)},
        ]

    def _delta(self, delta: Document) -> Document:
        return {"contentBlockDelta": {"delta": delta, "contentBlockIndex": self._index}}

    def _block(self, kind: str) -> list[Document]:
        if self._open == kind:
            return []
        closing = self._close()
        self._index, self._open = self._index + 1, kind
        return closing

    def _close(self) -> list[Document]:
        was_open, self._open = self._open, None
        return [{"contentBlockStop": {"contentBlockIndex": self._index}}] if was_open else []

"""Families that take a list of `messages` and answer in `choices`: OpenAI's shape and its variants.

OpenAI's own (gpt-oss, Qwen3, DeepSeek V3, Kimi, GLM, MiniMax, Gemma, Nemotron), Mistral's chat
models, Jamba, Writer Palmyra.

Rules: no I/O; a request that the service refuses is refused. Differences between the families are
fields of `Request` and `Style`; no code depends on a family's name.

Sources: Bedrock user guide, "OpenAI models", "Mistral AI chat completion", "AI21 Labs Jamba
models", "Writer AI Palmyra models", "DeepSeek models"; OpenAI's API reference, "Chat Completions".
gpt-oss on Bedrock encloses each part of its reasoning in `<reasoning>` tags of its own (Cherry
Studio's issue 10225). For the newer models no source documents the form of their reasoning, so each
of the known forms is assigned to one of them.

Does not know: tools, images, several choices (accepted and ignored).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from local.bedrock.native import (
    METRICS,
    OPENAI_STOP_REASONS,
    Chunk,
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
from local.bedrock.tagged_reasoning import TaggedReasoning

_IGNORED_PARTS = {"image_url", "input_audio"}


@dataclass(frozen=True, slots=True)
class Request:
    """A request's shape.

    `limits`: the names of the output limit, of which one may be set; `default` applies without one.
    `optional`: other keys. `max_temperature`. `systems`: the roles of a system message.
    """

    limits: tuple[str, ...]
    optional: frozenset[str]
    max_temperature: int
    systems: tuple[str, ...] = ("system",)
    default: int = 4096

    def __call__(self, document: Document, body: str) -> Prompt:
        """Returns the prompt in a parsed request whose text is `body`. Raises ServiceError."""
        check_keys(document, {"messages"}, {*self.limits, *self.optional, "temperature", "top_p"})
        names = [name for name in self.limits if name in document]
        if len(names) > 1:
            raise validation_error(f"{' and '.join(names)} cannot both be set")
        limit = names[0] if names else self.limits[0]
        system, turns = self._messages(expect_type(document["messages"], list, "#/messages"))
        stop = document.get("stop", [])
        return Prompt(
            system=system,
            turns=turns,
            max_tokens=positive_integer(document.get(limit, self.default), f"#/{limit}"),
            stop_sequences=string_list([stop] if isinstance(stop, str) else stop, "#/stop"),
            temperature=optional_number(document, "temperature", self.max_temperature),
            top_p=optional_number(document, "top_p"),
            body=body,
        )

    def _messages(self, messages: list[Any]) -> tuple[str, tuple[Turn, ...]]:
        if not messages:
            raise malformed_request("#/messages: expected minimum item count: 1, found: 0")
        system: list[str] = []
        turns: list[Turn] = []
        for index, message in enumerate(messages):
            path = f"#/messages/{index}"
            check_keys(expect_type(message, dict, path), {"role", "content"}, {"name"})
            texts = _texts(message["content"], f"{path}/content")
            match message["role"]:
                case role if role in self.systems:
                    if turns:
                        raise validation_error(
                            "System messages must come before all other messages"
                        )
                    system.extend(texts)
                case "user":
                    turns.append(Turn("user", texts))
                case "assistant":
                    turns.append(Turn("assistant", texts))
                case role:
                    raise malformed_request(f"{path}/role: {role} is not a valid enum value")
        return "\n".join(system), check_alternation(turns)


def _texts(content: Any, path: str) -> tuple[str, ...]:
    """Returns the texts of a message's content: a string, or a list of parts."""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    texts = []
    for index, part in enumerate(expect_type(parts, list, path)):
        kind = expect_type(part, dict, f"{path}/{index}").get("type")
        if kind in _IGNORED_PARTS:
            continue
        if kind != "text":
            raise malformed_request(f"{path}/{index}/type: {kind} is not a valid enum value")
        text: str = expect_type(part.get("text"), str, f"{path}/{index}/text")
        if not text.strip():
            raise malformed_request(f"{path}: text content must be non-empty")
        texts.append(text)
    if not texts:
        raise malformed_request(f"{path}: content must be non-empty")
    return tuple(texts)


_OPENAI = frozenset(
    {
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "model",
        "n",
        "parallel_tool_calls",
        "presence_penalty",
        "reasoning_effort",
        "response_format",
        "seed",
        "stop",
        "stream",
        "stream_options",
        "tool_choice",
        "tools",
        "top_logprobs",
        "user",
    }
)
_MISTRAL = frozenset({"stop", "tool_choice", "tools"})
_JAMBA = frozenset({"frequency_penalty", "model", "n", "presence_penalty", "stop"})
_PALMYRA = frozenset(
    {
        "frequency_penalty",
        "min_tokens",
        "n",
        "presence_penalty",
        "seed",
        "stop",
        "stream",
        "tool_choice",
        "tools",
    }
)
read_openai = Request(
    ("max_completion_tokens", "max_tokens"), _OPENAI, 2, systems=("system", "developer")
)
read_mistral = Request(("max_tokens",), _MISTRAL, 1)
read_jamba = Request(("max_tokens",), _JAMBA, 2)
read_palmyra = Request(("max_tokens",), _PALMYRA, 2, default=16)


# -- answers ---------------------------------------------------------------------------------------

ReasoningForm = Literal["", "each", "tags", "reasoning_content", "reasoning"]


@dataclass(frozen=True, slots=True)
class Style:
    """How a family fills its `choices`.

    `delta` and `stop` are the names of the fields with the text and with the stop reason.
    `reasoning`: omitted (""), in the text between `tags` (`each` part in tags of its own, or all of
    it in one pair of `tags`), or in the field of that name.
    `usage`: with the stop reason, on a chunk of its own after it (without choices), or omitted.
    `closing`: the delta beside the stop reason. `last`: chunks after the end.
    """

    delta: str = "delta"
    stop: str = "finish_reason"
    reasoning: ReasoningForm = ""
    tags: tuple[str, str] = ("", "")
    usage: Literal["", "with", "after"] = "after"
    closing: Document = field(default_factory=dict)
    last: tuple[str, ...] = ()


class ChunkWriter:
    """Writes one object per chunk, the text in its only choice."""

    def __init__(self, style: Style, model_id: str, _prompt: Prompt) -> None:
        self._style = style
        self._model = model_id
        self._tagged = TaggedReasoning(*style.tags) if style.reasoning == "tags" else None

    def begin(self) -> list[Chunk]:
        """Returns the role, without text."""
        return [self._choice({"role": "assistant", "content": ""})]

    def text(self, text: str) -> list[Chunk]:
        """Returns the text, after the closing tag if reasoning is part of the text."""
        texts = self._tagged.text(text) if self._tagged else [text]
        return [self._choice({"content": each}) for each in texts]

    def reasoning(self, text: str) -> list[Chunk]:
        """Returns the reasoning in the style's form; nothing if it has none."""
        if self._tagged:
            return [self._choice({"content": each}) for each in self._tagged.reasoning(text)]
        if self._style.reasoning == "each":
            return [self._choice({"content": text.join(self._style.tags)})]
        name = self._style.reasoning
        return [self._choice({"content": None, name: text})] if name else []

    def unknown(self) -> list[Chunk]:
        """Returns an object without choices, and a choice with an unknown field."""
        return [self._object([]), self._choice({"something_new": "not for you"})]

    def end(self, end: End, metrics: Mapping[str, int]) -> list[Chunk]:
        """Returns the stop reason and the usage."""
        usage = {
            "prompt_tokens": end.input_tokens,
            "completion_tokens": end.output_tokens,
            "total_tokens": end.input_tokens + end.output_tokens,
        }
        stop = OPENAI_STOP_REASONS.get(end.stop_reason, end.stop_reason)
        chunks = [self._choice(self._style.closing, stop)]
        if self._style.usage == "after":
            chunks.append(self._object([]))
        if self._style.usage:
            chunks[-1]["usage"] = usage
        chunks[-1][METRICS] = dict(metrics)
        return [*chunks, *self._style.last]

    def _choice(self, delta: Document, stop: str | None = None) -> Document:
        return self._object([{"index": 0, self._style.delta: delta, self._style.stop: stop}])

    def _object(self, choices: list[Document]) -> Document:
        return {
            "id": "chatcmpl-local",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": self._model,
            "choices": choices,
        }


# The form of each provider's models. Documented for gpt-oss only.
_REASONING_TAGS = ("<reasoning>", "</reasoning>")
_THINK_TAGS = ("<think>\n", "\n</think>\n\n")
_OPENAI_STYLES = {
    "openai.": Style(reasoning="each", tags=_REASONING_TAGS, usage="with"),
    "zai.": Style(reasoning="tags", tags=_REASONING_TAGS),
    "qwen.": Style(reasoning="tags", tags=_THINK_TAGS),
    "minimax.": Style(reasoning="tags", tags=_THINK_TAGS, usage=""),
    "nvidia.": Style(reasoning="reasoning"),
}
_OPENAI_STYLE = Style(reasoning="reasoning_content")


def write_openai(model_id: str, prompt: Prompt) -> ChunkWriter:
    """Returns a writer of OpenAI's shape, with reasoning in the form of the model's provider."""
    styles = (style for prefix, style in _OPENAI_STYLES.items() if model_id.startswith(prefix))
    return ChunkWriter(next(styles, _OPENAI_STYLE), model_id, prompt)


# The user guide documents `message` for Large 2407; Mistral's own API, which newer models follow,
# has OpenAI's names. Which of the two newer models use on Bedrock is unconfirmed.
_MISTRAL_MESSAGE_IDS = ("mistral.mistral-large-24", "mistral.pixtral")
_MISTRAL_STYLE = Style(
    "message", "stop_reason", usage="with", closing={"role": "assistant", "content": ""}
)


def write_mistral(model_id: str, prompt: Prompt) -> ChunkWriter:
    """Returns a writer of Mistral's documented shape, or of OpenAI's for the newer models."""
    documented = model_id.startswith(_MISTRAL_MESSAGE_IDS)
    return ChunkWriter(_MISTRAL_STYLE if documented else _OPENAI_STYLE, model_id, prompt)


_Writer = Callable[[str, Prompt], ChunkWriter]
write_jamba: _Writer = partial(ChunkWriter, Style(usage="with", closing={"content": None}))
write_palmyra: _Writer = partial(
    ChunkWriter, Style(usage="", closing={"content": ""}, last=("[DONE]",))
)

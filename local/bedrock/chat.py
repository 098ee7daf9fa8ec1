"""Families that take a list of `messages` and answer in `choices`: OpenAI's shape and its cousins.

OpenAI's own (gpt-oss, Qwen3, DeepSeek V3, Kimi, GLM, MiniMax, Gemma, Nemotron), Mistral's chat
models, Jamba, Writer Palmyra.

Rules: pure; what the service refuses is refused. What differs from one to the next is a field of
`Request` or of `Style`; nothing asks which family it is.

Sources: Bedrock user guide, "OpenAI models", "Mistral AI chat completion", "AI21 Labs Jamba
models", "Writer AI Palmyra models", "DeepSeek models"; OpenAI's API reference, "Chat Completions".
gpt-oss on Bedrock puts each piece of its thoughts into `<reasoning>` tags of its own (Cherry
Studio's issue 10225). How the newer models tell theirs is documented for none of them, so each of
the forms in use is spoken by one.

Does not know: tools, images, several answers to one question (let through and never used).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from local.bedrock.native import (
    METRICS,
    Chunk,
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
from local.bedrock.thoughts import Tagged

_SILENT_PARTS = {"image_url", "input_audio"}


@dataclass(frozen=True, slots=True)
class Request:
    """A request's shape: the names of the limit (one may be given), other keys, the hottest."""

    limits: tuple[str, ...]
    optional: frozenset[str]
    hottest: int
    systems: tuple[str, ...] = ("system",)
    default: int = 4096

    def __call__(self, document: Document, body: str) -> Prompt:
        """The prompt in a parsed request whose text is `body`. Raises Failure."""
        keys(document, {"messages"}, {*self.limits, *self.optional, "temperature", "top_p"})
        given = [name for name in self.limits if name in document]
        if len(given) > 1:
            raise refuse(f"{' and '.join(given)} cannot both be set")
        limit = given[0] if given else self.limits[0]
        system, turns = self._messages(typed(document["messages"], list, "#/messages"))
        stop = document.get("stop", [])
        return Prompt(
            system=system,
            turns=turns,
            max_tokens=count(document.get(limit, self.default), f"#/{limit}"),
            stop_sequences=strings([stop] if isinstance(stop, str) else stop, "#/stop"),
            temperature=fraction(document, "temperature", self.hottest),
            top_p=fraction(document, "top_p"),
            body=body,
        )

    def _messages(self, messages: list[Any]) -> tuple[str, tuple[Turn, ...]]:
        if not messages:
            raise malformed("#/messages: expected minimum item count: 1, found: 0")
        system: list[str] = []
        turns: list[Turn] = []
        for index, message in enumerate(messages):
            path = f"#/messages/{index}"
            keys(typed(message, dict, path), {"role", "content"}, {"name"})
            texts = _texts(message["content"], f"{path}/content")
            match message["role"]:
                case role if role in self.systems:
                    if turns:
                        raise refuse("System messages must come before all other messages")
                    system.extend(texts)
                case "user":
                    turns.append(Turn("user", texts))
                case "assistant":
                    turns.append(Turn("assistant", texts))
                case role:
                    raise malformed(f"{path}/role: {role} is not a valid enum value")
        return "\n".join(system), alternating(turns)


def _texts(content: Any, path: str) -> tuple[str, ...]:
    """The texts of a message: a string, or a list of parts."""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    texts = []
    for index, part in enumerate(typed(parts, list, path)):
        kind = typed(part, dict, f"{path}/{index}").get("type")
        if kind in _SILENT_PARTS:
            continue
        if kind != "text":
            raise malformed(f"{path}/{index}/type: {kind} is not a valid enum value")
        text: str = typed(part.get("text"), str, f"{path}/{index}/text")
        if not text.strip():
            raise malformed(f"{path}: text content must be non-empty")
        texts.append(text)
    if not texts:
        raise malformed(f"{path}: content must be non-empty")
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

Thoughts = Literal["", "each", "tags", "reasoning_content", "reasoning"]


@dataclass(frozen=True, slots=True)
class Style:
    """How a family fills its `choices`.

    `holder` and `stop` name the members with the words and with the stop reason. `thoughts` says
    where reasoning goes: nowhere, into the words between `tags` (each piece of it by itself, or all
    at once), or to a member of its own.
    `usage`: with the stop reason, on a chunk of its own after it (without choices), or nowhere.
    `last` is what is sent after the end.
    """

    holder: str = "delta"
    stop: str = "finish_reason"
    thoughts: Thoughts = ""
    tags: tuple[str, str] = ("", "")
    usage: Literal["", "with", "after"] = "after"
    closing: Document = field(default_factory=dict)
    last: tuple[str, ...] = ()


_STOPS = {
    "end": "stop",
    "length": "length",
    "stop_sequence": "stop",
    "filtered": "content_filter",
}


class Speech:
    """One object a chunk, the words in its only choice."""

    def __init__(self, style: Style, model_id: str, prompt: Prompt) -> None:
        del prompt
        self._style = style
        self._model = model_id
        self._tagged = Tagged(*style.tags) if style.thoughts == "tags" else None

    def begin(self) -> list[Chunk]:
        """The role, without words."""
        return [self._choice({"role": "assistant", "content": ""})]

    def text(self, text: str) -> list[Chunk]:
        """The words, after the end of the thoughts if they stand in the same text."""
        texts = self._tagged.text(text) if self._tagged else [text]
        return [self._choice({"content": each}) for each in texts]

    def reasoning(self, text: str) -> list[Chunk]:
        """Thoughts, where the family has a place for them."""
        if self._tagged:
            return [self._choice({"content": each}) for each in self._tagged.reasoning(text)]
        if self._style.thoughts == "each":
            return [self._choice({"content": text.join(self._style.tags)})]
        name = self._style.thoughts
        return [self._choice({"content": None, name: text})] if name else []

    def unknown(self) -> list[Chunk]:
        """No choices, and a choice with a member that is new."""
        return [self._object([]), self._choice({"something_new": "not for you"})]

    def end(self, end: End, metrics: Mapping[str, int]) -> list[Chunk]:
        """The stop reason and the usage."""
        usage = {
            "prompt_tokens": end.input_tokens,
            "completion_tokens": end.output_tokens,
            "total_tokens": end.input_tokens + end.output_tokens,
        }
        stop = _STOPS.get(end.stop_reason, end.stop_reason)
        chunks = [self._choice(self._style.closing, stop)]
        if self._style.usage == "after":
            chunks.append(self._object([]))
        if self._style.usage:
            chunks[-1]["usage"] = usage
        chunks[-1][METRICS] = dict(metrics)
        return [*chunks, *self._style.last]

    def _choice(self, words: Document, stop: str | None = None) -> Document:
        return self._object([{"index": 0, self._style.holder: words, self._style.stop: stop}])

    def _object(self, choices: list[Document]) -> Document:
        return {
            "id": "chatcmpl-local",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": self._model,
            "choices": choices,
        }


# Which of the forms that exist a provider's models speak. Public for gpt-oss alone.
_REASONING_TAGS = ("<reasoning>", "</reasoning>")
_THINK_TAGS = ("<think>\n", "\n</think>\n\n")
_OPENAI_STYLES = {
    "openai.": Style(thoughts="each", tags=_REASONING_TAGS, usage="with"),
    "zai.": Style(thoughts="tags", tags=_REASONING_TAGS),
    "qwen.": Style(thoughts="tags", tags=_THINK_TAGS),
    "minimax.": Style(thoughts="tags", tags=_THINK_TAGS, usage=""),
    "nvidia.": Style(thoughts="reasoning"),
}
_OPENAI_STYLE = Style(thoughts="reasoning_content")


def speak_openai(model_id: str, prompt: Prompt) -> Speech:
    """An answer in OpenAI's shape, with thoughts told the way of the model's provider."""
    styles = (style for prefix, style in _OPENAI_STYLES.items() if model_id.startswith(prefix))
    return Speech(next(styles, _OPENAI_STYLE), model_id, prompt)


_Speak = Callable[[str, Prompt], Speech]
speak_mistral: _Speak = partial(
    Speech,
    Style("message", "stop_reason", usage="with", closing={"role": "assistant", "content": ""}),
)
speak_jamba: _Speak = partial(Speech, Style(usage="with", closing={"content": None}))
speak_palmyra: _Speak = partial(Speech, Style(usage="", closing={"content": ""}, last=("[DONE]",)))

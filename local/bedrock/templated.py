"""Families that take one templated `prompt`: Llama 2, 3 and 4, Mistral's text models, DeepSeek R1.

Rules: no I/O; a request that the service refuses is refused. `templates.py` reads the prompt.

Sources: Bedrock user guide, "Meta Llama models", "Mistral AI text completion", "DeepSeek models".

Does not know: images (accepted and ignored), the largest `max_tokens` beyond the table below.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from local.bedrock import templates
from local.bedrock.native import (
    METRICS,
    OPENAI_STOP_REASONS,
    Document,
    check_keys,
    expect_type,
    malformed_request,
    optional_number,
    positive_integer,
    string_list,
)
from local.bedrock.pieces import End, Prompt
from local.bedrock.tagged_reasoning import TaggedReasoning
from local.bedrock.templates import Conversation


@dataclass(frozen=True, slots=True)
class Request:
    """A request's shape: template, keys, and the output limit's name, default and maximum."""

    template: Callable[[str], Conversation]
    optional: frozenset[str]
    limit: str
    default: int
    maximum: int

    def __call__(self, document: Document, body: str) -> Prompt:
        """Returns the prompt in a parsed request whose text is `body`. Raises ServiceError."""
        check_keys(document, {"prompt"}, {*self.optional, self.limit, "temperature", "top_p"})
        max_tokens = positive_integer(document.get(self.limit, self.default), f"#/{self.limit}")
        if max_tokens > self.maximum:
            raise malformed_request(
                f"#/{self.limit}: {max_tokens} is not less or equal to {self.maximum}"
            )
        conversation = self.template(expect_type(document["prompt"], str, "#/prompt"))
        return Prompt(
            system=conversation.system,
            turns=conversation.turns,
            max_tokens=max_tokens,
            stop_sequences=string_list(document.get("stop", []), "#/stop"),
            temperature=optional_number(document, "temperature"),
            top_p=optional_number(document, "top_p"),
            prefill=conversation.prefill,
            body=body,
        )


# Llama has no stop sequences. Its maximum is from the service's error `#/max_gen_len: 8192 is not
# less or equal to 2048`, which clients report for Llama 3.1 and earlier; Llama 4: the model cards.
_LLAMA = frozenset({"images"})
_MISTRAL = frozenset({"stop", "top_k"})
read_llama2 = Request(templates.LLAMA2, _LLAMA, "max_gen_len", 512, 2048)
read_llama3 = Request(templates.LLAMA3, _LLAMA, "max_gen_len", 512, 2048)
read_llama4 = Request(templates.LLAMA4, _LLAMA, "max_gen_len", 512, 8192)
read_mistral = Request(templates.MISTRAL, _MISTRAL, "max_tokens", 512, 8192)
read_deepseek = Request(templates.deepseek, frozenset({"stop"}), "max_tokens", 4096, 32_768)


class LlamaWriter:
    """Writes one object per chunk, with token counts beside the text. There is no reasoning."""

    def __init__(self, _model_id: str, prompt: Prompt) -> None:
        self._prompt_tokens: int | None = prompt.estimated_tokens
        self._tokens = 0

    def begin(self) -> list[Document]:
        """Returns nothing."""
        return []

    def text(self, text: str) -> list[Document]:
        """Returns a generation; the first chunk has the prompt's token count."""
        self._tokens += 1
        return [self._chunk(text, self._tokens)]

    def reasoning(self, _text: str) -> list[Document]:
        """Returns nothing."""
        return []

    def unknown(self) -> list[Document]:
        """Returns an object without a generation."""
        return [{"somethingNew": {"text": "not for you"}}]

    def end(self, end: End, metrics: Mapping[str, int]) -> list[Document]:
        """Returns an empty generation with the stop reason."""
        stop = OPENAI_STOP_REASONS.get(end.stop_reason, end.stop_reason)
        return [self._chunk("", end.output_tokens, stop) | {METRICS: dict(metrics)}]

    def _chunk(self, text: str, tokens: int, stop: str | None = None) -> Document:
        prompt_tokens, self._prompt_tokens = self._prompt_tokens, None
        return {
            "generation": text,
            "prompt_token_count": prompt_tokens,
            "generation_token_count": tokens,
            "stop_reason": stop,
        }


class _ListWriter:
    """Writes a list of one text per chunk, with its stop reason."""

    def __init__(self, field: str, tagged: TaggedReasoning | None) -> None:
        self._field = field
        self._tagged = tagged

    def begin(self) -> list[Document]:
        """Returns nothing."""
        return []

    def text(self, text: str) -> list[Document]:
        """Returns the text, after the closing tag if there was reasoning."""
        texts = self._tagged.text(text) if self._tagged else [text]
        return [self._chunk(each) for each in texts]

    def reasoning(self, text: str) -> list[Document]:
        """Returns the reasoning as text after its opening tag; nothing without tags."""
        texts = self._tagged.reasoning(text) if self._tagged else []
        return [self._chunk(each) for each in texts]

    def unknown(self) -> list[Document]:
        """Returns an object without the list, and one whose list is empty."""
        return [{"somethingNew": {"text": "not for you"}}, {self._field: []}]

    def end(self, end: End, metrics: Mapping[str, int]) -> list[Document]:
        """Returns an empty text with the stop reason."""
        stop = OPENAI_STOP_REASONS.get(end.stop_reason, end.stop_reason)
        return [self._chunk("", stop) | {METRICS: dict(metrics)}]

    def _chunk(self, text: str, stop: str | None = None) -> Document:
        return {self._field: [{"text": text, "stop_reason": stop}]}


class MistralWriter(_ListWriter):
    """Writes `outputs`. There is no reasoning."""

    def __init__(self, _model_id: str, _prompt: Prompt) -> None:
        super().__init__("outputs", None)


class DeepSeekWriter(_ListWriter):
    """Writes `choices`. The text starts with reasoning, whose opening tag may be in the prompt."""

    def __init__(self, _model_id: str, prompt: Prompt) -> None:
        opened = prompt.prefill.rstrip().endswith("<think>")
        tagged = TaggedReasoning("<think>\n", "\n</think>\n\n", starts_in_reasoning=opened)
        super().__init__("choices", tagged)

"""Families that take one templated `prompt`: Llama 2, 3 and 4, Mistral's text models, DeepSeek R1.

Rules: pure; what the service refuses is refused. The prompt is read by `local/bedrock/templates.py`.

Sources: Bedrock user guide, "Meta Llama models", "Mistral AI text completion", "DeepSeek models".

Does not know: images (let through; they say nothing), the largest `max_tokens` beyond what is in
the table below.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from local.bedrock import templates
from local.bedrock.native import METRICS, Document, count, fraction, keys, malformed, strings, typed
from local.bedrock.pieces import End, Prompt
from local.bedrock.templates import Conversation
from local.bedrock.thoughts import Tagged


@dataclass(frozen=True, slots=True)
class Request:
    """A request's shape: its template, its keys, the limit's name, its default and its most."""

    template: Callable[[str], Conversation]
    optional: frozenset[str]
    limit: str
    default: int
    most: int

    def __call__(self, document: Document, body: str) -> Prompt:
        """The prompt in a parsed request whose text is `body`. Raises Failure."""
        keys(document, {"prompt"}, {*self.optional, self.limit, "temperature", "top_p"})
        max_tokens = count(document.get(self.limit, self.default), f"#/{self.limit}")
        if max_tokens > self.most:
            raise malformed(f"#/{self.limit}: {max_tokens} is not less or equal to {self.most}")
        said = self.template(typed(document["prompt"], str, "#/prompt"))
        return Prompt(
            system=said.system,
            turns=said.turns,
            max_tokens=max_tokens,
            stop_sequences=strings(document.get("stop", []), "#/stop"),
            temperature=fraction(document, "temperature"),
            top_p=fraction(document, "top_p"),
            opening=said.opening,
            body=body,
        )


# Llama has no stop sequences. Its most: the service's own refusal, `#/max_gen_len: 8192 is not less
# or equal to 2048`, which clients report for Llama 3.1 and before; model cards, for Llama 4.
_LLAMA = frozenset({"images"})
_MISTRAL = frozenset({"stop", "top_k"})
read_llama2 = Request(templates.LLAMA2, _LLAMA, "max_gen_len", 512, 2048)
read_llama3 = Request(templates.LLAMA3, _LLAMA, "max_gen_len", 512, 2048)
read_llama4 = Request(templates.LLAMA4, _LLAMA, "max_gen_len", 512, 8192)
read_mistral = Request(templates.MISTRAL, _MISTRAL, "max_tokens", 512, 8192)
read_deepseek = Request(templates.deepseek, frozenset({"stop"}), "max_tokens", 4096, 32_768)


class LlamaSpeech:
    """One object a chunk, its counts beside the words. Llama does not think aloud."""

    def __init__(self, model_id: str, prompt: Prompt) -> None:
        del model_id
        self._prompt_tokens: int | None = prompt.estimated_tokens
        self._said = 0

    def begin(self) -> list[Document]:
        """Nothing."""
        return []

    def text(self, text: str) -> list[Document]:
        """A generation; the prompt's tokens are told with the first."""
        self._said += 1
        return [self._chunk(text, self._said)]

    def reasoning(self, text: str) -> list[Document]:
        """Nothing."""
        del text
        return []

    def unknown(self) -> list[Document]:
        """An object without a generation."""
        return [{"somethingNew": {"text": "not for you"}}]

    def end(self, end: End, metrics: Mapping[str, int]) -> list[Document]:
        """An empty generation with the stop reason."""
        stop = _STOPS.get(end.stop_reason, end.stop_reason)
        return [self._chunk("", end.output_tokens, stop) | {METRICS: dict(metrics)}]

    def _chunk(self, text: str, said: int, stop: str | None = None) -> Document:
        prompt_tokens, self._prompt_tokens = self._prompt_tokens, None
        return {
            "generation": text,
            "prompt_token_count": prompt_tokens,
            "generation_token_count": said,
            "stop_reason": stop,
        }


_STOPS = {
    "end": "stop",
    "length": "length",
    "stop_sequence": "stop",
    "filtered": "content_filter",
}


class _ListSpeech:
    """A list of one text a chunk, with its stop reason beside it."""

    def __init__(self, member: str, tagged: Tagged | None) -> None:
        self._member = member
        self._tagged = tagged

    def begin(self) -> list[Document]:
        """Nothing."""
        return []

    def text(self, text: str) -> list[Document]:
        """The words, after the end of the thoughts if there were any."""
        texts = self._tagged.text(text) if self._tagged else [text]
        return [self._chunk(each) for each in texts]

    def reasoning(self, text: str) -> list[Document]:
        """Thoughts in the text, behind the tag that opens them; nothing if there is no tag."""
        texts = self._tagged.reasoning(text) if self._tagged else []
        return [self._chunk(each) for each in texts]

    def unknown(self) -> list[Document]:
        """An object without the list, and one whose list is empty."""
        return [{"somethingNew": {"text": "not for you"}}, {self._member: []}]

    def end(self, end: End, metrics: Mapping[str, int]) -> list[Document]:
        """An empty text with the stop reason."""
        stop = _STOPS.get(end.stop_reason, end.stop_reason)
        return [self._chunk("", stop) | {METRICS: dict(metrics)}]

    def _chunk(self, text: str, stop: str | None = None) -> Document:
        return {self._member: [{"text": text, "stop_reason": stop}]}


class MistralSpeech(_ListSpeech):
    """`outputs`. These models do not think aloud."""

    def __init__(self, model_id: str, prompt: Prompt) -> None:
        del model_id, prompt
        super().__init__("outputs", None)


class DeepSeekSpeech(_ListSpeech):
    """`choices`. Thoughts come first in the text; the prompt may have opened them already."""

    def __init__(self, model_id: str, prompt: Prompt) -> None:
        del model_id
        begun = prompt.opening.rstrip().endswith("<think>")
        super().__init__("choices", Tagged("<think>\n", "\n</think>\n\n", begun=begun))

"""The native shape of Amazon Titan Text, read strictly and spoken in its chunks.

Rules: pure; what the service refuses is refused. The text is a transcript, as the Bedrock user
guide asks for: lines that begin with `User:` and `Bot:`, the last of them an empty `Bot:`; what
stands before the first is the system prompt.

Source: Bedrock user guide, "Amazon Titan Text models". That stop sequences are bars or `User:` is
from the service's own refusals (boto3's issue 3993).

Does not know: the largest `maxTokenCount` of a model.
"""

import re
from collections.abc import Mapping

from local.bedrock.native import (
    METRICS,
    Document,
    alternating,
    count,
    fraction,
    keys,
    malformed,
    strings,
    typed,
)
from local.bedrock.pieces import End, Prompt, Turn

_CONFIG = "textGenerationConfig"
_SETTINGS = {"maxTokenCount", "stopSequences", "temperature", "topP"}
_MAX_TOKENS = 512  # the user guide's default
_SPEAKER = re.compile(r"^(User|Bot):[ \t]*", re.MULTILINE)
_STOP_SEQUENCE = re.compile(r"\|+|User:")


def read(document: Document, body: str) -> Prompt:
    """The prompt in a parsed request whose text is `body`. Raises Failure."""
    keys(document, {"inputText"}, {_CONFIG})
    config: Document = typed(document.get(_CONFIG, {}), dict, f"#/{_CONFIG}")
    keys(config, set(), _SETTINGS)
    system, turns = _transcript(typed(document["inputText"], str, "#/inputText"))
    stops = strings(config.get("stopSequences", []), f"#/{_CONFIG}/stopSequences")
    for index, stop in enumerate(stops):
        if not _STOP_SEQUENCE.fullmatch(stop):
            raise malformed(
                f"#/{_CONFIG}/stopSequences/{index}: string [{stop}] does not match pattern "
                r"^(\|+|User:)$"
            )
    return Prompt(
        system=system,
        turns=turns,
        max_tokens=count(config.get("maxTokenCount", _MAX_TOKENS), f"#/{_CONFIG}/maxTokenCount"),
        stop_sequences=stops,
        temperature=fraction(config, "temperature"),
        top_p=fraction(config, "topP"),
        body=body,
    )


def _transcript(text: str) -> tuple[str, tuple[Turn, ...]]:
    """The system prompt and the turns."""
    if not text:
        raise malformed("#/inputText: expected minLength: 1, actual: 0")
    before, *rest = _SPEAKER.split(text)
    said = list(zip(rest[::2], rest[1::2], strict=True))
    if not said or said[-1][0] != "Bot" or said[-1][1].strip():
        raise malformed("#/inputText: the transcript does not end where the Bot begins")
    turns = [
        Turn("user" if speaker == "User" else "assistant", (words.rstrip("\n"),))
        for speaker, words in said[:-1]
    ]
    return before.strip(), alternating(turns)


_STOPS = {
    "end": "FINISH",
    "length": "LENGTH",
    "stop_sequence": "STOP_CRITERIA_MET",
    "filtered": "CONTENT_FILTERED",
}


class Speech:
    """Words, and on the last chunk the reason and the count of them. Titan does not think aloud."""

    def __init__(self, model_id: str, prompt: Prompt) -> None:
        del model_id
        self._input_tokens: int | None = prompt.estimated_tokens

    def begin(self) -> list[Document]:
        """Nothing."""
        return []

    def text(self, text: str) -> list[Document]:
        """The words; the prompt's tokens are told with the first."""
        return [self._chunk(text)]

    def reasoning(self, text: str) -> list[Document]:
        """Nothing."""
        del text
        return []

    def unknown(self) -> list[Document]:
        """An object without words."""
        return [{"somethingNew": {"text": "not for you"}}]

    def end(self, end: End, metrics: Mapping[str, int]) -> list[Document]:
        """The reason."""
        reason = _STOPS.get(end.stop_reason, end.stop_reason)
        return [self._chunk("", reason, end.output_tokens) | {METRICS: dict(metrics)}]

    def _chunk(self, text: str, reason: str | None = None, said: int | None = None) -> Document:
        input_tokens, self._input_tokens = self._input_tokens, None
        return {
            "outputText": text,
            "index": 0,
            "totalOutputTextTokenCount": said,
            "completionReason": reason,
            "inputTextTokenCount": input_tokens,
        }

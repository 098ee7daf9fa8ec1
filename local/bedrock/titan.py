"""The native shape of Amazon Titan Text, read strictly, and its chunks.

Rules: no I/O; a request that the service refuses is refused. The text is a transcript, as the
Bedrock user guide describes it: lines that begin with `User:` and `Bot:`, the last an empty `Bot:`.
Text before the first is the system prompt.

Source: Bedrock user guide, "Amazon Titan Text models". That stop sequences are bars or `User:` is
from the service's own error message (boto3's issue 3993).

Does not know: the largest `maxTokenCount` of a model.
"""

import re
from collections.abc import Mapping

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
)
from local.bedrock.pieces import End, Prompt, Turn

_CONFIG = "textGenerationConfig"
_SETTINGS = {"maxTokenCount", "stopSequences", "temperature", "topP"}
_MAX_TOKENS = 512  # the user guide's default
_SPEAKER = re.compile(r"^(User|Bot):[ \t]*", re.MULTILINE)
_STOP_SEQUENCE = re.compile(r"\|+|User:")


def read(document: Document, body: str) -> Prompt:
    """Returns the prompt in a parsed request whose text is `body`. Raises ServiceError."""
    check_keys(document, {"inputText"}, {_CONFIG})
    config: Document = expect_type(document.get(_CONFIG, {}), dict, f"#/{_CONFIG}")
    check_keys(config, set(), _SETTINGS)
    system, turns = _transcript(expect_type(document["inputText"], str, "#/inputText"))
    stops = string_list(config.get("stopSequences", []), f"#/{_CONFIG}/stopSequences")
    for index, stop in enumerate(stops):
        if not _STOP_SEQUENCE.fullmatch(stop):
            raise malformed_request(
                f"#/{_CONFIG}/stopSequences/{index}: string [{stop}] does not match pattern "
                r"^(\|+|User:)$"
            )
    return Prompt(
        system=system,
        turns=turns,
        max_tokens=positive_integer(
            config.get("maxTokenCount", _MAX_TOKENS), f"#/{_CONFIG}/maxTokenCount"
        ),
        stop_sequences=stops,
        temperature=optional_number(config, "temperature"),
        top_p=optional_number(config, "topP"),
        body=body,
    )


def _transcript(text: str) -> tuple[str, tuple[Turn, ...]]:
    """Returns the system prompt and the turns."""
    if not text:
        raise malformed_request("#/inputText: expected minLength: 1, actual: 0")
    before, *rest = _SPEAKER.split(text)
    lines = list(zip(rest[::2], rest[1::2], strict=True))
    if not lines or lines[-1][0] != "Bot" or lines[-1][1].strip():
        raise malformed_request("#/inputText: the transcript does not end where the Bot begins")
    turns = [
        Turn("user" if speaker == "User" else "assistant", (text.rstrip("\n"),))
        for speaker, text in lines[:-1]
    ]
    return before.strip(), check_alternation(turns)


_STOP_REASONS = {
    "end": "FINISH",
    "length": "LENGTH",
    "stop_sequence": "STOP_CRITERIA_MET",
    "filtered": "CONTENT_FILTERED",
}


class ChunkWriter:
    """Writes text; on the last chunk the stop reason and the token count. There is no reasoning."""

    def __init__(self, _model_id: str, prompt: Prompt) -> None:
        self._input_tokens: int | None = prompt.estimated_tokens

    def begin(self) -> list[Document]:
        """Returns nothing."""
        return []

    def text(self, text: str) -> list[Document]:
        """Returns the text; the first chunk has the prompt's token count."""
        return [self._chunk(text)]

    def reasoning(self, _text: str) -> list[Document]:
        """Returns nothing."""
        return []

    def unknown(self) -> list[Document]:
        """Returns an object without text."""
        return [{"somethingNew": {"text": "not for you"}}]

    def end(self, end: End, metrics: Mapping[str, int]) -> list[Document]:
        """Returns the stop reason and the token count."""
        reason = _STOP_REASONS.get(end.stop_reason, end.stop_reason)
        return [self._chunk("", reason, end.output_tokens) | {METRICS: dict(metrics)}]

    def _chunk(self, text: str, reason: str | None = None, tokens: int | None = None) -> Document:
        input_tokens, self._input_tokens = self._input_tokens, None
        return {
            "outputText": text,
            "index": 0,
            "totalOutputTextTokenCount": tokens,
            "completionReason": reason,
            "inputTextTokenCount": input_tokens,
        }

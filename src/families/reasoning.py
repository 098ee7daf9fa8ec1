"""Separates the reasoning that some models write into their text from the answer. No I/O.

Rules
- Reasoning is enclosed in tags before the answer, in one block or several: gpt-oss on Bedrock wraps
  each chunk in `<reasoning>` tags of its own. Once the answer has begun, a tag is part of it.
- A tag may be split between chunks. Text is buffered only while it can still become a tag.
- No text is lost: buffered text that turns out not to be a tag is emitted, at the latest by `end`.

Does not know families, or how reasoning is used.
"""

from collections.abc import Iterator

from families.types import ReasoningDelta, TextDelta

Delta = TextDelta | ReasoningDelta


class ReasoningSplitter:
    """Splits the text of one answer. `tags` are names: "think" means `<think>` and `</think>`.

    `starts_in_reasoning`: the prompt already contains the first opening tag, so that the answer's
    text starts with reasoning.
    """

    def __init__(self, tags: tuple[str, ...], *, starts_in_reasoning: bool = False) -> None:
        self._tags = {f"<{tag}>": f"</{tag}>" for tag in tags}
        self._closing_tag = f"</{tags[0]}>" if starts_in_reasoning else ""  # "": outside of tags
        self._buffer = ""  # the possible beginning of a tag, or white space before one
        self._in_answer = False
        self._has_reasoning = starts_in_reasoning
        # Reasoning opened by the prompt and not closed so far: if it never is, it is the answer.
        self._unclosed: list[str] | None = [] if starts_in_reasoning else None

    def split(self, text: str) -> Iterator[Delta]:
        """Returns the deltas that this additional text completes."""
        if self._in_answer:
            yield TextDelta(text)
            return
        self._buffer += text
        while self._buffer and not self._in_answer:
            before = self._buffer
            if self._closing_tag:
                yield from self._split_reasoning()
            else:
                yield from self._split_before_answer()
            if self._buffer == before:
                return  # undecided until more text arrives

    def end(self, *, finished: bool) -> Iterator[Delta]:
        """Returns the buffered text. `finished`: the model ended by itself and was not cut off.

        A finished answer that consists only of unclosed reasoning is also returned as text.
        """
        rest, self._buffer = self._buffer, ""
        if self._closing_tag:
            if rest:
                yield self._reasoning_delta(rest)
            if finished and self._unclosed:
                yield TextDelta("".join(self._unclosed))
                self._unclosed = None
        elif rest and not (self._has_reasoning and rest.isspace()):
            self._in_answer = True
            yield TextDelta(rest)

    def _split_reasoning(self) -> Iterator[Delta]:
        reasoning, closing_tag, rest = self._buffer.partition(self._closing_tag)
        if closing_tag:
            self._closing_tag, self._buffer, self._unclosed = "", rest, None
        else:
            end = len(reasoning) - _partial_tag_length(self._closing_tag, reasoning)
            reasoning, self._buffer = reasoning[:end], reasoning[end:]
        if reasoning:
            yield self._reasoning_delta(reasoning)

    def _split_before_answer(self) -> Iterator[Delta]:
        stripped = self._buffer.lstrip()
        for opening_tag, closing_tag in self._tags.items():
            if stripped.startswith(opening_tag):
                self._closing_tag, self._has_reasoning = closing_tag, True
                self._buffer = stripped.removeprefix(opening_tag)
                return
            if opening_tag.startswith(stripped):  # also true of an empty string
                return
        self._in_answer = True
        # Blank lines between reasoning and answer belong to neither.
        answer, self._buffer = (stripped if self._has_reasoning else self._buffer), ""
        yield TextDelta(answer)

    def _reasoning_delta(self, text: str) -> ReasoningDelta:
        if self._unclosed is not None:
            self._unclosed.append(text)
        return ReasoningDelta(text)


def _partial_tag_length(tag: str, text: str) -> int:
    """Returns how many characters at the end of `text` may be the beginning of `tag`."""
    at = text.rfind("<")  # a tag has one, at its beginning
    return len(text) - at if at >= 0 and tag.startswith(text[at:]) else 0

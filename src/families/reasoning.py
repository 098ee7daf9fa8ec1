"""Parting the reasoning that some models write into their text from the answer after it. Pure.

Rules
- Reasoning stands in tags before the answer's first word, once or many times over: gpt-oss on
  Bedrock wraps each chunk's worth in `<reasoning>` tags of its own. A tag later on is the answer's.
- A tag may be cut anywhere between two chunks: text is held back while it can still be a tag, and
  never for longer.
- No word is lost: what turned out to be no tag is given out, at the latest at the end.

Does not know families, or what becomes of reasoning.
"""

from collections.abc import Iterator

from families.types import ReasoningDelta, TextDelta

Delta = TextDelta | ReasoningDelta


class ReasoningSplitter:
    """One answer's text, parted. `tags` are names: "think" stands for `<think>` and `</think>`.

    `begun`: the prompt has opened the first of them already, so that the text begins inside.
    """

    def __init__(self, tags: tuple[str, ...], *, begun: bool = False) -> None:
        self._tags = {f"<{tag}>": f"</{tag}>" for tag in tags}
        self._closing = f"</{tags[0]}>" if begun else ""
        self._held = ""  # may be the beginning of a tag, or white space before one
        self._answering = False
        self._reasoned = begun
        # Where a model was made to begin with reasoning and never ends it: this is its answer.
        self._unclosed: list[str] | None = [] if begun else None

    def split(self, text: str) -> Iterator[Delta]:
        """What is known of this much more text."""
        if self._answering:
            yield TextDelta(text)
            return
        self._held += text
        while self._held and not self._answering:
            before = self._held
            if self._closing:
                yield from self._inside()
            else:
                yield from self._before_the_answer()
            if self._held == before:
                return  # only more text can tell

    def end(self, *, whole: bool) -> Iterator[Delta]:
        """What was held back. `whole`: the model came to its own end, it was not stopped."""
        held, self._held = self._held, ""
        if self._closing:
            if held:
                yield self._reasoning(held)
            if whole and self._unclosed:
                yield TextDelta("".join(self._unclosed))
                self._unclosed = None
        elif held and not (self._reasoned and held.isspace()):
            self._answering = True
            yield TextDelta(held)

    def _inside(self) -> Iterator[Delta]:
        thought, closed, rest = self._held.partition(self._closing)
        if closed:
            self._closing, self._held, self._unclosed = "", rest, None
        else:
            kept = _beginning_of(self._closing, thought)
            self._held = thought[len(thought) - kept :]
            thought = thought[: len(thought) - kept]
        if thought:
            yield self._reasoning(thought)

    def _before_the_answer(self) -> Iterator[Delta]:
        words = self._held.lstrip()
        for opening, closing in self._tags.items():
            if words.startswith(opening):
                self._closing, self._reasoned = closing, True
                self._held = words.removeprefix(opening)
                return
            if opening.startswith(words):  # no words at all are the beginning of any tag
                return
        self._answering = True
        # The blank lines between reasoning and answer belong to neither.
        answer, self._held = (words if self._reasoned else self._held), ""
        yield TextDelta(answer)

    def _reasoning(self, thought: str) -> ReasoningDelta:
        if self._unclosed is not None:
            self._unclosed.append(thought)
        return ReasoningDelta(thought)


def _beginning_of(tag: str, text: str) -> int:
    """How many characters at the end of `text` can be the beginning of `tag`."""
    at = text.rfind("<")  # a tag has one, at its beginning
    return len(text) - at if at >= 0 and tag.startswith(text[at:]) else 0

"""Reasoning inside the answer's text, enclosed in tags: `<reasoning>` or `<think>`.

Rules: chunk boundaries fall in the middle of the tags, and text follows a tag in the same chunk,
because no model documents otherwise.

Does not know families.
"""


class TaggedReasoning:
    """Writes the text of one answer. `starts_in_reasoning`: the prompt has the opening tag."""

    def __init__(self, opening: str, closing: str, *, starts_in_reasoning: bool = False) -> None:
        self._opening, self._closing = opening, closing
        self._in_reasoning = starts_in_reasoning

    def reasoning(self, text: str) -> list[str]:
        """Returns the next part of the reasoning, as one text per chunk."""
        if self._in_reasoning:
            return [text]
        self._in_reasoning = True
        return _cut(self._opening, text)

    def text(self, text: str) -> list[str]:
        """Returns the next part of the answer, as one text per chunk."""
        if not self._in_reasoning:
            return [text]
        self._in_reasoning = False
        return _cut(self._closing, text)


def _cut(tag: str, text: str) -> list[str]:
    """Returns the tag, cut after its `<` and in its middle, with the text after its last part."""
    start = tag.index("<") + 1
    middle = start + (len(tag) - start) // 2
    return [tag[:start], tag[start:middle], tag[middle:] + text]

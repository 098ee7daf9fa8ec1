"""Reasoning inside the answer's own text, told apart by tags: `<reasoning>` or `<think>`.

Rules: chunks cut the tags where it is most awkward, and words follow a tag in the same chunk: no
model promises to do otherwise.

Does not know: any family.
"""


class Tagged:
    """The text of one answer. `begun`: the caller has written the opening tag into the prompt."""

    def __init__(self, opening: str, closing: str, *, begun: bool = False) -> None:
        self._opening, self._closing = opening, closing
        self._thinking = begun

    def reasoning(self, text: str) -> list[str]:
        """The next thoughts, as texts for a chunk each."""
        if self._thinking:
            return [text]
        self._thinking = True
        return _cut(self._opening, text)

    def text(self, text: str) -> list[str]:
        """The next words, as texts for a chunk each."""
        if not self._thinking:
            return [text]
        self._thinking = False
        return _cut(self._closing, text)


def _cut(tag: str, text: str) -> list[str]:
    """The tag after its `<` and in its middle; then the text, on the heels of its end."""
    start = tag.index("<") + 1
    middle = start + (len(tag) - start) // 2
    return [tag[:start], tag[start:middle], tag[middle:] + text]

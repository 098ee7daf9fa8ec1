"""Reasoning in the text of the answer: where the tags are, and where they are cut."""

from local.bedrock.thoughts import Tagged


def test_thoughts_are_tagged_and_words_are_not() -> None:
    """Put together again, the text has one opening, the thoughts, one closing and the words."""
    tagged = Tagged("<think>\n", "\n</think>\n\n")
    texts = [
        *tagged.reasoning("hm "),
        *tagged.reasoning("so "),
        *tagged.text("well "),
        *tagged.text("yes"),
    ]

    assert "<think>\nhm so \n</think>\n\nwell yes" == "".join(texts)
    assert not any("<think>" in text or "</think>" in text for text in texts)  # each is cut
    assert texts[-2].endswith(">\n\nwell ")  # and words follow on its heels


def test_without_thoughts_there_is_no_tag() -> None:
    """An answer is all words."""
    assert ["well"] == Tagged("<reasoning>", "</reasoning>").text("well")


def test_thoughts_that_were_begun_are_only_closed() -> None:
    """The opening tag is in the prompt then, and not in the answer."""
    tagged = Tagged("<think>\n", "\n</think>\n\n", begun=True)

    assert ["hm"] == tagged.reasoning("hm")
    assert "\n</think>\n\nwell" == "".join(tagged.text("well"))

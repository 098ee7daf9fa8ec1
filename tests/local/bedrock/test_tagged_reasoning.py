"""Reasoning in the text of the answer: the position of the tags, and where they are cut."""

from local.bedrock.tagged_reasoning import TaggedReasoning


def test_reasoning_is_enclosed_in_tags_and_text_follows() -> None:
    """Joined, the chunks are an opening tag, the reasoning, a closing tag and the answer."""
    tagged = TaggedReasoning("<think>\n", "\n</think>\n\n")
    texts = [
        *tagged.reasoning("hm "),
        *tagged.reasoning("so "),
        *tagged.text("well "),
        *tagged.text("yes"),
    ]

    assert "<think>\nhm so \n</think>\n\nwell yes" == "".join(texts)
    assert not any("<think>" in text or "</think>" in text for text in texts)  # each is cut
    assert texts[-2].endswith(">\n\nwell ")  # text follows in the same chunk


def test_without_reasoning_there_is_no_tag() -> None:
    """The text is the answer alone."""
    assert ["well"] == TaggedReasoning("<reasoning>", "</reasoning>").text("well")


def test_reasoning_opened_by_the_prompt_is_only_closed() -> None:
    """The opening tag is in the prompt and not in the answer."""
    tagged = TaggedReasoning("<think>\n", "\n</think>\n\n", starts_in_reasoning=True)

    assert ["hm"] == tagged.reasoning("hm")
    assert "\n</think>\n\nwell" == "".join(tagged.text("well"))

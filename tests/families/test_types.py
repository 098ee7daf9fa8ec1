from hypothesis import given
from hypothesis import strategies as st

from families.types import Message, Usage, alternating


def test_later_counts_replace_earlier_ones() -> None:
    """A count that is not reported again is kept."""
    early = Usage(input_tokens=12, output_tokens=1, cache_read_tokens=7)

    assert Usage(input_tokens=12, output_tokens=4, cache_read_tokens=7) == early.updated(
        Usage(output_tokens=4)
    )


def test_prompt_tokens_include_cached_ones() -> None:
    """Without a count of input tokens they are unknown."""
    usage = Usage(input_tokens=5, cache_read_tokens=100, cache_write_tokens=20)

    assert 125 == usage.prompt_tokens
    assert Usage(output_tokens=1).prompt_tokens is None


def test_an_alternating_conversation_is_unchanged() -> None:
    """White space included."""
    messages = (Message("user", " a\n"), Message("assistant", "b"), Message("user", "c"))

    assert messages == alternating(messages)


def test_messages_out_of_order_are_dropped_or_joined() -> None:
    """Empty answers are dropped, messages of one role are joined, the user is first and last."""
    messages = (
        Message("assistant", "hi"),
        Message("user", "a"),
        Message("assistant", " \n"),
        Message("user", "b"),
        Message("assistant", "c"),
        Message("assistant", "d"),
        Message("user", "e"),
        Message("assistant", "f"),
    )

    assert (
        Message("user", "a\n\nb"),
        Message("assistant", "c\n\nd"),
        Message("user", "e"),
    ) == alternating(messages)


@given(st.lists(st.builds(Message, st.sampled_from(["user", "assistant"]), st.text(max_size=3))))
def test_any_conversation_is_made_to_alternate(messages: list[Message]) -> None:
    """No message is blank, and every second one is the user's, the first and last included."""
    turns = alternating(messages)

    assert all(turn.text.strip() for turn in turns)
    assert ["user", "assistant"] * (len(turns) // 2) + ["user"] * (len(turns) % 2) == [
        turn.role for turn in turns
    ]
    assert not turns or len(turns) % 2 == 1
    assert turns or not any(m.role == "user" and m.text.strip() for m in messages)

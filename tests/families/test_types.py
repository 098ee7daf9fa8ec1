from hypothesis import given
from hypothesis import strategies as st

from families.types import Message, Usage, alternating


def test_usage_updated() -> None:
    """Later counts replace earlier ones; what is not said again stays."""
    early = Usage(input_tokens=12, output_tokens=1, cache_read_tokens=7)

    assert Usage(input_tokens=12, output_tokens=4, cache_read_tokens=7) == early.updated(
        Usage(output_tokens=4)
    )


def test_prompt_tokens() -> None:
    """The whole prompt counts what a cache served; unknown stays unknown."""
    usage = Usage(input_tokens=5, cache_read_tokens=100, cache_write_tokens=20)

    assert 125 == usage.prompt_tokens
    assert Usage(output_tokens=1).prompt_tokens is None


def test_a_conversation_in_order_stays() -> None:
    """What alternates already is given back as it is, white space included."""
    said = (Message("user", " a\n"), Message("assistant", "b"), Message("user", "c"))

    assert said == alternating(said)


def test_alternation_is_repaired() -> None:
    """Empty answers go, neighbours of one role are joined, and the user stands at both ends."""
    said = (
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
    ) == alternating(said)


@given(st.lists(st.builds(Message, st.sampled_from(["user", "assistant"]), st.text(max_size=3))))
def test_always_alternates(said: list[Message]) -> None:
    """Whatever was saved: no blank message, the user first and last and every second one."""
    turns = alternating(said)

    assert all(turn.text.strip() for turn in turns)
    assert ["user", "assistant"] * (len(turns) // 2) + ["user"] * (len(turns) % 2) == [
        turn.role for turn in turns
    ]
    assert not turns or len(turns) % 2 == 1
    assert turns or not any(m.role == "user" and m.text.strip() for m in said)

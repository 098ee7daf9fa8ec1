"""The simulation behind docs/capacity.md."""

import pytest

from bench import capacity
from bench.capacity import Load, posts


@pytest.mark.parametrize(
    ("chunks", "gap", "post", "interval", "expected"),
    [
        (1, 0.1, 0.015, 0.0, 1),
        (100, 0.06, 0.015, 0.0, 100),  # each has left before the next comes
        (2_000, 0.005, 0.015, 0.0, 668),  # one, then three gather while one post is under way
        (100, 0.06, 0.015, 1.0, 7),  # at 0, 1.015, ... 6.09 seconds
        (50, 0.0, 0.015, 0.0, 1),  # all at once
    ],
)
def test_posts_gather_what_comes_meanwhile(
    chunks: int, gap: float, post: float, interval: float, expected: int
) -> None:
    """The relay's rule: the first at once, then whatever came while the last was posted."""
    assert expected == posts(chunks, gap, post, interval)


def test_a_longer_interval_never_posts_more() -> None:
    """Coalescing only saves."""
    made = [posts(200, 0.02, 0.015, interval / 20) for interval in range(40)]

    assert sorted(made, reverse=True) == made


def test_units_are_whole() -> None:
    """DynamoDB charges by started kilobytes, and nothing is free."""
    assert [1, 1, 2] == [capacity.units(size, 1024) for size in (0, 1024, 1025)]


def test_cost_and_need_grow_with_the_users() -> None:
    """Ten times the people cost ten times as much, and need ten times as much at the peak."""
    load = Load()

    for what, dollars in capacity.day(1_000, load).items():
        assert dollars * 10 == pytest.approx(capacity.day(10_000, load)[what])
    for what, need in capacity.peak(1_000, load).items():
        assert need * 10 == pytest.approx(capacity.peak(10_000, load)[what])


def test_a_days_tokens_cost_what_they_are_quoted_at() -> None:
    """1,000 users of 5 turns of 2,000 tokens in are 10 million tokens: 30 dollars."""
    assert 30 == pytest.approx(capacity.day(1_000, Load())["Bedrock, tokens in"])


def test_the_page_is_current() -> None:
    """docs/capacity.md has the tables that the simulation computes."""
    text = capacity.PAGE.read_text()

    assert text == capacity.page(text), "run `python -m bench.capacity`"


def test_a_page_without_marks_is_refused() -> None:
    """Nothing else is written over."""
    with pytest.raises(ValueError, match="lacks"):
        capacity.page("no marks")

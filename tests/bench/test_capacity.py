"""The simulation behind docs/capacity.md."""

import pytest

from bench import capacity
from bench.capacity import Load, posts


@pytest.mark.parametrize(
    ("chunks", "gap", "post", "interval", "expected"),
    [
        (1, 0.1, 0.015, 0.0, 1),
        (100, 0.06, 0.015, 0.0, 100),  # each is posted before the next arrives
        (2_000, 0.005, 0.015, 0.0, 668),  # one, then three during each post
        (100, 0.06, 0.015, 1.0, 7),  # at 0, 1.015, ... 6.09 seconds
        (50, 0.0, 0.015, 0.0, 1),  # all at once
    ],
)
def test_chunks_that_arrive_during_a_post_are_posted_together(
    chunks: int, gap: float, post: float, interval: float, expected: int
) -> None:
    """The relay's rule: the first at once, then all that arrived during the last post."""
    assert expected == posts(chunks, gap, post, interval)


def test_a_longer_interval_never_posts_more() -> None:
    counts = [posts(200, 0.02, 0.015, interval / 20) for interval in range(40)]

    assert sorted(counts, reverse=True) == counts


def test_units_are_rounded_up_to_whole_ones() -> None:
    """DynamoDB charges for started kilobytes, and at least for one."""
    assert [1, 1, 2] == [capacity.units(size, 1024) for size in (0, 1024, 1025)]


def test_cost_and_peak_are_proportional_to_the_users() -> None:
    """Ten times the users cost, and use at the peak, ten times as much."""
    load = Load()

    for name, dollars in capacity.day(1_000, load).items():
        assert dollars * 10 == pytest.approx(capacity.day(10_000, load)[name])
    for name, use in capacity.peak(1_000, load).items():
        assert use * 10 == pytest.approx(capacity.peak(10_000, load)[name])


def test_input_tokens_cost_their_quoted_price() -> None:
    """1,000 users with 5 turns of 2,000 input tokens use 10 million tokens: 30 dollars."""
    assert 30 == pytest.approx(capacity.day(1_000, Load())["Bedrock, input tokens"])


def test_the_page_has_the_computed_tables() -> None:
    text = capacity.PAGE.read_text()

    assert text == capacity.page(text), "run `python -m bench.capacity`"


def test_a_page_without_markers_is_rejected() -> None:
    with pytest.raises(ValueError, match="lacks"):
        capacity.page("no markers")

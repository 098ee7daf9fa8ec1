"""Covers tools/markdown.py."""

import pytest

from tools.markdown import filled, places, table

DOCUMENT = """before
<!-- make docs: first -->
old
<!-- up to here -->
between
<!-- make docs: second-one -->
<!-- up to here -->
after
"""


def test_places_are_filled_and_the_rest_is_kept() -> None:
    """An empty place as well as a full one, and what stands between them stays."""
    made = {"first": lambda: "one", "second-one": lambda: "two\nlines"}

    assert (
        "before\n<!-- make docs: first -->\none\n<!-- up to here -->\nbetween\n"
        "<!-- make docs: second-one -->\ntwo\nlines\n<!-- up to here -->\nafter\n"
    ) == filled(DOCUMENT, made)
    assert ["first", "second-one"] == places(DOCUMENT)


def test_what_was_filled_is_filled_the_same() -> None:
    """Made twice, it is as if made once."""
    made = {"first": lambda: r"\1 \n", "second-one": lambda: ""}
    once = filled(DOCUMENT, made)

    assert once == filled(once, made)


def test_a_name_that_nobody_makes_is_an_error() -> None:
    """A slip of the pen does not leave a place as it was."""
    with pytest.raises(KeyError, match="second-one"):
        filled(DOCUMENT, {"first": lambda: ""})


def test_a_bar_in_a_cell_does_not_end_it() -> None:
    """Cells are as many as were given."""
    assert "| a | b |\n| --- | --- |\n| x\\|y | z |" == table(("a", "b"), [("x|y", "z")])

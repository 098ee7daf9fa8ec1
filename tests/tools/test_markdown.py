"""Covers tools/markdown.py."""

import pytest

from tools.markdown import fill_sections, section_names, table

DOCUMENT = """before
<!-- make docs: first -->
old
<!-- up to here -->
between
<!-- make docs: second-one -->
<!-- up to here -->
after
"""


def test_sections_are_replaced_and_other_text_is_unchanged() -> None:
    """Empty sections and filled ones are replaced; text outside of sections is unchanged."""
    sections = {"first": lambda: "one", "second-one": lambda: "two\nlines"}

    assert (
        "before\n<!-- make docs: first -->\none\n<!-- up to here -->\nbetween\n"
        "<!-- make docs: second-one -->\ntwo\nlines\n<!-- up to here -->\nafter\n"
    ) == fill_sections(DOCUMENT, sections)
    assert ["first", "second-one"] == section_names(DOCUMENT)


def test_generation_is_idempotent() -> None:
    """Generating a document twice gives the same text as once."""
    sections = {"first": lambda: r"\1 \n", "second-one": lambda: ""}
    once = fill_sections(DOCUMENT, sections)

    assert once == fill_sections(once, sections)


def test_an_unknown_section_is_an_error() -> None:
    """A misspelled section name raises instead of leaving old text in place."""
    with pytest.raises(KeyError, match="second-one"):
        fill_sections(DOCUMENT, {"first": lambda: ""})


def test_a_bar_in_a_cell_is_escaped() -> None:
    """A bar in a cell does not add a column."""
    assert "| a | b |\n| --- | --- |\n| x\\|y | z |" == table(("a", "b"), [("x|y", "z")])

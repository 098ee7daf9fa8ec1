"""Covers web/, in a real browser against the whole stack."""

from browsers import Served
from playwright.sync_api import Page


def test_it_opens(site: Served, page: Page) -> None:
    """The page is there."""
    page.goto(site.page)
    assert "Chat" == page.title()

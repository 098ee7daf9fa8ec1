"""Covers the accessibility of web/: keyboard, screen readers, small screens, light and dark."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Literal

import pytest
from playwright.sync_api import BrowserContext, Page, ViewportSize, expect
from support.browsers import MODULES, BrowserLog, Chat, Served, refusing
from support.stacks import MANY

THEME = "Switch between dark and light"
AXE = MODULES / "axe-core" / "axe.min.js"
FULL = """## Heading

Text with `code` and [a link](https://example.com/).

```py
x = "a line of code that is wider than any phone is, and so it has to scroll by itself"
```

| one | two | three |
|---|--:|---|
| an unbreakable_value_of_some_length | 2 | another_unbreakable_value_of_some_length |

> said
"""


def empty(_chat: Chat, _site: Served, _after: ExitStack) -> None:
    """A new conversation."""


def streaming(chat: Chat, _site: Served, _after: ExitStack) -> None:
    """An answer is in progress."""
    chat.ask(chunks=MANY, rate=20, text="word ", reasoning=2)
    chat.has_started()


def finished(chat: Chat, _site: Served, _after: ExitStack) -> None:
    """A question, and an answer with all kinds of elements."""
    chat.answer_to(chunks=1, text=FULL, reasoning=2)


def failed(chat: Chat, _site: Served, _after: ExitStack) -> None:
    """An answer that ended with an error."""
    chat.answer_to(chunks=5, fault={"at": 3, "type": "cut"})


def reconnecting(chat: Chat, site: Served, after: ExitStack) -> None:
    """The connection is lost."""
    after.enter_context(refusing(site))
    site.drop()
    expect(chat.page.locator("#notice")).to_contain_text("Reconnecting in")


def clearing(chat: Chat, _site: Served, _after: ExitStack) -> None:
    """The page asks for a confirmation."""
    chat.answer_to("hello")
    chat.button("Clear this chat").click()


STATES: list[Callable[[Chat, Served, ExitStack], None]] = [
    empty,
    streaming,
    finished,
    failed,
    reconnecting,
    clearing,
]


@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(
    site: Served,
    chat: Chat,
    browser_log: BrowserLog,
    state: Callable[[Chat, Served, ExitStack], None],
) -> None:
    """axe-core reports no violation in any state, light or dark."""
    browser_log.expected.append("WebSocket connection to")
    with ExitStack() as after:
        state(chat, site, after)
        chat.page.evaluate(AXE.read_text())
        for scheme in ("light", "dark"):
            chat.page.emulate_media(color_scheme=scheme)
            found = chat.page.evaluate("axe.run().then((all) => all.violations)")
            assert [] == [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]


def focused(page: Page) -> str:
    return str(
        page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.textContent")
    )


def test_everything_works_by_keyboard(chat: Chat) -> None:
    """Every control can be reached and used, and the focused one has an outline."""
    page = chat.page
    page.keyboard.type("/script ")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type(f'{{"chunks": {MANY}, "rate": 50}}')
    expect(chat.page.locator(".turn")).to_have_count(0)
    page.keyboard.press("Enter")
    chat.has_started()
    page.keyboard.press("Tab")
    assert "Stop" == focused(page)
    page.keyboard.press("Escape")
    chat.has_ended()
    chat.question.focus()
    page.keyboard.press("Shift+Tab")
    assert "Continue" == focused(page)
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert "solid" == outline
    page.keyboard.press("Enter")
    chat.has_ended(2)
    assert "Your question" == focused(page)
    reached = []
    for _ in range(8):
        page.keyboard.press("Shift+Tab")
        reached.append(focused(page))
    assert {
        "Copy answer",
        "Conversation",
        THEME,
        "Clear this chat",
        "New chat",
    } <= set(reached)
    chat.button("Clear this chat").press("Enter")
    assert "Cancel" == focused(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert "Clear this chat" == focused(page)
    expect(chat.answers).to_have_count(2)


def test_enter_in_an_input_method_sends_nothing(chat: Chat) -> None:
    """There it selects a candidate; in Safari only the key code shows it."""
    chat.question.fill("にほ")
    for composing in ({"isComposing": True}, {"keyCode": 229}):
        chat.question.dispatch_event("keydown", {"key": "Enter", **composing})
    expect(chat.page.locator(".turn")).to_have_count(0)
    chat.question.press("Enter")
    expect(chat.page.locator(".turn")).to_have_count(1)
    chat.has_ended()


def test_the_theme_can_be_switched(chat: Chat) -> None:
    """It follows the system until it is switched; the choice is stored."""
    page = chat.page

    def dark() -> bool:
        colour: list[int] = page.evaluate(
            "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
        )
        return sum(colour) < 3 * 128

    assert not dark()
    page.emulate_media(color_scheme="dark")
    assert dark()
    chat.button(THEME).click()
    assert not dark()
    page.reload()
    assert not dark()
    chat.button(THEME).click()
    assert dark()


SMALL: list[ViewportSize] = [
    {"width": 360, "height": 640},
    {"width": 844, "height": 390},
    {"width": 320, "height": 256},  # 1280 x 1024 at 400 %: WCAG 2.2, 1.4.10 Reflow
]


def test_the_page_fits_small_screens(
    new_context: Callable[..., BrowserContext], site: Served
) -> None:
    """Only code and tables scroll horizontally, and every control is visible and large enough."""
    context = new_context(viewport=SMALL[0], has_touch=True, is_mobile=True)
    chat = Chat(context.new_page(), site.page).open()
    chat.answer_to("a_long_word_without_a_break_" * 12)
    chat.answer_to(chunks=1, text=FULL, reasoning=1)
    for size in SMALL:
        chat.page.set_viewport_size(size)
        for part in ("html", "#scroller", "footer"):
            assert chat.page.locator(part).evaluate("each => each.scrollWidth") <= size["width"]
        for name in ("New chat", THEME, "Send"):
            box = chat.button(name).bounding_box()
            assert box is not None
            assert 0 <= box["x"] <= box["x"] + box["width"] <= size["width"]
            assert 0 <= box["y"] <= box["y"] + box["height"] <= size["height"]
            assert min(box["width"], box["height"]) >= 24  # WCAG 2.2, 2.5.8 Target Size


def test_reduced_motion_stops_animations(
    new_context: Callable[..., BrowserContext], site: Served
) -> None:
    """The indicator of a pending answer is animated only without that setting."""
    motions: dict[Literal["reduce", "no-preference"], str] = {
        "reduce": "none",
        "no-preference": "pulse",
    }
    for motion, animation in motions.items():
        context = new_context(reduced_motion=motion)
        chat = Chat(context.new_page(), site.page).open()
        chat.page.evaluate(
            """() => document.getElementById("log").append(
              Object.assign(document.createElement("p"), { className: "waiting" }))"""
        )
        name = chat.page.locator(".waiting").evaluate(
            "each => getComputedStyle(each).animationName"
        )
        assert animation == name

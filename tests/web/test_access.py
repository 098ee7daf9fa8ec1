"""Covers web/ for everybody: keyboard alone, screen readers, small screens, light and dark."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect
from support.browsers import MODULES, Chat, Served, Told, refusing

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
    """Nothing was asked."""


def streaming(chat: Chat, _site: Served, _after: ExitStack) -> None:
    """An answer is under way."""
    chat.ask(chunks=3000, rate=20, text="word ", reasoning=2)
    chat.begins()


def finished(chat: Chat, _site: Served, _after: ExitStack) -> None:
    """A question, and an answer with everything."""
    chat.asked(chunks=1, text=FULL, reasoning=2)


def failed(chat: Chat, _site: Served, _after: ExitStack) -> None:
    """An answer broke off."""
    chat.asked(chunks=5, fault={"at": 3, "type": "cut"})


def reconnecting(chat: Chat, site: Served, after: ExitStack) -> None:
    """The connection is away."""
    after.enter_context(refusing(site))
    site.drop()
    expect(chat.page.locator("#notice")).to_contain_text("Trying again in")


def clearing(chat: Chat, _site: Served, _after: ExitStack) -> None:
    """The page asks whether it is meant."""
    chat.asked("hello")
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
    site: Served, chat: Chat, told: Told, state: Callable[[Chat, Served, ExitStack], None]
) -> None:
    """In each state, light and dark, axe-core knows of no hindrance."""
    told.expected.append("WebSocket connection to")
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


def test_keyboard_alone(chat: Chat) -> None:
    """Everything can be reached and done with keys, and what has the focus shows it."""
    page = chat.page
    page.keyboard.type("/script ")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type('{"chunks": 2000, "rate": 50}')
    expect(chat.page.locator(".turn")).to_have_count(0)
    page.keyboard.press("Enter")
    chat.begins()
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
    assert {"Copy answer", "Conversation", "Dark or light", "Clear this chat", "New chat"} <= set(
        reached
    )
    chat.button("Clear this chat").press("Enter")
    assert "Keep it" == focused(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert "Clear this chat" == focused(page)
    expect(chat.answers).to_have_count(2)


def test_enter_may_belong_to_an_input_method(chat: Chat) -> None:
    """Enter that chooses a character sends nothing; in Safari its code alone tells it."""
    chat.question.fill("にほ")
    for composing in ({"isComposing": True}, {"keyCode": 229}):
        chat.question.dispatch_event("keydown", {"key": "Enter", **composing})
    expect(chat.page.locator(".turn")).to_have_count(0)
    chat.question.press("Enter")
    expect(chat.page.locator(".turn")).to_have_count(1)
    chat.has_ended()


def test_light_and_dark(chat: Chat) -> None:
    """As the system says, until the person says otherwise; that is kept."""
    page = chat.page

    def dark() -> bool:
        colour: list[int] = page.evaluate(
            "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
        )
        return sum(colour) < 3 * 128

    assert not dark()
    page.emulate_media(color_scheme="dark")
    assert dark()
    chat.button("Dark or light").click()
    assert not dark()
    page.reload()
    assert not dark()
    chat.button("Dark or light").click()
    assert dark()


SMALL: list[ViewportSize] = [
    {"width": 360, "height": 640},
    {"width": 844, "height": 390},
    {"width": 320, "height": 256},  # 1280 x 1024 at 400 %: WCAG 2.2, 1.4.10 Reflow
]


def test_small_screens(browser: Browser, site: Served) -> None:
    """Only code and tables scroll sideways, by themselves, and nothing is out of reach."""
    context = browser.new_context(viewport=SMALL[0], has_touch=True, is_mobile=True)
    chat = Chat(context.new_page(), site.page).open()
    chat.asked("a_long_word_without_a_break_" * 12)
    chat.asked(chunks=1, text=FULL, reasoning=1)
    for size in SMALL:
        chat.page.set_viewport_size(size)
        for part in ("html", "#scroller", "footer"):
            assert chat.page.locator(part).evaluate("each => each.scrollWidth") <= size["width"]
        for name in ("New chat", "Dark or light", "Send"):
            box = chat.button(name).bounding_box()
            assert box is not None
            assert 0 <= box["x"] <= box["x"] + box["width"] <= size["width"]
            assert 0 <= box["y"] <= box["y"] + box["height"] <= size["height"]
            assert min(box["width"], box["height"]) >= 24  # WCAG 2.2, 2.5.8 Target Size
    context.close()


def test_nothing_moves_for_who_wants_none(browser: Browser, site: Served) -> None:
    """What breathes while one waits stands still where less motion is asked for."""
    motions: dict[Literal["reduce", "no-preference"], str] = {
        "reduce": "none",
        "no-preference": "breathe",
    }
    for motion, animation in motions.items():
        context = browser.new_context(reduced_motion=motion)
        chat = Chat(context.new_page(), site.page).open()
        chat.page.evaluate(
            """() => document.getElementById("log").append(
              Object.assign(document.createElement("p"), { className: "waiting" }))"""
        )
        name = chat.page.locator(".waiting").evaluate(
            "each => getComputedStyle(each).animationName"
        )
        assert animation == name
        context.close()

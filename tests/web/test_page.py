"""Covers web/, in a real browser against the whole stack."""

from browsers import Served
from people import script
from playwright.sync_api import Page, expect

MARKDOWN = """## Streams, in short

A **WebSocket** carries frames both ways. Each `delta` has only what is *new*, see
[the protocol](https://example.com/protocol).

1. The claim is one transaction.
2. The stream is relayed:
   - the first delta at once,
   - the rest together.

> What was said is kept, whatever happens to the connection.

```python
def relay(deltas: Iterable[str]) -> Iterator[str]:
    \"\"\"Everything that has gathered, together.\"\"\"
    for delta in deltas:
        yield delta
```

| figure | ours | theirs |
|---|--:|--:|
| posts for 2,000 chunks | 412 | 2,000 |
| cold start | 164 ms | 1,140 ms |

- [x] streams
- [ ] sleeps
"""


def ask(page: Page, text: str) -> None:
    page.get_by_label("Your question").fill(text)
    page.keyboard.press("Enter")


def test_it_opens(site: Served, page: Page) -> None:
    """The page is there."""
    page.goto(site.page)
    ask(page, script(text=MARKDOWN, chunks=1))
    page.locator(".foot").wait_for()
    page.screenshot(path="/tmp/w1-a.png")
    page.emulate_media(color_scheme="dark")
    page.screenshot(path="/tmp/w1-b.png")
    page.set_viewport_size({"width": 390, "height": 844})
    page.screenshot(path="/tmp/w1-c.png")
    page.get_by_label("New chat").click()
    page.screenshot(path="/tmp/w1-d.png")

"""Makes docs/images/page-light.png: `python -m tests.web.picture`.

A conversation with the small model, on the whole local stack, in a real browser. With a folder as
argument, it also writes the page in dark colours, and on a phone, there.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from playwright.sync_api import Browser, sync_playwright  # noqa: E402 - needs the path set above
from support.browsers import Chat, executable, served  # noqa: E402 - needs the path set above
from support.pictures import MODEL, MODEL_ID, QUESTIONS, SETTINGS  # noqa: E402 - needs the path set above

IMAGES = ROOT / "docs" / "images"


def screenshot(browser: Browser, url: str, path: Path, **options: object) -> None:
    """Ask the questions in a new context; write what the page shows after the last answer."""
    context = browser.new_context(**options)  # type: ignore[arg-type]  # as its caller names them
    chat = Chat(context.new_page(), url).open()
    for question in QUESTIONS:
        chat.answer_to(question)
    chat.page.screenshot(path=path)
    context.close()


def main() -> None:
    """Start the stack and the browser, and write the pictures."""
    with (
        served(model=MODEL, model_id=MODEL_ID, environment=SETTINGS) as site,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=executable())
        size = {"width": 1280, "height": 800}
        screenshot(browser, site.page, IMAGES / "page-light.png", viewport=size)
        for name in sys.argv[1:]:
            folder = Path(name)
            screenshot(browser, site.page, folder / "dark.png", viewport=size, color_scheme="dark")
            screenshot(
                browser,
                site.page,
                folder / "phone.png",
                viewport={"width": 390, "height": 780},
                device_scale_factor=2,
                is_mobile=True,
                has_touch=True,
            )


if __name__ == "__main__":
    main()

"""Takes docs/images/page-light.png: `python -m tests.web.picture`.

A question to SmolLM2 on the complete local stack, in a real browser. The function requests the
model by a name that says what answers, so the page shows that name. Each run gives another answer.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from playwright.sync_api import sync_playwright  # noqa: E402 - found through the line above
from support.browsers import Chat, executable, served  # noqa: E402 - the same

from local.stack import settings_for  # noqa: E402 - the same

MODEL = "smollm2"
MODEL_ID = "arn:aws:bedrock:us-east-1:123456789012:imported-model/smollm2"
SETTINGS = {"MODEL_FAMILY": "openai-chat"}
QUESTION = "Write a Python function that says whether a number is even."
PICTURE = ROOT / "docs" / "images" / "page-light.png"


def main() -> None:
    """Starts the stack, asks the question and writes the picture."""
    environment = settings_for(MODEL, SETTINGS)
    with (
        served(model=MODEL, model_id=MODEL_ID, environment=environment) as site,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=executable())
        page = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
        Chat(page, site.page).open().asked(QUESTION)
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main()

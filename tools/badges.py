"""docs/images/badges.svg: a few facts in a line, each read from where it is so. Pure, but for that.

No picture of somebody's server: it could say what is not so, or nothing.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "badges.svg"

TALL, PAD, GAP = 20, 7, 6
CHARACTER = 6.3  # pixels of one, at 11 px; the text is made to fit

_STYLE = (
    "text{font:11px system-ui,sans-serif;fill:#fff}"
    ".n{fill:#4b535c}.v{fill:#1f6f54}"
    "@media(prefers-color-scheme:dark){.n{fill:#3a424a}.v{fill:#26805f}}"
)


def facts() -> Mapping[str, str]:
    """What is said, by what it is about."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runs_on = (re.split(r"[<>=~!\[]", each)[0] for each in project["project"]["dependencies"])
    function = (ROOT / "terraform" / "function.tf").read_text()
    runtime = re.search(r'^  runtime += "(\w+\.\d+)"$', function, re.MULTILINE)
    assert runtime is not None  # noqa: S101 - a function has one
    covered = project["tool"]["coverage"]["report"]["fail_under"]
    return {
        "Python": project["project"]["requires-python"].removeprefix(">=") + " or newer",
        "Lambda": runtime[1],
        "runs on": ", ".join(runs_on) + ", no framework",
        "tests cover": f"at least {covered} %, with branches",
        "licence": (ROOT / "LICENSE").read_text().split()[0],
    }


def drawn() -> str:
    """The picture."""
    parts, at = [], 0.0
    for name, value in facts().items():
        for kind, text in (("n", name), ("v", value)):
            long = len(text) * CHARACTER
            parts.append(
                f'<rect class="{kind}" x="{at:.1f}" width="{long + 2 * PAD:.1f}" height="{TALL}"/>'
                f'<text x="{at + PAD:.1f}" y="14" textLength="{long:.1f}">{escape(text)}</text>'
            )
            at += long + 2 * PAD
        at += GAP
    size = f'viewBox="0 0 {at - GAP:.0f} {TALL}" width="{at - GAP:.0f}" height="{TALL}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    title = f"<title>{escape(told())}</title>"
    return "\n".join([head, title, f"<style>{_STYLE}</style>", *parts, "</svg>"]) + "\n"


def told() -> str:
    """The same in words."""
    return "; ".join(f"{name}: {value}" for name, value in facts().items())


def shown() -> str:
    """Its place in the README, with the words for who does not see it."""
    return f"![{told()}]({PICTURE.relative_to(ROOT)})"

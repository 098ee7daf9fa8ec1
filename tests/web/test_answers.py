"""Covers web/render.js and the page's headers: whatever an answer says, it is shown and not done."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from browsers import MODULES, Chat, Served, Told
from people import ROOT, script
from playwright.sync_api import BrowserContext, expect

VENDORED = {
    "marked.esm.js": "marked/lib/marked.esm.js",
    "marked.LICENSE.txt": "marked/LICENSE",
    "purify.es.js": "dompurify/dist/purify.es.mjs",
    "purify.LICENSE.txt": "dompurify/LICENSE",
}

# Each would set `window.done`, open a dialog, ask another host, or change the page, where it worked.
ATTACKS = {
    "script": "<script>window.done = 1</script>",
    "script in a paragraph": "text <script>window.done = 1</script> text",
    "onerror": "<img src=x onerror='window.done = 1'>",
    "onerror in a table": "| a |\n|---|\n| <img src=x onerror='window.done = 1'> |",
    "svg": "<svg onload='window.done = 1'><circle r=9></circle></svg>",
    "math": "<math><mtext><table><mglyph><style><img src=x onerror='window.done = 1'>",
    "noscript": "<noscript><p title='</noscript><img src=x onerror=window.done=1>'>",
    "details": "<details open ontoggle='window.done = 1'>x</details>",
    "iframe": "<iframe src='https://elsewhere.example/'></iframe>",
    "srcdoc": "<iframe srcdoc='<script>parent.done = 1</script>'></iframe>",
    "object": "<object data='https://elsewhere.example/x.svg'></object>",
    "style": "<style>body { background: url(https://elsewhere.example/x) }</style>",
    "style attribute": "<b style='position:fixed;inset:0'>x</b>",
    "class": "<b class='quiet'>x</b>",
    "link": "<link rel=stylesheet href='https://elsewhere.example/x.css'>",
    "base": "<base href='https://elsewhere.example/'>",
    "meta": "<meta http-equiv=refresh content='0;url=https://elsewhere.example/'>",
    "form": "<form action='https://elsewhere.example/'><button>Send</button></form>",
    "input": "<input autofocus onfocus='window.done = 1'>",
    "image": "![a picture](https://elsewhere.example/x.png)",
    "image with marks": '!["><script>window.done=1</script>](https://elsewhere.example/x.png)',
    "javascript:": "[press](javascript:window.done=1)",
    "javascript: with a tab": "[press](java&#9;script:window.done=1)",
    "javascript: by reference": "[press][1]\n\n[1]: JavaScript:window.done=1",
    "vbscript:": "[press](vbscript:window.done=1)",
    "data:": "[press](data:text/html,<script>opener.done=1</script>)",
    "autolink": "<javascript:window.done=1>",
    "title": "[press](https://elsewhere.example \"x' onmouseover='window.done=1\")",
    "language": '```x" onmouseover="window.done=1\ncode\n```',
    "code": "`<img src=x onerror=window.done=1>`",
    "split over chunks": "<im" + "g src=x onerror='window.done = 1'>",
}
# What an answer may be made of.
ALLOWED = {
    "A", "B", "BLOCKQUOTE", "BR", "BUTTON", "CODE", "DEL", "DIV", "EM", "H3", "H4", "H5", "H6", "HR", "I", "KBD", "LI",
    "MARK", "OL", "P", "PRE", "S", "SPAN", "STRONG", "SUB", "SUP", "TABLE", "TBODY", "TD", "TH", "THEAD", "TR", "U", "UL",
}  # fmt: skip
ELEMENTS = """() => [...document.querySelectorAll(".answer *")].map((each) => [
  each.tagName, each.getAttributeNames().filter((name) => name.startsWith("on") || name === "style" || name === "src"),
])"""
PRESS = """() => {
  for (const each of document.querySelectorAll(".answer *")) {
    each.dispatchEvent(new MouseEvent("mouseover", { bubbles: true }));
    each.dispatchEvent(new FocusEvent("focus"));
  }
  return [...document.querySelectorAll(".answer a")].map((each) => each.getAttribute("href"));
}"""


@pytest.fixture
def hosts(context: BrowserContext) -> set[str]:
    """Whom the browser asks for anything."""
    asked: set[str] = set()
    context.on("request", lambda each: asked.add(urlsplit(each.url).netloc))
    return asked


def test_an_answer_does_nothing(site: Served, chat: Chat, hosts: set[str], told: Told) -> None:
    """None of the attacks runs, asks another host, leaves the page, or so much as meets the policy."""
    for number, attack in enumerate(ATTACKS.values(), start=1):
        chat.ask(chunks=1, text=attack)
        chat.has_ended(number)

    links = [each for each in chat.page.evaluate(PRESS) if each]
    assert {"https"} >= {urlsplit(each).scheme for each in links}
    assert chat.page.evaluate("window.done") is None
    elements = chat.page.evaluate(ELEMENTS)
    assert ALLOWED >= {name for name, _ in elements}
    assert [] == [each for each in elements if each[1]]
    assert 0 == chat.page.locator(".answer .quiet:not(.code .quiet)").count()
    assert {urlsplit(site.page).netloc} >= hosts
    assert [] == told.complaints
    assert site.page == chat.page.url
    # The same, drawn from the history.
    chat.page.reload()
    chat.page.wait_for_function(
        "n => document.querySelectorAll('.foot').length >= n", arg=min(len(ATTACKS), 50)
    )
    assert chat.page.evaluate("window.done") is None
    assert [] == [
        each for each in chat.page.evaluate(ELEMENTS) if each[1] or each[0] not in ALLOWED
    ]


@pytest.mark.parametrize("name", ["script", "onerror", "style"])
def test_html_is_shown_as_it_is(chat: Chat, name: str) -> None:
    """Whoever asks about HTML reads it."""
    assert ATTACKS[name] == chat.asked(chunks=1, text=ATTACKS[name]).inner_text()


def test_a_question_is_text(chat: Chat) -> None:
    """What a person asks is shown as it was written, too."""
    chat.asked("<b>bold</b>\n**stars**")
    assert "<b>bold</b>\n**stars**" == chat.page.locator(".question").inner_text()


POLICY = """(what) => {
  const element = document.createElement(what.tag);
  Object.assign(element, what.set);
  document.body.append(element);
}"""
FORBIDDEN: dict[str, dict[str, Any]] = {
    "inline script": {"tag": "script", "set": {"textContent": "window.done = 1"}},
    "a foreign script": {"tag": "script", "set": {"src": "https://elsewhere.example/x.js"}},
    "a foreign image": {"tag": "img", "set": {"src": "https://elsewhere.example/x.png"}},
    "a frame": {"tag": "iframe", "set": {"src": "https://elsewhere.example/"}},
    "markup from text": {"tag": "div", "set": {"innerHTML": "<b>x</b>"}},
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_policy_is_a_wall_of_its_own(chat: Chat, told: Told, what: str) -> None:
    """Had an attack come through, the Content-Security-Policy would have stopped it."""
    told.expected += ["Content Security Policy", "TrustedHTML", "TrustedScript"]
    try:
        chat.page.evaluate(POLICY, FORBIDDEN[what])
    except Exception as error:  # noqa: BLE001 - some are refused by throwing
        told.complaints.append(str(error))
    chat.page.evaluate("() => new Promise(requestAnimationFrame)")

    assert told.complaints
    assert [] == told.unexpected
    assert chat.page.evaluate("window.done") is None


MARKDOWN = """# One

Two **bold** *soft* ~~gone~~ `code` H<sub>2</sub>O and [a link](https://example.com/ "so").

1. first
2. second

| left | right |
|:-----|------:|
| a    | 1     |

- [x] done

> said

See [later].

[later]: https://example.com/later
"""
MADE = """() => {
  const shape = (node) => node.nodeType === 3 ? node.data.trim()
    : [node.tagName.toLowerCase(), ...[...node.childNodes].map(shape).filter(String)];
  return [...document.querySelectorAll(".block")].map((each) => [...each.childNodes].map(shape).filter(String)).flat();
}"""


def test_markdown(chat: Chat) -> None:
    """What models write is shown as it is meant; links open elsewhere and tell nobody."""
    chat.asked(chunks=1, text=MARKDOWN)

    assert [
        ["h3", "One"],
        [
            "p",
            "Two",
            ["strong", "bold"],
            ["em", "soft"],
            ["del", "gone"],
            ["code", "code"],
            "H",
            ["sub", "2"],
            "O and",
            ["a", "a link"],
            ".",
        ],
        ["ol", ["li", "first"], ["li", "second"]],
        [
            "div",
            [
                "table",
                ["thead", ["tr", ["th", "left"], ["th", "right"]]],
                ["tbody", ["tr", ["td", "a"], ["td", "1"]]],
            ],
        ],
        ["ul", ["li", "☑ done"]],
        ["blockquote", ["p", "said"]],
        ["p", "See", ["a", "later"], "."],
    ] == chat.page.evaluate(MADE)
    link = chat.page.get_by_role("link", name="a link")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    expect(link).to_have_attribute("target", "_blank")
    expect(chat.page.get_by_role("cell", name="1")).to_have_css("text-align", "end")


def test_growing_makes_what_the_whole_makes(chat: Chat) -> None:
    """An answer that came in small pieces looks like the same one from the history."""
    chat.page.evaluate(
        """async (text) => {
          const { Answer } = await import("./render.js");
          const answer = new Answer();
          document.getElementById("log").append(answer.element);
          for (let at = 0; at < text.length; at += 3) {
            answer.append(text.slice(at, at + 3));
            await new Promise(requestAnimationFrame);
          }
          answer.finish();
        }""",
        MARKDOWN + "\n```js\nlet a\n\nlet b\n```\n\nend\n",
    )
    grown = chat.page.evaluate(MADE)
    chat.page.evaluate("() => document.getElementById('log').replaceChildren()")
    chat.asked(chunks=1, text=MARKDOWN + "\n```js\nlet a\n\nlet b\n```\n\nend\n")
    assert grown == chat.page.evaluate(MADE)


@pytest.mark.parametrize("name", VENDORED)
def test_the_libraries_are_what_npm_has(name: str) -> None:
    """Byte for byte the files of the packages that tests/web/package-lock.json pins."""
    assert (MODULES / VENDORED[name]).read_bytes() == (ROOT / "web" / "vendor" / name).read_bytes()

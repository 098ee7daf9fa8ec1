"""Covers web/markdown.js and the page's headers: no answer can execute or load anything."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Request, expect
from support.browsers import MODULES, BrowserLog, Chat, Served
from support.e2e_clients import ROOT

VENDORED = {
    "marked.esm.js": "marked/lib/marked.esm.js",
    "marked.LICENSE.txt": "marked/LICENSE",
    "purify.es.js": "dompurify/dist/purify.es.mjs",
    "purify.LICENSE.txt": "dompurify/LICENSE",
}

# If it worked, each would set `window.done`, send a request to another host, or change the page.
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
# The elements that an answer may contain.
ALLOWED = {
    *("A", "B", "BLOCKQUOTE", "BR", "BUTTON", "CODE", "DEL", "DIV", "EM", "H3", "H4", "H5", "H6"),
    *("HR", "I", "KBD", "LI", "MARK", "OL", "P", "PRE", "S", "SPAN", "STRONG", "SUB", "SUP"),
    *("TABLE", "TBODY", "TD", "TH", "THEAD", "TR", "U", "UL"),
}
ELEMENTS = """() => [...document.querySelectorAll(".answer *")].map((each) => [
  each.tagName,
  each.getAttributeNames().filter((name) => /^on|^style$|^src/.test(name)),
])"""
PRESS = """() => {
  for (const each of document.querySelectorAll(".answer *")) {
    each.dispatchEvent(new MouseEvent("mouseover", { bubbles: true }));
    each.dispatchEvent(new FocusEvent("focus"));
  }
  return [...document.querySelectorAll(".answer a")].map((each) => each.getAttribute("href"));
}"""


# Renders answers one below the other, each growing by `step` characters at a time.
GROW = """async ([texts, step]) => {
  const { Answer } = await import("./markdown.js");
  for (const text of texts) {
    const answer = new Answer();
    document.getElementById("log").append(answer.element);
    for (let at = 0; at < text.length; at += step) {
      answer.append(text.slice(at, at + step));
      await new Promise(requestAnimationFrame);
    }
    answer.finish();
  }
}"""


@pytest.fixture
def hosts(context: BrowserContext) -> set[str]:
    """The hosts that the browser sends requests to."""
    requested: set[str] = set()

    def record(request: Request) -> None:
        requested.add(urlsplit(request.url).netloc)

    context.on("request", record)
    return requested


def assert_inert(chat: Chat) -> None:
    """No answer on the page has executed anything, or could."""
    links = [each for each in chat.page.evaluate(PRESS) if each]
    assert {"https"} >= {urlsplit(each).scheme for each in links}
    assert chat.page.evaluate("window.done") is None
    elements = chat.page.evaluate(ELEMENTS)
    assert ALLOWED >= {name for name, _ in elements}
    assert [] == [each for each in elements if each[1]]
    assert 0 == chat.page.locator(".answer .quiet:not(.code .quiet)").count()
    assert chat.url == chat.page.url


def test_no_attack_has_an_effect(
    site: Served, chat: Chat, hosts: set[str], browser_log: BrowserLog
) -> None:
    """None executes, requests another host or leaves the page; none even violates the policy."""
    chat.page.evaluate(GROW, [list(ATTACKS.values()), 1000])
    chat.page.evaluate(GROW, [list(ATTACKS.values()), 9])

    assert 2 * len(ATTACKS) == chat.answers.count()
    assert_inert(chat)
    assert {urlsplit(site.page).netloc} >= hosts
    assert [] == browser_log.entries


def test_no_attack_of_a_model_has_an_effect(chat: Chat, browser_log: BrowserLog) -> None:
    """Neither in a streamed answer, nor in the history."""
    answer = chat.answer_to(chunks=1, text="\n\n".join(ATTACKS.values()))
    shown = answer.inner_text()
    assert_inert(chat)
    chat.page.reload()
    chat.has_ended()
    assert shown == answer.inner_text()
    assert_inert(chat)
    assert [] == browser_log.entries


@pytest.mark.parametrize("name", ["script", "onerror", "style"])
def test_html_is_shown_as_text(chat: Chat, name: str) -> None:
    """An answer about HTML is readable."""
    assert ATTACKS[name] == chat.answer_to(chunks=1, text=ATTACKS[name]).inner_text()


def test_a_question_is_shown_as_text(chat: Chat) -> None:
    """Neither HTML nor Markdown in it is rendered."""
    chat.answer_to("<b>bold</b>\n**stars**")
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
def test_the_content_security_policy_blocks(chat: Chat, browser_log: BrowserLog, what: str) -> None:
    """Markup that had passed the sanitizer would still be blocked."""
    browser_log.expected += ["Content Security Policy", "TrustedHTML", "TrustedScript"]
    try:
        chat.page.evaluate(POLICY, FORBIDDEN[what])
    except Exception as error:  # noqa: BLE001 - some are refused by throwing
        browser_log.entries.append(str(error))
    chat.page.evaluate("() => new Promise(requestAnimationFrame)")

    assert browser_log.entries
    assert [] == browser_log.unexpected
    assert chat.page.evaluate("window.done") is None


MARKDOWN = """# One

Two **bold** *soft* ~~gone~~ `code` H<sub>2</sub>O and [a link](https://example.com/ "so").

![A chart](https://example.com/chart.png) beside text.

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
  document.getElementById("log").normalize();
  const shape = (node) => node.nodeType === 3 ? node.data.trim()
    : [node.tagName.toLowerCase(), ...[...node.childNodes].map(shape).filter(String)];
  const blocks = [...document.querySelectorAll(".block")];
  return blocks.flatMap((each) => [...each.childNodes].map(shape).filter(String));
}"""


def test_markdown_is_rendered(chat: Chat) -> None:
    """Links open in a new tab, without a referrer."""
    chat.answer_to(chunks=1, text=MARKDOWN)

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
        ["p", "A chart beside text."],
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


def test_chunks_and_complete_text_render_alike(chat: Chat) -> None:
    """An answer in small chunks gives the same elements as all of it at once."""
    code = (
        "```js\nlet a\n\nlet b\n```\n\nand\n\n"
        "```\nlet c\nlet d\n```\n\nand\n\n    let e\n    let f\n"
    )
    whole = f"{MARKDOWN}\n{code}\nend\n"
    rendered = []
    for step in (3, len(whole)):
        chat.page.evaluate("() => document.getElementById('log').replaceChildren()")
        chat.page.evaluate(GROW, [[whole], step])
        rendered.append(chat.page.evaluate(MADE))
    assert rendered[0] == rendered[1]


@pytest.mark.parametrize("name", VENDORED)
def test_vendored_files_equal_the_npm_packages(name: str) -> None:
    """Byte for byte, in the versions of tests/web/package-lock.json."""
    assert (MODULES / VENDORED[name]).read_bytes() == (ROOT / "web" / "vendor" / name).read_bytes()

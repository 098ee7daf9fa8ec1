"""Covers bedrock_chat/sanitize.py, and the path of a hostile answer to a terminal."""

import io
import json
import re

import pytest
from rich.console import Console

from bedrock_chat import one_shot, rendering
from bedrock_chat.answer_view import AnswerView, PlainView
from bedrock_chat.protocol import encode
from bedrock_chat.sanitize import escape_json, sanitize

# What a terminal would interpret, and what is shown instead.
ATTACKS = {
    "title": ("\x1b]0;you are hacked\x07", "␛]0;you are hacked␇"),
    "link": (
        "\x1b]8;;http://evil.example\x1b\\bank\x1b]8;;\x1b\\",
        "␛]8;;http://evil.example␛\\bank␛]8;;␛\\",
    ),
    "clipboard": ("\x1b]52;c;cm0gLXJmIH4=\x07", "␛]52;c;cm0gLXJmIH4=␇"),
    "colour": ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
    "clear": ("\x1b[2J\x1b[H", "␛[2J␛[H"),
    "device control": ("\x1bP+q544e\x1b\\", "␛P+q544e␛\\"),
    "one-byte sequences": ("\x9b2J\x9d0;x\x9c", "\ufffd2J\ufffd0;x\ufffd"),
    "bell": ("a\x07b", "a␇b"),
    "backspace": ("safe\x08\x08\x08\x08evil", "safe␈␈␈␈evil"),
    "carriage return": ("rm -rf\rls    ", "rm -rfls    "),
    "line ends": ("a\r\nb", "a\nb"),
    "delete": ("a\x7fb", "a␡b"),
    "nothing": ("a\x00b", "a␀b"),
    "form feed": ("a\x0cb\x0bc", "a␌b␋c"),
    "shift out": ("\x0eabc\x0f", "␎abc␏"),
    "reordering": ("access\u202eno\u202c", "access\ufffdno\ufffd"),
    "isolates": ("a\u2066b\u2069", "a\ufffdb\ufffd"),
    "other lines": ("a\u2028b\u2029c", "a\nb\nc"),
    "harmless": ("é 日本 🙂 👨‍👩‍👧 \u200fהכל", "é 日本 🙂 👨‍👩‍👧 \u200fהכל"),
}
ENTITIES = "&#27;[2J &#x9b;2J &#7; &#8; &#13; &#x202e; &#0; &#127;"
AROUND = ("{}", "`{}`", "```{0}\n{0}\n```", "- {}", "[a]({})", "# {}", "|{0}|\n|---|\n|{0}|")
# The client's own: styles, rows up to the first column, erasing to the right, the cursor.
OWN_SEQUENCES = re.compile(r"\x1b\[(?:[0-9;]*m|\d+A\r?|K|\?25[lh])")
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.mark.parametrize(("text", "shown"), ATTACKS.values(), ids=ATTACKS)
def test_control_sequences_are_made_visible(text: str, shown: str) -> None:
    """Each character of them is shown, and no control character is left."""
    assert shown == sanitize(text)


def test_every_control_character() -> None:
    """Only tab and line feed are left."""
    every = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
    assert "\t\n" == "".join(each for each in sanitize(every) if ord(each) < 0x20)
    assert not re.search("[\x7f-\x9f]", sanitize(every))


def test_escaped_json_is_equivalent() -> None:
    """It decodes to the same value, and contains no control characters."""
    frame = {"text": "".join(map(chr, range(0x20, 0x2100))) + "\x1b\r\n"}
    line = escape_json(encode(frame))
    assert frame == json.loads(line)
    assert sanitize(line) == line


@pytest.mark.parametrize(
    ("as_json", "shown"),
    [(False, "\ufffd2J語\n"), (True, '{"type":"delta","text":"\\u009b2J語"}\n')],
)
def test_one_answer_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, *, as_json: bool, shown: str
) -> None:
    """Without a prompt, too, no control character reaches the terminal."""
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdout", terminal)
    output = one_shot._Output(as_json=as_json)
    output.write_frame({"type": "delta", "text": "\x9b2J語"})
    output.end_line()
    assert shown == terminal.getvalue()


def shown(pieces: list[str], view: type[AnswerView | PlainView]) -> str:
    """Return what is written to the terminal for an answer in these chunks."""
    out = io.StringIO()
    console = Console(
        file=out, theme=rendering.THEME, force_terminal=True, width=80, height=24, highlight=False
    )
    answer = view(console)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(AnswerView, "_draw_soon", AnswerView._draw)
        with answer:
            for piece in pieces:
                answer.show_frame({"type": "delta", "text": piece})
            answer.show_frame({"type": "done", "stop_reason": "end_turn"})
    return out.getvalue()


@pytest.mark.parametrize("view", [AnswerView, PlainView])
@pytest.mark.parametrize(
    "text", [*(text for text, _ in ATTACKS.values()), ENTITIES], ids=[*ATTACKS, "entities"]
)
def test_no_control_sequence_reaches_the_terminal(
    view: type[AnswerView | PlainView], text: str
) -> None:
    """Whatever the markup and the chunks, only the client's own sequences are written."""
    for around in AROUND:
        answer = around.format(text)
        for pieces in ([answer], re.findall(r"(?s).{1,3}", answer)):
            assert not CONTROL.search(OWN_SEQUENCES.sub("", shown(pieces, view)))


@pytest.mark.parametrize(
    "text",
    [
        "<b>bold</b> and <script>alert(1)</script>",
        "<div>\nblock\n</div>",
        "![picture](http://example.com/p.png)",
        "<http://example.com/auto>",
        "[1]: http://example.com/reference",
        "[words](http://example.com/link)",
        "a & b &amp; c",
    ],
)
def test_no_text_is_hidden(text: str) -> None:
    """HTML and addresses, which are markup elsewhere, are shown as text."""
    words = re.findall(r"[a-z]{2,}|\d", text.replace("&amp;", "&"))
    assert words == re.findall(
        r"[a-z]{2,}|\d", OWN_SEQUENCES.sub("", shown([text], AnswerView)).split("\n\n")[0]
    )

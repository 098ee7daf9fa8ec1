"""Covers bedrock_chat/disarm.py, and what comes of a hostile answer on its way to a terminal."""

import io
import json
import re

import pytest
from rich.console import Console

from bedrock_chat import pipe, rendering
from bedrock_chat.disarm import disarm, escaped
from bedrock_chat.protocol import written
from bedrock_chat.view import Answer, Plain

# What a terminal would obey, and what is shown of it.
TRICKS = {
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
# Colours and the like, so many rows up and to the first column, the rest of the row, the cursor.
OURS = re.compile(r"\x1b\[(?:[0-9;]*m|\d+A\r?|K|\?25[lh])")
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.mark.parametrize(("text", "shown"), TRICKS.values(), ids=TRICKS)
def test_tricks(text: str, shown: str) -> None:
    """Each is shown, and none is left."""
    assert shown == disarm(text)


def test_every_control_character() -> None:
    """None of them is left but tab and line feed, wherever it stands."""
    every = "".join(map(chr, (*range(0x20), *range(0x7F, 0xA0))))
    assert "\t\n" == "".join(each for each in disarm(every) if ord(each) < 0x20)
    assert not re.search("[\x7f-\x9f]", disarm(every))


def test_json_stays_json() -> None:
    """A line of it says the same, and holds nothing that a terminal obeys."""
    frame = {"text": "".join(map(chr, range(0x20, 0x2100))) + "\x1b\r\n"}
    line = escaped(written(frame))
    assert frame == json.loads(line)
    assert disarm(line) == line


@pytest.mark.parametrize(
    ("as_json", "shown"),
    [(False, "\ufffd2J語\n"), (True, '{"type":"delta","text":"\\u009b2J語"}\n')],
)
def test_one_answer_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, *, as_json: bool, shown: str
) -> None:
    """Without a prompt, too, nothing of an answer is obeyed."""
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdout", terminal)
    output = pipe._Output(as_json=as_json)
    output.hear({"type": "delta", "text": "\x9b2J語"})
    output.close()
    assert shown == terminal.getvalue()


def shown(pieces: list[str], view: type[Answer | Plain]) -> str:
    """What is written to the terminal for an answer in these pieces."""
    out = io.StringIO()
    console = Console(
        file=out, theme=rendering.THEME, force_terminal=True, width=80, height=24, highlight=False
    )
    answer = view(console)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Answer, "_show_soon", Answer._show)
        with answer:
            for piece in pieces:
                answer.hear({"type": "delta", "text": piece})
            answer.hear({"type": "done", "stop_reason": "end_turn"})
    return out.getvalue()


@pytest.mark.parametrize("view", [Answer, Plain])
@pytest.mark.parametrize(
    "text", [*(trick for trick, _ in TRICKS.values()), ENTITIES], ids=[*TRICKS, "entities"]
)
def test_nothing_reaches_the_terminal(view: type[Answer | Plain], text: str) -> None:
    """In whatever markup, and also in pieces: the sequences there are ours, and no others."""
    for around in AROUND:
        answer = around.format(text)
        for pieces in ([answer], re.findall(r"(?s).{1,3}", answer)):
            assert not OBEYED.search(OURS.sub("", shown(pieces, view)))


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
def test_nothing_is_hidden(text: str) -> None:
    """What would be markup elsewhere, HTML and addresses, is there to be read."""
    words = re.findall(r"[a-z]{2,}|\d", text.replace("&amp;", "&"))
    assert words == re.findall(
        r"[a-z]{2,}|\d", OURS.sub("", shown([text], Answer)).split("\n\n")[0]
    )

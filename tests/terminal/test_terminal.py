"""Covers the command `bedrock-chat` as a person uses it: in a real terminal, at the whole stack."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.e2e_clients import cannot_be_had, script
from support.stacks import Stacks
from support.terminals import ENTER, LEAVE, STOP, Terminal, chatting

from bedrock_chat.commands import COMMANDS


@pytest.fixture(autouse=True)
def _needs_tmux() -> None:
    if shutil.which("tmux") is None:
        cannot_be_had("tmux is not installed: apt-get install tmux, or brew install tmux")


@pytest.fixture
def chat(stacks: Stacks, tmp_path: Path) -> Iterator[Terminal]:
    """The client at its prompt, in 80 by 24."""
    with chatting(tmp_path, stacks.url()) as terminal:
        terminal.ready()
        yield terminal


def order(**more: object) -> str:
    """A question that begins with `/`, as it is typed: with another one."""
    return "/" + script(**more)


def items(seen: str) -> list[int]:
    """The numbers of a list, as they stand there."""
    return [int(number) for number in re.findall(r"^ *(\d+) item", seen, re.MULTILINE)]


# -- an answer -------------------------------------------------------------------------------------


def test_it_streams(chat: Terminal) -> None:
    """The answer grows while one looks; then its figures, and the prompt."""
    chat.ask(order(chunks=60, rate=40, text="on "))
    sizes = {0}
    while "tokens in" not in (seen := chat.all()):
        sizes.add(len(re.findall(r"\bon\b", seen.partition('"}')[2])))
    seen = chat.ready(2)

    assert len(sizes) >= 4, sizes
    assert 60 == len(re.findall(r"\bon\b", seen.partition('"}')[2]))
    assert re.search(r"\d+ tokens in, 60 out · .+ to the first, .+ in all", seen)
    assert "60 out · global.anthropic.claude" in seen.rpartition("›")[2]


def test_markdown(chat: Terminal) -> None:
    """Is drawn, and not shown as it is written; and a bold word looks bold."""
    chat.paste("x\n\n# Title\n\n- **one**\n- two\n\n```py\nx = 1\n```\n\n[link](http://e.example)")
    chat.press(ENTER)
    seen = chat.ready(2).partition("You said:")[2]

    assert [" x", "", "Title", "", " • one", " • two", "", "  x = 1", ""] == seen.split("\n")[:9]
    assert "link (http://e.example)" in seen
    assert re.search(
        r"\x1b\[[0-9;]*1m(?:\x1b\[[34]9m)*one", chat.all("-e").partition("You said:")[2]
    )


def test_longer_than_the_terminal(stacks: Stacks, tmp_path: Path) -> None:
    """A long list, made smaller and larger meanwhile: each item is there once, in order."""
    with chatting(tmp_path, stacks.url(), size=(60, 14)) as chat:
        chat.ready()
        chat.ask(order(chunks=120, rate=80, text="1. item 語 🙂\n"))
        chat.until(lambda seen: len(items(seen)) > 30)
        chat.tmux("resize-window", "-x", "44", "-y", "12")
        chat.until(lambda seen: len(items(seen)) > 60)
        chat.tmux("resize-window", "-x", "90", "-y", "20")
        seen = chat.ready(2)

    assert list(range(1, 121)) == items(seen)


def test_code_longer_than_the_terminal(chat: Terminal) -> None:
    """Each line of it is in the scrollback once, and so are the empty ones."""
    code = "".join(f"line {n}\n" + "\n" * (n % 9 == 0) for n in range(80))
    chat.paste(f"x\n\n```\n{code}```\n")
    chat.press(ENTER)
    seen = chat.until("in all").partition("You said:")[2]

    expected = "\n".join(f"  {line}".rstrip() for line in code.splitlines())
    assert expected in seen


def test_a_table_longer_than_the_terminal(chat: Terminal) -> None:
    """Is laid out anew with each row; in the scrollback it is once, as it was in the end."""
    rows = "".join(f"| row {n} | {'x' * (n // 2)} |\n" for n in range(120))
    chat.paste(f"x\n\n| a | b |\n|---|---|\n{rows}\nafter")
    chat.press(ENTER)
    seen = chat.until("in all").partition("You said:")[2]

    assert list(range(120)) == [int(n) for n in re.findall(r"\brow (\d+)", seen)]


def test_hostile_answers(chat: Terminal) -> None:
    """Neither the title nor the screen is an answer's to change."""
    chat.ask(order(chunks=2, text=b"a\x1b]2;evil\x07b\x1b[2Jc\r".decode()))
    seen = chat.ready(2)

    assert 2 == seen.count("a␛]2;evil␇b␛[2Jc")
    assert "evil" not in chat.tmux("display-message", "-p", "#{pane_title}")


# -- Ctrl-C ----------------------------------------------------------------------------------------


def test_ctrl_c_stops_the_answer(chat: Terminal) -> None:
    """And not the program: what was said stays, and the conversation goes on."""
    chat.ask(order(chunks=3000, rate=40, text="on "))
    chat.until(lambda seen: re.search(r"\bon on on", seen))
    chat.press(STOP)
    seen = chat.until("stopped; /continue goes on")
    assert re.search(r"\bon on on", seen)

    chat.ready(2)
    chat.ask("/continue")
    assert "Continue exactly where" in chat.ready(3)


def test_ctrl_c_twice_leaves(stacks: Stacks, tmp_path: Path) -> None:
    """With the status of an interrupted program; the session's id is told even then."""
    seen = ""
    for _ in range(9):  # the server may be quicker than the second one, which then does nothing
        if "status: 130" in seen:
            break
        with chatting(tmp_path, stacks.url()) as chat:
            chat.ready()
            chat.ask(order(chunks=3000, rate=40, text="on "))
            chat.until(lambda seen: re.search(r"\bon on on", seen))
            chat.press(STOP)
            chat.until(lambda seen: re.search("stopping;|stopped;", seen))
            chat.press(STOP)
            seen = chat.until(lambda seen: re.search("status:|stopped;", seen))

    assert "status: 130" in seen
    assert "To come back: bedrock-chat --session" in seen
    assert "Traceback" not in seen


def test_keys_at_the_prompt(chat: Terminal) -> None:
    """Ctrl-C empties the line, Alt+Enter begins a new one, Ctrl-D leaves."""
    chat.type("never sent", STOP)
    chat.type("first", "M-Enter")
    chat.type("second", ENTER)
    seen = chat.until("You said: first second")
    assert "never sent" not in seen

    chat.ready(2)
    chat.press(LEAVE)
    assert "To come back: bedrock-chat --session" in chat.until("status: 0")


def test_a_paste_is_one_question(chat: Terminal) -> None:
    """Of however many lines."""
    chat.paste("one\ntwo\nthree")
    chat.until("three")
    chat.press(ENTER)

    assert "You said: one two three" in chat.ready(2)


def test_what_is_typed_meanwhile(chat: Terminal) -> None:
    """Does not disturb the answer, and is asked when the prompt is there."""
    chat.ask(order(chunks=40, rate=40, text="on "))
    chat.until(lambda seen: re.search(r"\bon on on", seen))
    chat.type("typed early", ENTER, ENTER, ENTER)
    chat.until("You said: typed early")
    answer, _, rest = chat.ready(3).partition('"}')[2].partition("›")

    assert ["on"] * 40 == answer.partition("tokens")[0].split()[:40]
    assert 40 == len(re.findall(r"\bon\b", answer))
    assert 2 == rest.count("typed early")


# -- commands --------------------------------------------------------------------------------------


def test_commands(chat: Terminal, tmp_path: Path) -> None:
    """/help, /model, /history, /save, /clear and /new, one after the other."""
    chat.ask("/history")
    chat.until("Nothing has been said in this session.")
    chat.ask("my *name* is Zanzibar")
    chat.until("You said: my name is Zanzibar")
    chat.ready(3)
    chat.ask("/model")
    assert "global.anthropic.claude-sonnet-4-6. The deployment decides" in chat.ready(4)
    chat.ask("/history")
    assert 2 == chat.ready(5).count("You said: my name is Zanzibar")

    chat.ask(f"/save {tmp_path}/kept.md")
    chat.until("1 turn written to")
    expected = (
        "## Question 1\n\nmy *name* is Zanzibar\n\n## Answer 1\n\nYou said: my *name* is Zanzibar\n"
    )
    assert expected == (tmp_path / "kept.md").read_text()
    chat.ask(f"/save {tmp_path}/kept.md")
    chat.until("cannot be written: File exists.")

    chat.ask("/clear")
    chat.until("1 turn forgotten.")
    chat.ask("/new")
    chat.until("A new session:")
    chat.ask("/hlep")
    chat.until("There is no /hlep")
    chat.ask("//etc is a folder")
    chat.until("You said: /etc is a folder")
    chat.ask("/clear everything")
    chat.until("/clear takes nothing after it.")
    chat.ask("/help")
    chat.until("/history [turns]")
    chat.ask("/quit")
    chat.until("status: 0")


def test_completion(chat: Terminal) -> None:
    """A command's name is completed, with what it does beside it, also at the lowest row."""
    chat.ask(order(chunks=40, text="- on\n"))
    chat.ready(2)
    chat.type("/")
    chat.until(lambda _: all(each in chat.screen() for each in COMMANDS))
    chat.type("hi")
    chat.until(lambda _: "/history" in chat.screen() and "/help" not in chat.screen())
    chat.press("Tab")
    chat.until("› /history")
    chat.press(ENTER)
    assert 80 == chat.ready(4).count("• on")


def test_history_of_what_was_typed(stacks: Stacks, tmp_path: Path) -> None:
    """Is there the next time, in a file for nobody else; with --no-history there is none."""
    file = tmp_path / "state" / "bedrock-chat" / "history"
    with chatting(tmp_path, stacks.url(), "--no-history") as chat:
        chat.ready()
        chat.ask("not kept")
        chat.ready(2)
    assert not file.exists()

    with chatting(tmp_path, stacks.url()) as chat:
        chat.ready()
        chat.ask("what I asked")
        chat.ready(2)
    assert 0o600 == file.stat().st_mode & 0o777
    with chatting(tmp_path, stacks.url()) as chat:
        chat.ready()
        chat.press("Up")
        chat.until("› what I asked")


# -- connections -----------------------------------------------------------------------------------


def test_the_connection_breaks_in_the_middle(chat: Terminal, stacks: Stacks) -> None:
    """The answer goes on: no item is missing, and none comes twice."""
    chat.ask(order(chunks=80, rate=25, text="1. item\n"))
    chat.until(lambda seen: len(items(seen)) > 5)
    assert stacks.drop() >= 1
    seen = chat.ready(2)

    assert list(range(1, 81)) == items(seen)
    assert "reconnecting" not in seen  # it was said while it lasted


def test_the_connection_breaks_between_questions(chat: Terminal, stacks: Stacks) -> None:
    """The line at the bottom says so; the next question opens another one, in the same session."""
    chat.ask("my name is Zanzibar")
    chat.until("You said: my name is Zanzibar")
    chat.ready(2)
    assert stacks.drop() >= 1
    chat.until("not connected; connects when you ask")
    chat.ask(order(echo=True))
    seen = chat.ready(3)

    assert 3 <= seen.count("my name is Zanzibar")
    assert "reconnecting" not in seen


def test_an_error_is_told(chat: Terminal) -> None:
    """As a sentence with what to do; it is the status of the program, if nothing comes after it."""
    chat.ask(order(fault={"before": "ServiceQuotaExceededException"}))
    chat.until("Wait a moment, and ask again.")
    chat.ready(2)
    chat.ask("/quit")
    chat.until("status: 1")


@pytest.mark.parametrize(
    ("auth", "status", "said"),
    [("iam", 4, "You are not let in"), ("gone", 3, "cannot be reached")],
)
def test_no_way_in(stacks: Stacks, tmp_path: Path, auth: str, status: int, said: str) -> None:
    """Is said before there is a prompt."""
    url = "ws://127.0.0.1:1" if auth == "gone" else stacks.url(auth)
    with chatting(tmp_path, url) as chat:
        seen = chat.until(f"status: {status}")

    assert said in seen
    assert "›" not in seen


# -- terminals -------------------------------------------------------------------------------------


def test_no_color(stacks: Stacks, tmp_path: Path) -> None:
    """NO_COLOR: there is none, and the rest is as ever."""
    with chatting(tmp_path, stacks.url(), variables={"NO_COLOR": "1"}) as chat:
        chat.ready()
        chat.paste("x\n\n```py\ndef f(): return 'x'\n```\n\n`code`")
        chat.press(ENTER)
        chat.ready(2)
        seen = chat.all("-e")

    assert "def f()" in seen
    assert not re.search(r"\x1b\[(?:[0-9;]*;)?(?:3[0-7]|9[0-7]|38;[0-9;]+)m", seen)


def test_a_dumb_terminal(stacks: Stacks, tmp_path: Path) -> None:
    """Gets the words, and nothing that it would have to obey."""
    with chatting(tmp_path, stacks.url(), variables={"TERM": "dumb"}) as chat:
        chat.until("›")
        chat.tmux("pipe-pane", f"cat > {tmp_path}/written")
        chat.ask(order(chunks=30, rate=60, text="**on** "))
        chat.until("30 out")
        written = (tmp_path / "written").read_text()

    assert "**on** " * 30 in written
    assert "\x1b" not in written

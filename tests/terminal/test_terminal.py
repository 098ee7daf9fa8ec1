"""Covers the command `bedrock-chat` at its prompt: in a real terminal, against the whole stack."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.e2e_clients import PATIENCE, client, script, skip_or_fail
from support.stacks import MANY, Stacks
from support.terminals import ENTER, LEAVE, STOP, Terminal

from bedrock_chat.commands import COMMANDS
from local.gateway.websocket import Socket

StartClient = Callable[..., Terminal]


@pytest.fixture(autouse=True)
def _needs_tmux() -> None:
    if shutil.which("tmux") is None:
        skip_or_fail("tmux is not installed: apt-get install tmux, or brew install tmux")


def order(**more: object) -> str:
    """An order to the scripted model; the first `/` marks a question that begins with one."""
    return "/" + script(**more)


def items(screen: str) -> list[int]:
    """The numbers of a list on the screen, in order."""
    return [int(number) for number in re.findall(r"^ *(\d+) item", screen, re.MULTILINE)]


def words(screen: str) -> int:
    """How many words of the answer to an order are on the screen."""
    return len(re.findall(r"\bon\b", screen.partition('"}')[2]))


def has_started(screen: str) -> bool:
    return words(screen) >= 3


# -- an answer -------------------------------------------------------------------------------------


def test_an_answer_grows_while_it_arrives(chat: Terminal) -> None:
    """Its length on the screen takes several values before it ends."""
    sizes = set[int]()

    def has_grown_often(screen: str) -> bool:
        sizes.add(words(screen))
        return len(sizes) >= 5

    chat.ask(order(chunks=MANY, rate=40, text="on "))
    chat.until(has_grown_often)
    chat.press(STOP)
    chat.ready(2)


def test_a_complete_answer_ends_with_its_usage(chat: Terminal) -> None:
    """Tokens and latencies stand below the answer, and then in the status line."""
    chat.ask(order(chunks=60, text="on "))
    screen = chat.ready(2)

    assert 60 == words(screen)
    assert re.search(r"\d+ tokens in, 60 out · .+ to first token, .+ total", screen)
    assert "60 out · global.anthropic.claude" in screen.rpartition("›")[2]


def test_markdown_is_rendered(chat: Terminal) -> None:
    """Its markup is not shown as it is written, and a bold word is bold."""
    chat.paste("x\n\n# Title\n\n- **one**\n- two\n\n```py\nx = 1\n```\n\n[link](http://e.example)")
    chat.press(ENTER)
    screen = chat.ready(2).partition("You said:")[2]

    assert [" x", "", "Title", "", " • one", " • two", "", "  x = 1", ""] == screen.split("\n")[:9]
    assert "link (http://e.example)" in screen
    assert re.search(
        r"\x1b\[[0-9;]*1m(?:\x1b\[[34]9m)*one", chat.all("-e").partition("You said:")[2]
    )


def test_a_list_longer_than_the_terminal(stacks: Stacks, start_client: StartClient) -> None:
    """In a terminal resized meanwhile, each item is there once, in order."""
    chat = start_client(stacks.url(), size=(60, 14))
    chat.ready()
    chat.ask(order(chunks=MANY, rate=80, text="1. item 語 🙂\n"))
    chat.until(lambda screen: len(items(screen)) > 30)
    chat.tmux("resize-window", "-x", "44", "-y", "12")
    chat.until(lambda screen: len(items(screen)) > 60)
    chat.tmux("resize-window", "-x", "90", "-y", "20")
    chat.until(lambda screen: len(items(screen)) > 90)
    chat.press(STOP)
    shown = items(chat.ready(2))

    assert list(range(1, len(shown) + 1)) == shown
    assert len(shown) > 90


def test_code_longer_than_the_terminal(chat: Terminal) -> None:
    """Each line of it is in the scrollback once, and so are the empty ones."""
    code = "".join(f"line {n}\n" + "\n" * (n % 9 == 0) for n in range(80))
    chat.paste(f"x\n\n```\n{code}```\n")
    chat.press(ENTER)
    screen = chat.until(" total").partition("You said:")[2]

    expected = "\n".join(f"  {line}".rstrip() for line in code.splitlines())
    assert expected in screen


def test_a_table_longer_than_the_terminal(chat: Terminal) -> None:
    """Its layout changes with each row; the scrollback has only the final one, once."""
    rows = "".join(f"| row {n} | {'x' * (n // 2)} |\n" for n in range(120))
    chat.paste(f"x\n\n| a | b |\n|---|---|\n{rows}\nafter")
    chat.press(ENTER)
    screen = chat.until(" total").partition("You said:")[2]

    assert list(range(120)) == [int(n) for n in re.findall(r"\brow (\d+)", screen)]


def test_an_answer_cannot_control_the_terminal(chat: Terminal) -> None:
    """It changes neither the title nor the screen."""
    chat.ask(order(chunks=2, text=b"a\x1b]2;evil\x07b\x1b[2Jc\r".decode()))
    screen = chat.ready(2)

    assert 2 == screen.count("a␛]2;evil␇b␛[2Jc")
    assert "evil" not in chat.tmux("display-message", "-p", "#{pane_title}")


# -- Ctrl-C ----------------------------------------------------------------------------------------


def test_ctrl_c_stops_the_answer(chat: Terminal) -> None:
    """The text so far stays, and the conversation continues."""
    chat.ask(order(chunks=MANY, rate=40, text="on "))
    chat.until(has_started)
    chat.press(STOP)
    screen = chat.until("stopped; /continue continues it")
    assert has_started(screen)

    chat.ready(2)
    chat.ask("/continue")
    assert "Continue exactly where" in chat.ready(3)


@contextmanager
def without_stops(stacks: Stacks) -> Iterator[None]:
    """The server receives no stop, so that the answer is still running at the second Ctrl-C."""
    gateway = stacks.running["none"].gateway
    received = gateway.received

    def without_stop(connection: Socket, text: str) -> None:
        if '"stop"' not in text:
            received(connection, text)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gateway, "received", without_stop)
        yield


def test_ctrl_c_twice_quits(stacks: Stacks, chat: Terminal) -> None:
    """The exit code is that of an interrupted program; the session's id is still printed."""
    with without_stops(stacks):
        chat.ask(order(chunks=MANY, rate=40, text="on "))
        chat.until(has_started)
        chat.press(STOP)
        chat.until("stopping; Ctrl-C again quits")
        chat.press(STOP)
        screen = chat.until("status: 130")

    assert "To continue this session: bedrock-chat --session" in screen
    assert "Traceback" not in screen


def test_keys_at_the_prompt(chat: Terminal) -> None:
    """Ctrl-C clears the line, Alt+Enter inserts a line break, Ctrl-D quits."""
    chat.type("never sent", STOP)
    chat.type("first", "M-Enter")
    chat.type("second", ENTER)
    screen = chat.until("You said: first second")
    assert "never sent" not in screen

    chat.ready(2)
    chat.press(LEAVE)
    assert "To continue this session: bedrock-chat --session" in chat.until("status: 0")


def test_a_paste_is_one_question(chat: Terminal) -> None:
    """However many lines it has."""
    chat.paste("one\ntwo\nthree")
    chat.until("three")
    chat.press(ENTER)

    assert "You said: one two three" in chat.ready(2)


def test_a_line_typed_during_an_answer(stacks: Stacks, start_client: StartClient) -> None:
    """It does not disturb the answer, and is sent when the prompt is back."""
    chat = start_client(stacks.url(), "--session", "typed-early")
    chat.ready()
    chat.ask(order(chunks=MANY, rate=40, text="on "))
    chat.until(has_started)
    chat.type("typed early", ENTER, ENTER, ENTER)
    before = words(chat.all())
    chat.until(lambda screen: words(screen) > before)
    # By another client: at Ctrl-C, a terminal discards the characters that it holds.
    with client(stacks.url(), session_id="typed-early") as other:
        other.send({"action": "stop"})
        chat.until("stopped;")
    chat.until("You said: typed early")
    answer, _, rest = chat.ready(3).partition('"}')[2].partition("›")

    assert {"on"} == set(answer.partition("stopped")[0].split())
    assert 2 == rest.count("typed early")


# -- commands --------------------------------------------------------------------------------------


def test_each_command_has_its_effect(chat: Terminal, tmp_path: Path) -> None:
    """/help, /model, /history, /save, /clear and /new, one after the other."""
    chat.ask("/history")
    chat.until("This session has no turns.")
    chat.ask("my *name* is Zanzibar")
    chat.until("You said: my name is Zanzibar")
    chat.ready(3)
    chat.ask("/model")
    assert "global.anthropic.claude-sonnet-4-6. The deployment selects" in chat.ready(4)
    chat.ask("/history")
    assert 2 == chat.ready(5).count("You said: my name is Zanzibar")

    chat.ask(f"/save {tmp_path}/saved.md")
    chat.until("1 turn written to")
    expected = (
        "## Question 1\n\nmy *name* is Zanzibar\n\n## Answer 1\n\nYou said: my *name* is Zanzibar\n"
    )
    assert expected == (tmp_path / "saved.md").read_text()
    chat.ask(f"/save {tmp_path}/saved.md")
    chat.until("File exists.")  # the path before it may be wrapped anywhere

    chat.ask("/clear")
    chat.until("1 turn deleted.")
    chat.ask("/new")
    chat.until("New session:")
    chat.ask("/hlep")
    chat.until("Unknown command /hlep.")
    chat.ask("//etc is a folder")
    chat.until("You said: /etc is a folder")
    chat.ask("/clear everything")
    chat.until("/clear takes no argument.")
    chat.ask("/help")
    chat.until("/history [turns]")
    chat.ask("/quit")
    chat.until("status: 0")


def test_command_names_are_completed(chat: Terminal) -> None:
    """Each is listed with its description, even if the prompt is in the lowest row."""
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


def test_typed_lines_are_stored(stacks: Stacks, start_client: StartClient, tmp_path: Path) -> None:
    """In a file that only its owner can read; with --no-history there is no file."""
    file = tmp_path / "state" / "bedrock-chat" / "history"
    chat = start_client(stacks.url(), "--no-history")
    chat.ready()
    chat.ask("not stored")
    chat.ready(2)
    assert not file.exists()

    chat = start_client(stacks.url())
    chat.ready()
    chat.ask("what I asked")
    chat.ready(2)
    assert 0o600 == file.stat().st_mode & 0o777
    chat = start_client(stacks.url())
    chat.ready()
    chat.press("Up")
    chat.until("› what I asked")


# -- connections -----------------------------------------------------------------------------------


def test_the_connection_breaks_during_an_answer(chat: Terminal, stacks: Stacks) -> None:
    """The answer continues: no item is missing, and none is there twice."""
    chat.ask(order(chunks=MANY, rate=25, text="1. item\n"))
    before = len(items(chat.until(lambda screen: len(items(screen)) > 5)))
    assert stacks.drop() >= 1
    chat.until(lambda screen: len(items(screen)) > before + 10)
    chat.press(STOP)
    screen = chat.ready(2)

    shown = items(screen)
    assert list(range(1, len(shown) + 1)) == shown
    assert "reconnecting" not in screen  # the first attempt succeeds, without a message


def test_the_connection_breaks_between_questions(chat: Terminal, stacks: Stacks) -> None:
    """The status line shows it; the next question reconnects, in the same session."""
    chat.ask("my name is Zanzibar")
    chat.until("You said: my name is Zanzibar")
    chat.ready(2)
    assert stacks.drop() >= 1
    chat.until("not connected; connects when you ask")
    chat.ask(order(echo=True))
    screen = chat.ready(3)

    assert 3 <= screen.count("my name is Zanzibar")
    assert "reconnecting" not in screen


def test_an_error_is_shown_with_advice(chat: Terminal) -> None:
    """It also determines the exit code, unless another request follows."""
    chat.ask(order(fault={"before": "ServiceQuotaExceededException"}))
    chat.until("Wait a moment, then ask again.")
    chat.ready(2)
    chat.ask("/quit")
    chat.until("status: 1")


def test_missing_authentication_ends_the_command(stacks: Stacks, start_client: StartClient) -> None:
    """It is reported before there is a prompt."""
    screen = start_client(stacks.url("iam")).until("status: 4")

    assert "Not authenticated" in screen
    assert "›" not in screen


def test_an_unreachable_server_ends_the_command(
    start_client: StartClient, closed_port: int
) -> None:
    """It is reported before there is a prompt, too."""
    screen = start_client(f"ws://127.0.0.1:{closed_port}").until("status: 3")

    assert "cannot reach" in screen
    assert "›" not in screen


# -- terminals -------------------------------------------------------------------------------------


def test_no_color_disables_colours(stacks: Stacks, start_client: StartClient) -> None:
    """With NO_COLOR set, everything else is as usual."""
    chat = start_client(stacks.url(), variables={"NO_COLOR": "1"})
    chat.ready()
    chat.paste("x\n\n```py\ndef f(): return 'x'\n```\n\n`code`")
    chat.press(ENTER)
    chat.ready(2)
    screen = chat.all("-e")

    assert "def f()" in screen
    assert not re.search(r"\x1b\[(?:[0-9;]*;)?(?:3[0-7]|9[0-7]|38;[0-9;]+)m", screen)


def test_a_dumb_terminal(stacks: Stacks, start_client: StartClient, tmp_path: Path) -> None:
    """It receives the text, and no escape sequences."""
    output = tmp_path / "output"
    chat = start_client(stacks.url(), variables={"TERM": "dumb"})
    chat.until("›")
    chat.tmux("pipe-pane", f"cat > {output}")
    chat.ask(order(chunks=30, text="**on** "))
    deadline = time.monotonic() + PATIENCE
    while not output.exists() or "30 out" not in (written := output.read_text()):
        assert time.monotonic() < deadline, chat.all()
        time.sleep(0.05)

    assert "**on** " * 30 in written
    assert "\x1b" not in written

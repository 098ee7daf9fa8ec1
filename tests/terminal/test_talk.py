"""Covers bedrock_chat/talk.py where a terminal is no help: when there is no way, and joining."""

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.e2e_clients import ROOT, free_port
from support.terminals import played
from websockets.asyncio.server import ServerConnection, serve

from bedrock_chat import protocol, rendering
from bedrock_chat.connection import Door, Link
from bedrock_chat.exits import Exit
from bedrock_chat.talk import Talk, joined, transcript

Turn = dict[str, Any]
Answers = Callable[[dict[str, Any]], list[dict[str, Any]]]
DONE = {"type": "done"}
REFUSED = {"type": "error", "code": "unauthorized", "message": "It is not yours."}


def turn(number: int, user: str, assistant: str) -> Turn:
    return {"turn": number, "user": user, "assistant": assistant, "state": "complete"}


def said(commands: list[tuple[str, str]], answers: Answers | None) -> tuple[str, Exit]:
    """What is shown for these methods of a conversation, and the status; None: nobody answers."""
    out = io.StringIO()
    console = Console(file=out, theme=rendering.THEME, width=100, highlight=False)

    async def connected(socket: ServerConnection) -> None:
        async for text in socket:
            asked = json.loads(text)
            for seq, frame in enumerate(answers(asked) if answers else ()):
                known = {"request_id": asked["request_id"], "seq": seq}
                await socket.send(json.dumps({**known, "retryable": False, **frame}))

    async def scenario() -> Exit:
        async with serve(connected, "127.0.0.1", 0) as running:
            port = running.sockets[0].getsockname()[1] if answers else free_port()
            link = Link(Door(url=f"ws://127.0.0.1:{port}"), pauses=(0.0, 0.01))
            talk = Talk(link, console, "s")
            for name, argument in commands:
                await getattr(talk, name)(argument)
            await link.close()
            return talk.status

    status = asyncio.run(scenario())
    return " ".join(" ".join(played(out.getvalue())).split()), status


@pytest.mark.parametrize("name", ["_ask", "_history", "_clear", "_save"])
def test_no_way(name: str) -> None:
    """Each request says so, and the status is that of a lost connection."""
    text, status = said([(name, "")], None)
    assert "The connection is lost: ws://127.0.0.1" in text
    assert "The session is kept: /history shows it" in text
    assert Exit.LOST == status


@pytest.mark.parametrize("name", ["_ask", "_history", "_clear", "_save", "_continue"])
def test_an_error(name: str) -> None:
    """Is told with what to do; nothing else is shown for what has failed."""
    text, status = said([(name, "x" if name == "_ask" else "")], lambda _: [REFUSED])
    assert text.endswith("It is not yours. Is the session yours? /new begins another one.")
    assert Exit.ERROR == status


def test_what_is_not_sent() -> None:
    """A question that is too long, and a number of turns that nobody can have."""
    commands = [("_ask", "x" * 131_072), ("_history", "0"), ("_history", "many")]
    text, status = said([*commands, ("_tell_model", "")], None)
    assert "Nothing was sent: shorten it" in text
    assert 2 == text.count("/history takes a number from 1 to 100.")
    assert "It is told with the first answer" in text
    assert Exit.FINE == status


def test_joining_an_answer() -> None:
    """Where somebody else's question is being answered, /history shows its answer, too."""

    def answers(asked: dict[str, Any]) -> list[dict[str, Any]]:
        if asked["action"] == "history":
            return [
                {"type": "history", "turns": [{**turn(1, "a?", "b."), "state": "stopped"}]},
                {"type": "done", "running": "theirs"},
            ]
        assert ("resume", "theirs", 0) == (asked["action"], asked["request_id"], asked["from_seq"])
        return [{"type": "delta", "text": "c."}, {"type": "done", "stop_reason": "end_turn"}]

    text, status = said([("_history", "")], answers)
    assert "› a? b. [stopped] An answer is being given; here it is: c." in text
    assert Exit.FINE == status


def test_saving_nothing(tmp_path: Path) -> None:
    """Writes no file, and says so."""
    path = tmp_path / "kept.md"
    frames: list[dict[str, Any]] = [{"type": "history", "turns": []}, {"type": "done"}]
    text, _ = said([("_save", str(path))], lambda _: frames)
    assert "nothing was written" in text
    assert not path.exists()


@pytest.mark.parametrize("name", ["~nobody-of-that-name/x.md", "a\0b", "/nowhere/at/all"])
def test_what_is_no_file(name: str) -> None:
    """Is said, and the conversation goes on."""
    frames: list[dict[str, Any]] = [{"type": "history", "turns": [turn(1, "a?", "b.")]}, DONE]
    text, _ = said([("_save", name)], lambda _: frames)
    assert "cannot be written: " in text


def test_going_on() -> None:
    """A turn that nobody typed is shown as the command, and written as what it is."""
    for place in ("src/handler.py", "web/protocol.js"):
        assert f'CONTINUE = "{protocol.CONTINUE}' in (ROOT / place).read_text()
    turns = [turn(1, "a?", "b"), turn(2, f"{protocol.CONTINUE} Repeat nothing.", "c.")]

    text, _ = said([("_history", "")], lambda _: [{"type": "history", "turns": turns}, DONE])
    assert "› a? b › /continue c." == text
    assert transcript(turns).endswith("\nb\n\n## Answer 2, the rest of the one before\n\nc.\n")


def test_long_turns() -> None:
    """Come in several entries, and are one again."""
    entries = [turn(1, "a", ""), turn(1, "b", "c"), turn(1, "", "d"), turn(2, "e", "f")]
    assert [turn(1, "ab", "cd"), turn(2, "e", "f")] == joined(entries)
    expected = "## Question 2\n\ne\n\n## Answer 2\n\nf\n"
    assert expected == transcript([turn(2, "e", "f")])

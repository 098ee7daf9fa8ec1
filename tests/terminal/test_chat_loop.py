"""Covers bedrock_chat/chat_loop.py without a terminal: failures, and joining an answer."""

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.e2e_clients import ROOT
from support.terminals import rendered_rows
from websockets.asyncio.server import ServerConnection, serve

from bedrock_chat import protocol, rendering
from bedrock_chat.chat_loop import ChatLoop, join_entries, to_markdown
from bedrock_chat.connection import Connection, Endpoint
from bedrock_chat.exit_codes import ExitCode

Turn = dict[str, Any]
Answers = Callable[[dict[str, Any]], list[dict[str, Any]]]
DONE = {"type": "done"}
REFUSED = {"type": "error", "code": "unauthorized", "message": "It is not yours."}


def turn(number: int, user: str, assistant: str) -> Turn:
    return {"turn": number, "user": user, "assistant": assistant, "state": "complete"}


Run = Callable[[list[tuple[str, str]], Answers | None], tuple[str, ExitCode]]


@pytest.fixture
def run(closed_port: int) -> Run:
    """Call methods of a chat loop; return what is shown, and the exit code.

    `answers` gives the server's frames for a request; with None, no server is reachable.
    """

    def run_with_port(
        commands: list[tuple[str, str]], answers: Answers | None
    ) -> tuple[str, ExitCode]:
        return shown(commands, answers, closed_port)

    return run_with_port


def shown(
    commands: list[tuple[str, str]], answers: Answers | None, closed_port: int
) -> tuple[str, ExitCode]:
    out = io.StringIO()
    console = Console(file=out, theme=rendering.THEME, width=100, highlight=False)

    async def connected(socket: ServerConnection) -> None:
        async for text in socket:
            request = json.loads(text)
            for seq, frame in enumerate(answers(request) if answers else ()):
                common = {"request_id": request["request_id"], "seq": seq, "retryable": False}
                await socket.send(json.dumps({**common, **frame}))

    async def scenario() -> ExitCode:
        async with serve(connected, "127.0.0.1", 0) as running:
            port = running.sockets[0].getsockname()[1] if answers else closed_port
            endpoint = Endpoint(url=f"ws://127.0.0.1:{port}")
            connection = Connection(endpoint, pauses=(0.0, 0.01))
            loop = ChatLoop(connection, console, "s")
            for name, argument in commands:
                await getattr(loop, name)(argument)
            await connection.close()
            return loop.exit_code

    status = asyncio.run(scenario())
    return " ".join(" ".join(rendered_rows(out.getvalue())).split()), status


@pytest.mark.parametrize("name", ["_ask", "_history", "_clear", "_save"])
def test_an_unreachable_server_is_reported(run: Run, name: str) -> None:
    """For each request, with the exit code of a lost connection."""
    text, status = run([(name, "")], None)
    assert "The connection was lost: cannot reach ws://127.0.0.1" in text
    assert "The session is on the server: /history shows it" in text
    assert ExitCode.CONNECTION_FAILED == status


@pytest.mark.parametrize("name", ["_ask", "_history", "_clear", "_save", "_continue"])
def test_an_error_is_shown_with_advice(run: Run, name: str) -> None:
    """Nothing else is shown for a failed request."""
    text, status = run([(name, "x" if name == "_ask" else "")], lambda _: [REFUSED])
    assert text.endswith("It is not yours. Check the session id, or start a new session with /new.")
    assert ExitCode.ERROR == status


def test_invalid_input_is_not_sent(run: Run) -> None:
    """A question that is too long, and a number of turns out of range."""
    commands = [("_ask", "x" * 131_072), ("_history", "0"), ("_history", "many")]
    text, status = run([*commands, ("_show_model", "")], None)
    assert "Nothing was sent. Shorten it" in text
    assert 2 == text.count("/history takes a number from 1 to 100.")
    assert "The model is known after the first answer" in text
    assert ExitCode.OK == status


def test_history_joins_a_running_answer(run: Run) -> None:
    """Of a question that another client sent."""

    def answers(request: dict[str, Any]) -> list[dict[str, Any]]:
        if request["action"] == "history":
            return [
                {"type": "history", "turns": [{**turn(1, "a?", "b."), "state": "stopped"}]},
                {"type": "done", "running": "other"},
            ]
        assert ("resume", "other", 0) == tuple(
            request[name] for name in ("action", "request_id", "from_seq")
        )
        return [{"type": "delta", "text": "c."}, {"type": "done", "stop_reason": "end_turn"}]

    text, status = run([("_history", "")], answers)
    assert "› a? b. [stopped] An answer is in progress: c." in text
    assert ExitCode.OK == status


def test_an_empty_session_is_not_saved(run: Run, tmp_path: Path) -> None:
    """No file is written, and a message says so."""
    path = tmp_path / "saved.md"
    frames: list[dict[str, Any]] = [{"type": "history", "turns": []}, {"type": "done"}]
    text, _ = run([("_save", str(path))], lambda _: frames)
    assert "nothing was written" in text
    assert not path.exists()


@pytest.mark.parametrize("name", ["~nobody-of-that-name/x.md", "a\0b", "/nowhere/at/all"])
def test_a_file_that_cannot_be_written(run: Run, name: str) -> None:
    """It is reported, and the conversation continues."""
    frames: list[dict[str, Any]] = [{"type": "history", "turns": [turn(1, "a?", "b.")]}, DONE]
    text, _ = run([("_save", name)], lambda _: frames)
    assert "Cannot write " in text


def test_a_continuation_is_recognized(run: Run) -> None:
    """It is shown as the command, and saved as a continued answer."""
    for place in ("src/turn.py", "web/protocol.js"):
        assert f'CONTINUE = "{protocol.CONTINUE}' in (ROOT / place).read_text()
    turns = [turn(1, "a?", "b"), turn(2, f"{protocol.CONTINUE} Repeat nothing.", "c.")]

    text, _ = run([("_history", "")], lambda _: [{"type": "history", "turns": turns}, DONE])
    assert "› a? b › /continue c." == text
    assert to_markdown(turns).endswith("\nb\n\n## Answer 2, continuing the one before\n\nc.\n")


def test_the_entries_of_a_turn_are_joined() -> None:
    """A long turn arrives as several of them."""
    entries = [turn(1, "a", ""), turn(1, "b", "c"), turn(1, "", "d"), turn(2, "e", "f")]
    assert [turn(1, "ab", "cd"), turn(2, "e", "f")] == join_entries(entries)
    expected = "## Question 2\n\ne\n\n## Answer 2\n\nf\n"
    assert expected == to_markdown([turn(2, "e", "f")])

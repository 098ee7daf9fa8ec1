"""The interactive mode: prompt, commands and answers.

Rules
- A failed request leaves the prompt usable: the next one tries again, and connects again.
- No turns are stored here: the session is on the server, and `/save` requests them.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bedrock_chat import answer_view, commands, messages, prompt, protocol, rendering
from bedrock_chat.commands import Command, InvalidCommand, Question
from bedrock_chat.connection import AccessDeniedError, Connection, ConnectionLostError
from bedrock_chat.exit_codes import ExitCode
from bedrock_chat.interruptible import receive_all
from bedrock_chat.protocol import Exchange, Frame, QuestionTooLongError
from bedrock_chat.rendering import client_text
from bedrock_chat.sanitize import sanitize

DEFAULT_TURNS = 20
SESSION_CHARACTERS = 8  # of the session's id in the status line: enough to distinguish two
MAX_TURNS = 100  # of one `history` request

Turn = Mapping[str, Any]


class ChatLoop:
    """One interactive conversation. `exit_code` is how the last request ended."""

    def __init__(self, connection: Connection, console: Console, session_id: str) -> None:
        self.exit_code = ExitCode.OK
        self.session_id = session_id
        self._connection = connection
        self._console = console
        self._model = ""
        self._tokens = (0, 0)  # in, out
        self._quitting = False
        self._commands: Mapping[str, Callable[[str], Awaitable[None]]] = {
            "/new": self._new,
            "/history": self._history,
            "/clear": self._clear,
            "/continue": self._continue,
            "/model": self._show_model,
            "/save": self._save,
            "/help": self._help,
            "/quit": self._quit,
        }

    async def run(self, session: "PromptSession[str]") -> None:
        """Prompt and answer until the user quits. Raises QuitError."""
        while not self._quitting:
            try:
                typed = await session.prompt_async()
            except EOFError:
                return
            match commands.parse(typed):
                case Question(text):
                    await self._ask(text)
                case Command(name, argument):
                    await self._commands[name](argument)
                case InvalidCommand(message):
                    self._print(message, "chat.error")
                case None:
                    pass

    def status_line(self) -> str:
        """Return connection, session, tokens and model, cut to the terminal's width."""
        tokens_in, tokens_out = self._tokens
        parts = [
            "connected" if self._connection.is_open else "not connected; connects when you ask",
            f"session {self.session_id[:SESSION_CHARACTERS]}",
        ]
        if self._model:
            parts += [f"{tokens_in:,} tokens in, {tokens_out:,} out", self._model]
        return " · ".join(parts)[: self._console.width]

    # -- requests

    async def _ask(self, text: str) -> None:
        try:
            question = protocol.chat(text, self.session_id)
        except QuestionTooLongError as error:
            self._print(str(error), "chat.error")
            return
        await self._show_answer(Exchange(question))

    async def _show_answer(self, exchange: Exchange) -> None:
        """Show an answer as it arrives."""
        self._console.print()
        with answer_view.view_for(self._console) as view:
            self._connection.on_status = view.show_status

            def on_frame(frame: Frame) -> None:
                self._note(frame)
                view.show_frame(frame)

            failure = await self._receive(exchange, on_frame)
        if failure:
            self._print(failure, "chat.error")
        else:
            self._console.print()

    async def _receive(self, exchange: Exchange, on_frame: Callable[[Frame], None]) -> str:
        """Receive all frames of a request; return why the connection failed, or an empty string."""
        try:
            code = await receive_all(self._connection, exchange, on_frame)
        except (ConnectionLostError, AccessDeniedError) as error:
            denied = isinstance(error, AccessDeniedError)
            self.exit_code = ExitCode.NOT_AUTHENTICATED if denied else ExitCode.CONNECTION_FAILED
            return f"{error} The session is on the server: /history shows it after reconnecting."
        self.exit_code = ExitCode.OK if code is ExitCode.INTERRUPTED else code
        return ""

    async def _request_turns(self, request: Frame) -> tuple[list[Turn], Frame]:
        """Send a request that is not streamed; return its turns and its last frame.

        Both are empty if it failed.
        """
        exchange, entries = Exchange(request), list[Turn]()
        self._connection.on_status = lambda _: None

        def on_frame(frame: Frame) -> None:
            entries.extend(frame.get("turns", ()))

        if failure := await self._receive(exchange, on_frame):
            self._print(failure, "chat.error")
            return [], {}
        last = exchange.last_frame or {}
        if last.get("type") == "error":
            self._print(messages.error_text(last), "chat.error")
            return [], {}
        return join_entries(entries), last

    def _note(self, frame: Frame) -> None:
        """Update what the status line shows."""
        match frame:
            case {"type": "start", "model": str(model)}:
                self._model = sanitize(model)
            case {"type": "done", "usage": dict(usage)}:
                tokens_in, tokens_out = self._tokens
                self._tokens = (
                    tokens_in + usage.get("input_tokens", 0),
                    tokens_out + usage.get("output_tokens", 0),
                )
            case _:
                pass

    def _print(self, text: str, style: str = "chat.secondary") -> None:
        width = rendering.width(self._console)
        self._console.print(client_text(sanitize(text), style), width=width)
        self._console.print()

    # -- commands

    async def _new(self, _argument: str) -> None:
        self.session_id, self._tokens = protocol.new_id(), (0, 0)
        self._print(f"New session: {self.session_id}")

    async def _history(self, argument: str) -> None:
        if argument and not (argument.isdecimal() and 1 <= int(argument) <= MAX_TURNS):
            self._print(f"/history takes a number from 1 to {MAX_TURNS}.", "chat.error")
            return
        limit = int(argument or DEFAULT_TURNS)
        turns, last = await self._request_turns(protocol.history(self.session_id, limit))
        if last and not turns:
            self._print("This session has no turns.")
        for turn in turns:
            self._show_turn(turn)
        if running := last.get("running"):
            self._print("An answer is in progress:")
            await self._show_answer(Exchange(protocol.resume(self.session_id, running)))

    def _show_turn(self, turn: Turn) -> None:
        width = rendering.width(self._console)
        question = "/continue" if protocol.is_continuation(turn) else sanitize(turn["user"])
        self._console.print(client_text(prompt.MARK + question, "chat.question"), width=width)
        self._console.print()
        with answer_view.view_for(self._console) as view:
            view.show_frame({"type": "delta", "text": turn["assistant"]})
        if turn["state"] != "complete":
            self._console.print(client_text(f"[{turn['state']}]"))
        self._console.print()

    async def _clear(self, _argument: str) -> None:
        _, last = await self._request_turns(protocol.clear(self.session_id))
        if last:
            self._print(f"{turn_count(last.get('cleared', 0))} deleted.")

    async def _continue(self, _argument: str) -> None:
        await self._show_answer(Exchange(protocol.continue_answer(self.session_id)))

    async def _show_model(self, _argument: str) -> None:
        model = self._model or "The model is known after the first answer"
        self._print(f"{model}. The deployment selects the model; it cannot be changed here.")

    async def _save(self, argument: str) -> None:
        turns, last = await self._request_turns(protocol.history(self.session_id, MAX_TURNS))
        if not last:
            return
        if not turns:
            self._print("This session has no turns; nothing was written.")
            return
        name = argument or f"chat-{datetime.now().astimezone():%Y%m%d-%H%M%S}.md"
        try:
            write_new_file(name, to_markdown(turns))
        except (OSError, RuntimeError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
            self._print(f"Cannot write {name}: {reason}.", "chat.error")
        else:
            self._print(f"{turn_count(len(turns))} written to {name}")

    async def _help(self, _argument: str) -> None:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(style="chat.secondary")
        for name, does in commands.help_rows():
            table.add_row(Text(name), Text(does))
        self._console.print(table, width=rendering.width(self._console))
        self._console.print()

    async def _quit(self, _argument: str) -> None:
        self._quitting = True


def join_entries(entries: Sequence[Turn]) -> list[Turn]:
    """Return whole turns: a long turn arrives as several entries with the same number."""
    turns: list[dict[str, Any]] = []
    for entry in entries:
        if turns and turns[-1]["turn"] == entry["turn"]:
            for part in ("user", "assistant"):
                turns[-1][part] += entry[part]
        else:
            turns.append(dict(entry))
    return list(turns)


def turn_count(turns: int) -> str:
    """Return the number with its unit: "1 turn", "2 turns"."""
    return f"{turns} turn{'' if turns == 1 else 's'}"


def write_new_file(name: str, text: str) -> None:
    """Write a new file; an existing one is never overwritten.

    Raises OSError; RuntimeError if the named user has no home directory; ValueError if the name
    cannot be a file's.
    """
    with Path(name).expanduser().open("x", encoding="utf-8") as file:
        file.write(text)


def to_markdown(turns: Sequence[Turn]) -> str:
    """Return the turns as Markdown."""
    return "\n".join(map(_section, turns))


def _section(turn: Turn) -> str:
    number, answer = turn["turn"], turn["assistant"]
    if protocol.is_continuation(turn):
        return f"## Answer {number}, continuing the one before\n\n{answer}\n"
    return f"## Question {number}\n\n{turn['user']}\n\n## Answer {number}\n\n{answer}\n"

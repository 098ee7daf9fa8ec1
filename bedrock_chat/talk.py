"""A conversation at a terminal: prompt, commands, answers.

Rules
- A request that fails leaves the prompt as it was: the next one tries anew, the connection too.
- Nothing is kept here of what was said: the session is on the server, and `/save` asks for it.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bedrock_chat import commands, prompt, protocol, rendering, view, words
from bedrock_chat.commands import Command, Mistake, Question
from bedrock_chat.connection import Link, LostError, RefusedError
from bedrock_chat.disarm import disarm
from bedrock_chat.exits import Exit
from bedrock_chat.listening import listen
from bedrock_chat.protocol import Exchange, Frame, TooLongError
from bedrock_chat.rendering import aside

SHOWN_TURNS = 20
SHOWN_CHARACTERS = 8  # of a session's id: enough to tell two apart
MOST_TURNS = 100  # what one `history` may ask for

Turn = Mapping[str, Any]


class Talk:
    """One person's conversation. `status` is how the last request ended."""

    def __init__(self, link: Link, console: Console, session_id: str) -> None:
        self.status = Exit.FINE
        self.session_id = session_id
        self._link = link
        self._console = console
        self._model = ""
        self._tokens = (0, 0)
        self._leaving = False
        self._commands: Mapping[str, Callable[[str], Awaitable[None]]] = {
            "/new": self._new,
            "/history": self._history,
            "/clear": self._clear,
            "/continue": self._continue,
            "/model": self._tell_model,
            "/save": self._save,
            "/help": self._help,
            "/quit": self._quit,
        }

    async def run(self, session: "PromptSession[str]") -> None:
        """Asks and answers until the person leaves. Raises LeftError."""
        while not self._leaving:
            try:
                typed = await session.prompt_async()
            except EOFError:
                return
            match commands.parse(typed):
                case Question(text):
                    await self._ask(text)
                case Command(name, argument):
                    await self._commands[name](argument)
                case Mistake(message):
                    self._say(message, "chat.error")
                case None:
                    pass

    def toolbar(self) -> str:
        """How things are, in one line that fits."""
        sent, got = self._tokens
        said = [
            "connected" if self._link.is_open else "not connected; connects when you ask",
            f"session {self.session_id[:SHOWN_CHARACTERS]}",
            *([f"{sent:,} tokens in, {got:,} out", self._model] if self._model else []),
        ]
        return " · ".join(said)[: self._console.width]

    # -- requests

    async def _ask(self, text: str) -> None:
        try:
            question = protocol.chat(text, self.session_id)
        except TooLongError as error:
            self._say(str(error), "chat.error")
            return
        await self._answer(Exchange(question))

    async def _answer(self, exchange: Exchange) -> None:
        """Shows an answer as it arrives."""
        self._console.print()
        with view.answer(self._console) as shown:
            self._link.notice = shown.say

            def hear(frame: Frame) -> None:
                self._note(frame)
                shown.hear(frame)

            lost = await self._heard(exchange, hear)
        if lost:
            self._say(lost, "chat.error")
        else:
            self._console.print()

    async def _heard(self, exchange: Exchange, hear: Callable[[Frame], None]) -> str:
        """Hears a request out; why there is no connection, where there is none."""
        try:
            ended = await listen(self._link, exchange, hear)
        except (LostError, RefusedError) as error:
            self.status = Exit.REFUSED if isinstance(error, RefusedError) else Exit.LOST
            return f"{error} The session is kept: /history shows it, when there is a way."
        self.status = Exit.FINE if ended is Exit.INTERRUPTED else ended
        return ""

    async def _told(self, request: Frame) -> tuple[list[Turn], Frame]:
        """A request that is not streamed: its turns, and its last frame; empty if it failed."""
        exchange, turns = Exchange(request), list[Turn]()
        self._link.notice = lambda _: None

        def hear(frame: Frame) -> None:
            turns.extend(frame.get("turns", ()))

        if lost := await self._heard(exchange, hear):
            self._say(lost, "chat.error")
            return [], {}
        end = exchange.end or {}
        if end.get("type") == "error":
            self._say(words.failure(end), "chat.error")
            return [], {}
        return joined(turns), end

    def _note(self, frame: Frame) -> None:
        match frame:
            case {"type": "start", "model": str(model)}:
                self._model = disarm(model)
            case {"type": "done", "usage": dict(usage)}:
                sent, got = self._tokens
                more = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
                self._tokens = sent + more[0], got + more[1]
            case _:
                pass

    def _say(self, text: str, style: str = "chat.aside") -> None:
        self._console.print(aside(disarm(text), style), width=rendering.width(self._console))
        self._console.print()

    # -- commands

    async def _new(self, _argument: str) -> None:
        self.session_id, self._tokens = protocol.new_id(), (0, 0)
        self._say(f"A new session: {self.session_id}")

    async def _history(self, argument: str) -> None:
        if argument and not (argument.isdecimal() and 1 <= int(argument) <= MOST_TURNS):
            self._say(f"/history takes a number from 1 to {MOST_TURNS}.", "chat.error")
            return
        limit = int(argument or SHOWN_TURNS)
        turns, end = await self._told(protocol.history(self.session_id, limit))
        if end and not turns:
            self._say("Nothing has been said in this session.")
        for turn in turns:
            self._show(turn)
        if running := end.get("running"):
            self._say("An answer is being given; here it is:")
            await self._answer(Exchange(protocol.resume(self.session_id, running)))

    def _show(self, turn: Turn) -> None:
        width = rendering.width(self._console)
        typed = "/continue" if protocol.goes_on(turn) else disarm(turn["user"])
        self._console.print(aside(prompt.MARK + typed, "chat.name"), width=width)
        self._console.print()
        with view.answer(self._console) as shown:
            shown.hear({"type": "delta", "text": turn["assistant"]})
        if turn["state"] != "complete":
            self._console.print(aside(f"[{turn['state']}]"))
        self._console.print()

    async def _clear(self, _argument: str) -> None:
        _, end = await self._told(protocol.clear(self.session_id))
        if end:
            self._say(f"{counted(end.get('cleared', 0))} forgotten.")

    async def _continue(self, _argument: str) -> None:
        await self._answer(Exchange(protocol.go_on(self.session_id)))

    async def _tell_model(self, _argument: str) -> None:
        model = self._model or "It is told with the first answer"
        self._say(f"{model}. The deployment decides which: here it cannot be changed.")

    async def _save(self, argument: str) -> None:
        turns, end = await self._told(protocol.history(self.session_id, MOST_TURNS))
        if not end:
            return
        if not turns:
            self._say("Nothing has been said in this session, and nothing was written.")
            return
        name = argument or f"chat-{datetime.now().astimezone():%Y%m%d-%H%M%S}.md"
        try:
            write(name, transcript(turns))
        except (OSError, RuntimeError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
            self._say(f"{name} cannot be written: {why}.", "chat.error")
        else:
            self._say(f"{counted(len(turns))} written to {name}")

    async def _help(self, _argument: str) -> None:
        rows = Table.grid(padding=(0, 2, 0, 0))
        rows.add_column(no_wrap=True)
        rows.add_column(style="chat.aside")
        for what, does in commands.listing():
            rows.add_row(Text(what), Text(does))
        self._console.print(rows, width=rendering.width(self._console))
        self._console.print()

    async def _quit(self, _argument: str) -> None:
        self._leaving = True


def joined(entries: Sequence[Turn]) -> list[Turn]:
    """The turns, each whole: a long one comes in several entries with the same number."""
    turns: list[dict[str, Any]] = []
    for entry in entries:
        if turns and turns[-1]["turn"] == entry["turn"]:
            for part in ("user", "assistant"):
                turns[-1][part] += entry[part]
        else:
            turns.append(dict(entry))
    return list(turns)


def counted(turns: int) -> str:
    """So many turns, in words."""
    return f"{turns} turn{'' if turns == 1 else 's'}"


def write(name: str, text: str) -> None:
    """Writes a new file; never over another one.

    Raises OSError; RuntimeError where nobody has the home that is named; ValueError where the name
    can be no file's.
    """
    with Path(name).expanduser().open("x", encoding="utf-8") as file:
        file.write(text)


def transcript(turns: Sequence[Turn]) -> str:
    """The turns as Markdown."""
    return "\n".join(map(_section, turns))


def _section(turn: Turn) -> str:
    number, answer = turn["turn"], turn["assistant"]
    if protocol.goes_on(turn):
        return f"## Answer {number}, the rest of the one before\n\n{answer}\n"
    return f"## Question {number}\n\n{turn['user']}\n\n## Answer {number}\n\n{answer}\n"

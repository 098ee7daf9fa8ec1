"""The command `bedrock-chat`: what was asked for, and how it went.

Rules
- With a terminal on both sides it is a conversation; with `-m`, `--file`, `--json` or a pipe on
  either side it is one question.
- Whatever goes wrong is a sentence on standard error and a status of `exits`, never a traceback.
"""

import argparse
import asyncio
import os
import sys
from io import TextIOWrapper
from pathlib import Path

from rich.console import Console

from bedrock_chat import protocol
from bedrock_chat.connection import Door, Link, LostError, RefusedError
from bedrock_chat.exits import MEANINGS, Exit
from bedrock_chat.listening import LeftError
from bedrock_chat.protocol import TooLongError

DEFAULT_URL = "ws://127.0.0.1:3001"

EPILOG = "exit status:\n" + "\n".join(f"  {each:<4}{means}" for each, means in MEANINGS.items())


class UsageError(Exception):
    """There is nothing to ask. The message says why."""


def parser() -> argparse.ArgumentParser:
    """What may be asked for."""
    made = argparse.ArgumentParser(
        prog="bedrock-chat",
        description="Talk to a bedrock-stream-chat server. Without -m, --file or a pipe: a prompt.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "url",
        nargs="?",
        default=os.environ.get("CHAT_URL") or DEFAULT_URL,
        metavar="URL",
        help=f"ws:// or wss:// (default: the variable CHAT_URL, or {DEFAULT_URL})",
    )
    question = made.add_mutually_exclusive_group()
    question.add_argument("-m", "--message", metavar="TEXT", help="ask this, print the answer")
    question.add_argument("--file", type=Path, metavar="PATH", help="ask what the file says")
    made.add_argument("--json", action="store_true", help="print the frames, a line of JSON each")
    made.add_argument("--session", metavar="ID", help="go on with this session")
    made.add_argument("--sign", action="store_true", help="sign with your AWS credentials (IAM)")
    made.add_argument("--region", default="", help="with --sign: where the URL does not tell it")
    made.add_argument("--profile", help="with --sign: whose credentials (default: as AWS's tools)")
    made.add_argument(
        "--token",
        default=os.environ.get("CHAT_TOKEN", ""),
        help="of your issuer; others on this machine can read arguments, so rather CHAT_TOKEN",
    )
    made.add_argument("--no-history", action="store_true", help="keep no file of what was asked")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status."""
    asked = parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a character that is not to be had there is no error
            stream.reconfigure(errors="replace")
    try:
        return _run(asked)
    except (UsageError, TooLongError) as error:
        return _failed(error, Exit.USAGE)
    except LostError as error:
        return _failed(error, Exit.LOST)
    except RefusedError as error:
        return _failed(error, Exit.REFUSED)
    except (KeyboardInterrupt, LeftError):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Python would try to write what is left when it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.UNREAD


def _failed(error: Exception, status: Exit) -> Exit:
    sys.stderr.write(f"bedrock-chat: {error}\n")
    return status


def _run(asked: argparse.Namespace) -> Exit:
    door = Door(
        url=asked.url,
        token=asked.token,
        sign=asked.sign,
        region=asked.region,
        profile=asked.profile,
    )
    if mistake := door.mistake():
        raise UsageError(mistake)
    session_id = asked.session or protocol.new_id()
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if terminal and asked.message is None and asked.file is None and not asked.json:
        return asyncio.run(_talk(asked, door, session_id))
    # Read before there is a loop: Ctrl-C then ends the wait for standard input.
    question = protocol.chat(_question(asked), session_id)
    return asyncio.run(_ask(door, question, as_json=asked.json))


async def _ask(door: Door, question: protocol.Frame, *, as_json: bool) -> Exit:
    from bedrock_chat import pipe  # noqa: PLC0415 - each way imports what it needs

    link = Link(door, pipe.say)
    await link.open()
    try:
        return await pipe.ask(link, question, as_json=as_json)
    finally:
        await link.close()


def _question(asked: argparse.Namespace) -> str:
    if asked.message is not None:
        raw = os.fsencode(asked.message)
    elif asked.file is not None:
        try:
            raw = asked.file.read_bytes()
        except OSError as error:
            raise UsageError(f"{asked.file} cannot be read: {error.strerror}.") from None
    else:
        raw = sys.stdin.buffer.read()
    question = raw.decode("utf-8", "replace")
    if not question.strip():
        raise UsageError("There is no question. See bedrock-chat --help.")
    return question.rstrip("\n")


async def _talk(asked: argparse.Namespace, door: Door, session_id: str) -> Exit:
    from bedrock_chat import prompt, rendering  # noqa: PLC0415 - each way imports what it needs
    from bedrock_chat.talk import Talk  # noqa: PLC0415

    console = Console(theme=rendering.THEME, highlight=False)
    link = Link(door)
    await link.open()
    talk = Talk(link, console, session_id)
    try:
        past = prompt.history(None if asked.no_history else prompt.history_file())
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be used: {error}; see --no-history.") from None
    console.print(rendering.aside(f"{door.place} · /help lists the commands"))
    console.print()
    try:
        await talk.run(prompt.prompt(past, talk.toolbar))
    finally:
        console.print(rendering.aside(f"To come back: bedrock-chat --session {talk.session_id}"))
        await link.close()
    return talk.status

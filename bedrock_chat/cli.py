"""The `bedrock-chat` command: arguments, mode and exit code.

Rules
- If standard input and output are terminals, it starts a conversation at a prompt; with `-m`,
  `--file`, `--json` or a pipe on either side, it sends one question.
- Every failure is a sentence on standard error and a code of `exit_codes`, never a traceback.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from rich.console import Console

from bedrock_chat import protocol
from bedrock_chat.connection import AccessDeniedError, Connection, ConnectionLostError, Endpoint
from bedrock_chat.exit_codes import MEANINGS, ExitCode
from bedrock_chat.interruptible import QuitError
from bedrock_chat.issuer import Client, Kind, SignInError
from bedrock_chat.json_requests import UnreachableError
from bedrock_chat.protocol import QuestionTooLongError

DEFAULT_URL = "ws://127.0.0.1:3001"

EPILOG = "exit status:\n" + "\n".join(f"  {code:<4}{means}" for code, means in MEANINGS.items())


class UsageError(Exception):
    """The arguments are invalid, or there is no question. The message says which."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    made = argparse.ArgumentParser(
        prog="bedrock-chat",
        description="Chat with a bedrock-stream-chat server.\n"
        "Without -m, --file, --json or a pipe, it starts an interactive prompt.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "url",
        nargs="?",
        default=os.environ.get("CHAT_URL") or DEFAULT_URL,
        metavar="URL",
        help="of the server, ws:// or wss://; or of its web page, https://, to sign in as the page "
        f"does (default: the variable CHAT_URL, or {DEFAULT_URL})",
    )
    question = made.add_mutually_exclusive_group()
    question.add_argument("-m", "--message", metavar="TEXT", help="the question to send")
    question.add_argument("--file", type=Path, metavar="PATH", help="read the question from a file")
    made.add_argument("--json", action="store_true", help="print the frames as JSON, one per line")
    made.add_argument("--session", metavar="ID", help="continue this session")
    made.add_argument("--sign", action="store_true", help="sign with your AWS credentials (IAM)")
    made.add_argument("--region", default="", help="AWS Region for --sign, if not in the URL")
    made.add_argument("--profile", help="AWS profile for --sign (default: as the AWS CLI)")
    made.add_argument(
        "--token",
        default=os.environ.get("CHAT_TOKEN", ""),
        help="a JWT of your issuer. Other users of this machine can read arguments; prefer the "
        "variable CHAT_TOKEN",
    )
    made.add_argument("--page", metavar="URL", help="the server's web page, if there is one")
    made.add_argument("--issuer", metavar="URL", help="sign in at this OpenID Connect issuer")
    made.add_argument("--client-id", metavar="ID", help="this client's id at --issuer")
    made.add_argument("--scope", default="openid", help="for --issuer (default: openid)")
    made.add_argument("--access-token", action="store_true", help="send it, not the ID token")
    made.add_argument("--sign-out", action="store_true", help="delete stored sign-ins, and exit")
    made.add_argument("--no-history", action="store_true", help="do not save typed lines to a file")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a character the encoding lacks must not fail
            stream.reconfigure(errors="replace")
    try:
        return _run(options)
    except (UsageError, QuestionTooLongError) as error:
        return _fail(error, ExitCode.USAGE)
    except (ConnectionLostError, UnreachableError) as error:
        return _fail(error, ExitCode.CONNECTION_FAILED)
    except (AccessDeniedError, SignInError) as error:
        return _fail(error, ExitCode.NOT_AUTHENTICATED)
    except (KeyboardInterrupt, QuitError):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Python flushes standard output at exit, and would report the broken pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.BROKEN_PIPE


def _fail(error: Exception, code: ExitCode) -> ExitCode:
    sys.stderr.write(f"bedrock-chat: {error}\n")
    return code


def _run(options: argparse.Namespace) -> ExitCode:
    if options.sign_out:
        return _sign_out()
    endpoint = _endpoint(options)
    if error := endpoint.validation_error():
        raise UsageError(error)
    session_id = options.session or protocol.new_id()
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if terminal and options.message is None and options.file is None and not options.json:
        return _signed_in(endpoint, lambda: _chat(options, endpoint, session_id))
    # Read before the event loop starts: Ctrl-C then interrupts reading standard input.
    question = protocol.chat(_question(options), session_id)
    return _signed_in(endpoint, lambda: _ask(endpoint, question, as_json=options.json))


def _signed_in(endpoint: Endpoint, work: Callable[[], Coroutine[Any, Any, ExitCode]]) -> ExitCode:
    """Run `work` once the user is signed in, if the server requires it.

    Outside of the event loop, so that Ctrl-C interrupts signing in.
    """
    if endpoint.sign_in is None:
        return asyncio.run(work())
    endpoint.sign_in.ensure()
    try:
        return asyncio.run(work())
    except AccessDeniedError:
        if not endpoint.sign_in.may_be_stale:
            raise
    endpoint.sign_in.again()
    return asyncio.run(work())


def _sign_out() -> ExitCode:
    from bedrock_chat import token_file  # noqa: PLC0415 - as in _ask

    count = token_file.delete_all()
    sys.stderr.write(f"bedrock-chat: {count} stored sign-in{'s' * (count != 1)} deleted\n")
    return ExitCode.OK


def _endpoint(options: argparse.Namespace) -> Endpoint:
    """Return the server and how to authenticate, from the options or from its web page.

    Raises UsageError, UnreachableError.
    """
    if bool(options.issuer) != bool(options.client_id):
        raise UsageError("--issuer and --client-id must be set together.")
    url, sign, client = options.url, options.sign, None
    if options.issuer:
        kind: Kind = "access_token" if options.access_token else "id_token"
        client = Client(
            issuer=options.issuer, client_id=options.client_id, scope=options.scope, kind=kind
        )
    elif url.startswith("http") or options.page:
        url, sign, client = _from_page(options)
    sign_in = None
    if client and not options.token and not sign:
        from bedrock_chat.one_shot import print_status  # noqa: PLC0415 - as in _ask
        from bedrock_chat.sign_in import SignIn  # noqa: PLC0415 - as in _ask
        from bedrock_chat.token_file import TokenFile  # noqa: PLC0415 - as in _ask

        sign_in = SignIn(client, TokenFile.of(url, client), print_status)
    return Endpoint(
        url=url,
        token=options.token,
        sign_in=sign_in,
        sign=sign,
        region=options.region,
        profile=options.profile,
    )


def _from_page(options: argparse.Namespace) -> tuple[str, bool, Client | None]:
    """Return the URL, whether to sign, and the client, as the server's web page says.

    Without a page at --page, or if it is another server's, what the other options say.
    """
    from bedrock_chat import page_config  # noqa: PLC0415 - as in _ask
    from bedrock_chat.one_shot import print_status  # noqa: PLC0415 - as in _ask

    if page_config.is_page(options.url):
        found = page_config.read(options.url)
        return found.websocket_url, options.sign or found.sign, found.client
    if options.page and not (options.token or options.sign):
        try:
            found = page_config.read(options.page)
        except UnreachableError as error:
            print_status(f"{error} Connecting without signing in.")
        else:
            if found.websocket_url == options.url:
                return found.websocket_url, False, found.client
    return options.url, options.sign, None


async def _ask(endpoint: Endpoint, question: protocol.Frame, *, as_json: bool) -> ExitCode:
    from bedrock_chat import one_shot  # noqa: PLC0415 - each mode imports only what it needs

    connection = Connection(endpoint, one_shot.print_status)
    await connection.open()
    try:
        return await one_shot.ask(connection, question, as_json=as_json)
    finally:
        await connection.close()


def _question(options: argparse.Namespace) -> str:
    if options.message is not None:
        raw = os.fsencode(options.message)
    elif options.file is not None:
        try:
            raw = options.file.read_bytes()
        except OSError as error:
            raise UsageError(f"Cannot read {options.file}: {error.strerror}.") from None
    else:
        raw = sys.stdin.buffer.read()
    question = raw.decode("utf-8", "replace")
    if not question.strip():
        raise UsageError("The question is empty. See bedrock-chat --help.")
    return question.rstrip("\n")


async def _chat(options: argparse.Namespace, endpoint: Endpoint, session_id: str) -> ExitCode:
    from bedrock_chat import prompt, rendering  # noqa: PLC0415 - as in _ask
    from bedrock_chat.chat_loop import ChatLoop  # noqa: PLC0415

    console = Console(theme=rendering.THEME, highlight=False)
    connection = Connection(endpoint)
    await connection.open()
    loop = ChatLoop(connection, console, session_id)
    try:
        typed_lines = prompt.history(None if options.no_history else prompt.history_file())
    except OSError as error:
        raise UsageError(
            f"Cannot use the history file {error.filename}: {error.strerror}. "
            "--no-history runs without one."
        ) from None
    console.print(rendering.client_text(f"{endpoint.display_url} · /help lists the commands"))
    console.print()
    try:
        await loop.run(prompt.prompt(typed_lines, loop.status_line))
    finally:
        resume = f"To continue this session: bedrock-chat --session {loop.session_id}"
        console.print(rendering.client_text(resume))
        await connection.close()
    return loop.exit_code

"""Covers bedrock_chat/messages.py and commands.py: messages, and parsing typed lines."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from bedrock_chat import messages
from bedrock_chat.commands import (
    COMMANDS,
    Command,
    InvalidCommand,
    Question,
    help_rows,
    parse,
)
from errors import CODES


def test_every_code_has_advice() -> None:
    """Each of the server's codes is in the table, except `duplicate`, which is never shown."""
    assert set(CODES) - {"duplicate"} == set(messages.ADVICE)


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (
            {"code": "busy", "message": "It is busy."},
            "It is busy. Wait until the other answer ends",
        ),
        ({"code": "unknown", "message": "It broke."}, "It broke."),
        ({}, "The answer failed."),
        ({"message": "It \x1b[2J\x9b broke."}, "It ␛[2J\ufffd broke."),
    ],
)
def test_an_error_is_explained(frame: dict[str, str], text: str) -> None:
    """By the server's sentence and advice; an unknown code has no advice."""
    assert messages.error_text(frame).startswith(text)


@pytest.mark.parametrize("code", messages.ADVICE)
def test_advice_without_a_prompt(code: str) -> None:
    """It names no command, because there are none."""
    frame = {"code": code, "message": "No."}
    assert " /" not in messages.error_text(frame, new_session="--session")


def test_the_time_of_a_retry_is_local() -> None:
    """It is part of the error's text."""
    at = int(time.time()) + 60
    text = messages.error_text({"code": "over_budget", "message": "Enough.", "retry_at": at})
    assert f"Enough. You can ask again from {datetime.fromtimestamp(at).astimezone():%H:%M}" in text


def test_a_time_on_another_day_has_its_date() -> None:
    """A time today has none."""
    now = datetime(2026, 3, 1, 12, tzinfo=UTC).astimezone()
    assert f"{now:%H:%M}" == messages.local_time(int(now.timestamp()), now)
    later = now + timedelta(days=1)
    assert messages.local_time(int(later.timestamp()), now).endswith("on Monday, 02 March")


@pytest.mark.parametrize(
    ("frame", "line"),
    [
        ({"stop_reason": "end_turn"}, ""),
        ({"usage": {}, "latency_ms": {"total": 999}}, "999 ms total"),
        (
            {
                "stop_reason": "stopped",
                "usage": {"input_tokens": 1234, "output_tokens": 5},
                "latency_ms": {"first_token": 4, "total": 3_400},
            },
            (
                "stopped; /continue continues it · 1,234 tokens in, 5 out · "
                "4 ms to first token, 3.4 s total"
            ),
        ),
    ],
)
def test_the_line_below_an_answer(frame: dict[str, object], line: str) -> None:
    """It contains only what the frame reports."""
    assert line == messages.answer_footer(frame)


def test_continuable_answers_are_explained() -> None:
    """Their stop reasons have a text; it names no command, which only the prompt has."""
    assert set(messages.CONTINUABLE) < set(messages.STOP_REASONS)
    assert not [text for text in messages.STOP_REASONS.values() if "/" in text]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("", None),
        (" \n ", None),
        ("hello\nthere\n", Question("hello\nthere")),
        ("    code", Question("    code")),
        ("//etc", Question("/etc")),
        ("/new", Command("/new", "")),
        (" /history 5 ", Command("/history", "5")),
        ("/save a b.md", Command("/save", "a b.md")),
    ],
)
def test_a_typed_line_is_parsed(typed: str, meant: Command | Question | None) -> None:
    """It is a question, a command, or blank."""
    assert meant == parse(typed)


@pytest.mark.parametrize("typed", ["/", "/nwe", "/NEW", "/new now", "/etc/passwd"])
def test_an_unknown_command_is_never_sent(typed: str) -> None:
    """A line with a slash that is no command, or has an unexpected argument, is an error."""
    assert isinstance(parse(typed), InvalidCommand)


def test_help_lists_every_command() -> None:
    """By its name."""
    assert set(COMMANDS) <= {row.split()[0] for row, _ in help_rows()}

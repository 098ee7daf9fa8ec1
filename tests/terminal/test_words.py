"""Covers bedrock_chat/words.py and commands.py: what is said, and what a typed line means."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from bedrock_chat import words
from bedrock_chat.commands import COMMANDS, Command, Mistake, Question, listing, parse
from errors import CODES


def test_every_code_has_advice() -> None:
    """Each code that the server may tell is in the table; `duplicate` is never shown to anybody."""
    assert set(CODES) - {"duplicate"} == set(words.ADVICE)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ({"code": "busy", "message": "It is busy."}, "It is busy. Wait for the other answer"),
        ({"code": "of_tomorrow", "message": "It broke."}, "It broke."),
        ({}, "The answer failed."),
        ({"message": "It \x1b[2J\x9b broke."}, "It ␛[2J\ufffd broke."),
    ],
)
def test_failures(frame: dict[str, str], said: str) -> None:
    """The server's sentence, and what to do; a code that is new here is no trouble."""
    assert words.failure(frame).startswith(said)


@pytest.mark.parametrize("code", words.ADVICE)
def test_advice_without_a_prompt(code: str) -> None:
    """Names no command, for there are none."""
    assert " /" not in words.failure({"code": code, "message": "No."}, anew="--session")


def test_retry_at() -> None:
    """Is told by the clock on the wall."""
    at = int(time.time()) + 60
    said = words.failure({"code": "over_budget", "message": "Enough.", "retry_at": at})
    assert f"Enough. You can ask again from {datetime.fromtimestamp(at).astimezone():%H:%M}" in said


def test_another_day() -> None:
    """Is told with its date."""
    now = datetime(2026, 3, 1, 12, tzinfo=UTC).astimezone()
    assert f"{now:%H:%M}" == words.local_time(int(now.timestamp()), now)
    later = now + timedelta(days=1)
    assert words.local_time(int(later.timestamp()), now).endswith("on Monday, 02 March")


@pytest.mark.parametrize(
    ("frame", "line"),
    [
        ({"stop_reason": "end_turn"}, ""),
        ({"usage": {}, "latency_ms": {"total": 999}}, "999 ms in all"),
        (
            {
                "stop_reason": "stopped",
                "usage": {"input_tokens": 1234, "output_tokens": 5},
                "latency_ms": {"first_token": 4, "total": 3_400},
            },
            "stopped; /continue goes on · 1,234 tokens in, 5 out · 4 ms to the first, 3.4 s in all",
        ),
    ],
)
def test_the_line_under_an_answer(frame: dict[str, object], line: str) -> None:
    """Only what was told."""
    assert line == words.closing(frame)


def test_what_may_go_on() -> None:
    """Is some of what is told; only at a prompt it is told how."""
    assert set(words.GO_ON) < set(words.ENDS)
    assert not [said for said in words.ENDS.values() if "/" in said]


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
def test_lines(typed: str, meant: Command | Question | None) -> None:
    """A question, a command, or nothing."""
    assert meant == parse(typed)


@pytest.mark.parametrize("typed", ["/", "/nwe", "/NEW", "/new now", "/etc/passwd"])
def test_mistakes(typed: str) -> None:
    """What begins with a slash and is no command is never sent."""
    assert isinstance(parse(typed), Mistake)


def test_the_listing() -> None:
    """Has every command."""
    assert set(COMMANDS) <= {what.split()[0] for what, _ in listing()}

"""The scripted model's answers to scripts, without a server and with a fake clock."""

import asyncio
import json
from typing import Any

import pytest

from local.bedrock.pieces import (
    End,
    Fault,
    Piece,
    Prompt,
    Reasoning,
    ServiceError,
    Text,
    Turn,
    Unknown,
)
from local.bedrock.script import MAX_CHUNKS, Plan, Scripted, plan


def prompt(text: str, **changes: Any) -> Prompt:
    settings: dict[str, Any] = {"max_tokens": 1000, "body": "b" * 400, **changes}
    return Prompt(system="", turns=(Turn("user", (text,)),), **settings)


def scripted(limits: dict[str, Any] | None = None, **script: Any) -> Plan:
    return plan(prompt("/script " + json.dumps(script), **(limits or {})))


def text(plan: Plan) -> str:
    return "".join(piece.text for piece in plan.pieces if isinstance(piece, Text))


def last(plan: Plan) -> Piece:
    return plan.pieces[-1]


def test_other_text_is_repeated_word_by_word() -> None:
    """White space is preserved, and the end counts the chunks."""
    planned = plan(prompt("two  words\nand 漢字 "))

    assert [piece.text for piece in planned.pieces if isinstance(piece, Text)] == [
        "You said: ",
        "two  ",
        "words\n",
        "and ",
        "漢字 ",
    ]
    assert last(planned) == End("end", input_tokens=100, output_tokens=5)


def test_a_script_sets_number_text_and_rate_of_chunks() -> None:
    """The defaults are ten times `w `, without pauses."""
    assert text(scripted(chunks=3, text="ab")) == "ababab"
    assert text(scripted()) == "w " * 10
    assert scripted().rate == 0
    assert scripted(rate=2.5).rate == 2.5


def test_an_answer_may_have_no_chunks() -> None:
    """It ends at once and counts one token."""
    assert scripted(chunks=0).pieces == (End("end", 100, 1),)


def test_an_echo_returns_the_complete_body() -> None:
    """In several chunks, and regardless of `max_tokens`."""
    body = '{"messages": "größer"}' * 40
    echo = scripted({"body": body, "max_tokens": 1, "stop_sequences": ("e",)}, echo=True)

    assert text(echo) == body
    assert len(echo.pieces) > 5
    assert isinstance(last(echo), End)


def test_reasoning_precedes_text_and_counts_as_output() -> None:
    """Both kinds of chunk are output tokens."""
    planned = scripted(chunks=2, reasoning=3)

    assert [type(piece) for piece in planned.pieces] == [*[Reasoning] * 3, Text, Text, End]
    assert last(planned) == End("end", 100, 5)


def test_unknown_pieces_are_inserted_between_others() -> None:
    """At the start, after the first chunk and before the end; the text is the same."""
    kinds = [type(piece) for piece in scripted(chunks=3, unknown=True).pieces]

    assert kinds == [Unknown, Text, Unknown, Text, Text, Unknown, End]
    assert isinstance(last(scripted(chunks=0, unknown=True)), End)


def test_max_tokens_cuts_the_answer() -> None:
    """One chunk is one token, reasoning included."""
    cut = scripted({"max_tokens": 4}, chunks=50, reasoning=3)

    assert text(cut) == "w "
    assert last(cut) == End("length", 100, 4)
    assert last(scripted({"max_tokens": 4}, chunks=4)) == End("end", 100, 4)
    assert text(plan(prompt("a b c", max_tokens=2))) == "You said: a "


def test_a_stop_sequence_ends_the_answer() -> None:
    """The earliest one applies, even across chunks, and is not part of the answer."""
    stopped = scripted({"stop_sequences": ("zzz", "cab", "bca")}, chunks=9, text="abc")

    assert text(stopped) == "a"
    assert last(stopped) == End("stop_sequence", 100, 1, stop_sequence="bca")
    assert text(scripted({"stop_sequences": ("zzz",)}, chunks=2, text="abc")) == "abcabc"


def test_a_scripted_stop_reason_is_passed_on() -> None:
    """Its value is not checked."""
    assert last(scripted(stop_reason="pause_turn")) == End("pause_turn", 100, 10)


def test_a_fault_before_the_stream_is_an_error() -> None:
    """It has the script's message or the service's."""
    error = scripted(fault={"before": "ModelNotReadyException"}).error
    custom = scripted(fault={"before": "ThrottlingException", "message": "later"}).error

    assert error is not None
    assert (error.code, error.spec.status) == ("ModelNotReadyException", 429)
    assert custom is not None
    assert custom.message == "later"


def test_a_fault_inside_the_stream_ends_it() -> None:
    """It follows the given number of chunks of text, not counting reasoning."""
    broken = scripted(chunks=9, reasoning=2, fault={"at": 3, "type": "cut"})
    custom = scripted(fault={"at": 0, "type": "aException", "event": True, "message": "m"})
    at_end = scripted(chunks=2, fault={"at": 2, "type": "stall"})

    assert [type(piece) for piece in broken.pieces] == [*[Reasoning] * 2, *[Text] * 3, Fault]
    assert custom.pieces == (Fault("aException", "m", as_event=True),)
    assert [type(piece) for piece in at_end.pieces] == [Text, Text, Fault]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"chunk": 1}', "'chunk' is none of chunks"),
        ('{"chunks": "9"}', "'chunks' has a value of the wrong type"),
        ('{"chunks": true}', "'chunks' has a value of the wrong type"),
        ('{"chunks": -1}', "'chunks' is not between 0 and"),
        (f'{{"chunks": {MAX_CHUNKS + 1}}}', "'chunks' is not between 0 and"),
        ('{"chunks": 1000000, "text": "' + "x" * 101 + '"}', "too long"),
        ('{"rate": NaN}', "'rate' is not between"),
        ('{"text": ""}', "'text' is empty"),
        ('{"fault": {"at": 3}}', "a fault needs"),
        ('{"fault": {"at": 3, "type": "ThrottlingException"}}', "lowerCamel"),
        ('{"fault": {"at": 11, "type": "cut"}}', "after the last of 10 chunks"),
        ('{"fault": {"before": "throttlingException"}}', "'before' is none of Access"),
        ('{"fault": {"when": 3}}', "'when' is none of at"),
    ],
)
def test_an_invalid_script_is_answered_with_the_reason(script: str, reason: str) -> None:
    """As an ordinary answer, so that a person at a terminal can read it."""
    answer = plan(prompt("/script " + script))

    assert text(answer).startswith("Invalid /script: ")
    assert reason in text(answer)
    assert isinstance(last(answer), End)


def test_the_model_yields_the_planned_pieces() -> None:
    """Or raises the planned error."""

    async def pieces(text: str) -> list[Piece]:
        return [piece async for piece in Scripted().answer(prompt(text))]

    assert tuple(asyncio.run(pieces("hello"))) == plan(prompt("hello")).pieces
    with pytest.raises(ServiceError, match="ThrottlingException"):
        asyncio.run(pieces('/script {"fault": {"before": "ThrottlingException"}}'))


def test_the_rate_follows_an_absolute_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first chunk is not delayed, and a slow reader does not delay later ones."""
    now, slept = 100.0, []

    async def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(round(seconds, 6))
        now += seconds

    async def listen() -> None:
        nonlocal now
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "time", lambda: now)
        monkeypatch.setattr(asyncio, "sleep", sleep)
        async for _ in Scripted().answer(prompt('/script {"chunks": 4, "rate": 10}')):
            now += 0.04  # the reader's own time
        monkeypatch.undo()

    asyncio.run(listen())

    assert slept == [0, 0.06, 0.06, 0.06, 0]

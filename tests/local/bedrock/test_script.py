"""What the scripted model makes of an order: no server, and no clock that runs."""

import asyncio
import json
from typing import Any

import pytest

from local.bedrock.pieces import End, Failure, Fault, Piece, Prompt, Reasoning, Text, Turn, Unknown
from local.bedrock.script import MAX_CHUNKS, Plan, Scripted, plan


def prompt(text: str, **changes: Any) -> Prompt:
    settings: dict[str, Any] = {"max_tokens": 1000, "body": "b" * 400, **changes}
    return Prompt(system="", turns=(Turn("user", (text,)),), **settings)


def ordered(limits: dict[str, Any] | None = None, **order: Any) -> Plan:
    return plan(prompt("/script " + json.dumps(order), **(limits or {})))


def words(plan: Plan) -> str:
    return "".join(piece.text for piece in plan.pieces if isinstance(piece, Text))


def last(plan: Plan) -> Piece:
    return plan.pieces[-1]


def test_ordinary_text_comes_back_word_by_word() -> None:
    """Nothing of it is lost, and the end counts the chunks."""
    said = plan(prompt("two  words\nand 漢字 "))

    assert [piece.text for piece in said.pieces if isinstance(piece, Text)] == [
        "You said: ",
        "two  ",
        "words\n",
        "and ",
        "漢字 ",
    ]
    assert last(said) == End("end", input_tokens=100, output_tokens=5)


def test_an_order_says_how_many_chunks_of_what() -> None:
    """And the defaults are ten times `w `, unpaced."""
    assert words(ordered(chunks=3, text="ab")) == "ababab"
    assert words(ordered()) == "w " * 10
    assert ordered().rate == 0
    assert ordered(rate=2.5).rate == 2.5


def test_no_chunks_is_an_answer_too() -> None:
    """It ends at once, having cost a token."""
    assert ordered(chunks=0).pieces == (End("end", 100, 1),)


def test_the_echo_is_the_whole_body() -> None:
    """In several chunks, even when the answer may be but one token long."""
    body = '{"messages": "größer"}' * 40
    echo = ordered({"body": body, "max_tokens": 1, "stop_sequences": ("e",)}, echo=True)

    assert words(echo) == body
    assert len(echo.pieces) > 5
    assert isinstance(last(echo), End)


def test_reasoning_comes_first_and_counts() -> None:
    """Both kinds of chunk are output tokens."""
    thought = ordered(chunks=2, reasoning=3)

    assert [type(piece) for piece in thought.pieces] == [*[Reasoning] * 3, Text, Text, End]
    assert last(thought) == End("end", 100, 5)


def test_unknown_things_stand_between_the_others() -> None:
    """At the start, after the first words and before the end; the words are the same."""
    kinds = [type(piece) for piece in ordered(chunks=3, unknown=True).pieces]

    assert kinds == [Unknown, Text, Unknown, Text, Text, Unknown, End]
    assert isinstance(last(ordered(chunks=0, unknown=True)), End)


def test_max_tokens_cuts_the_answer() -> None:
    """One chunk is one token, thoughts included."""
    cut = ordered({"max_tokens": 4}, chunks=50, reasoning=3)

    assert words(cut) == "w "
    assert last(cut) == End("length", 100, 4)
    assert last(ordered({"max_tokens": 4}, chunks=4)) == End("end", 100, 4)
    assert words(plan(prompt("a b c", max_tokens=2))) == "You said: a "


def test_a_stop_sequence_ends_the_answer() -> None:
    """The earliest one counts, though it lies across chunks, and is not said."""
    stopped = ordered({"stop_sequences": ("zzz", "cab", "bca")}, chunks=9, text="abc")

    assert words(stopped) == "a"
    assert last(stopped) == End("stop_sequence", 100, 1, stop_sequence="bca")
    assert words(ordered({"stop_sequences": ("zzz",)}, chunks=2, text="abc")) == "abcabc"


def test_an_ordered_stop_reason_is_passed_on() -> None:
    """Whatever it is."""
    assert last(ordered(stop_reason="pause_turn")) == End("pause_turn", 100, 10)


def test_a_fault_before_the_stream_is_a_failure() -> None:
    """With its own message or the service's."""
    failure = ordered(fault={"before": "ModelNotReadyException"}).failure
    worded = ordered(fault={"before": "ThrottlingException", "message": "later"}).failure

    assert failure is not None
    assert (failure.code, failure.error.status) == ("ModelNotReadyException", 429)
    assert worded is not None
    assert worded.message == "later"


def test_a_fault_inside_the_stream_takes_its_place() -> None:
    """After that many chunks of text, whatever came before them; and nothing follows."""
    broken = ordered(chunks=9, reasoning=2, fault={"at": 3, "type": "cut"})
    worded = ordered(fault={"at": 0, "type": "aException", "event": True, "message": "m"})
    at_end = ordered(chunks=2, fault={"at": 2, "type": "stall"})

    assert [type(piece) for piece in broken.pieces] == [*[Reasoning] * 2, *[Text] * 3, Fault]
    assert worded.pieces == (Fault("aException", "m", as_event=True),)
    assert [type(piece) for piece in at_end.pieces] == [Text, Text, Fault]


@pytest.mark.parametrize(
    ("order", "why"),
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
def test_a_senseless_order_is_answered_with_the_reason(order: str, why: str) -> None:
    """As an ordinary answer, so that whoever typed it reads it."""
    answer = plan(prompt("/script " + order))

    assert words(answer).startswith("This /script makes no sense: ")
    assert why in words(answer)
    assert isinstance(last(answer), End)


def test_the_model_says_what_is_planned() -> None:
    """Each piece of it, and raises the failure if that is the plan."""

    async def pieces(text: str) -> list[Piece]:
        return [piece async for piece in Scripted().answer(prompt(text))]

    assert tuple(asyncio.run(pieces("hello"))) == plan(prompt("hello")).pieces
    with pytest.raises(Failure, match="ThrottlingException"):
        asyncio.run(pieces('/script {"fault": {"before": "ThrottlingException"}}'))


def test_the_pace_is_kept_by_an_absolute_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first chunk comes at once; a reader that takes its time does not delay the others."""
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

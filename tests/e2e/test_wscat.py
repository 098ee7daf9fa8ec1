"""The real wscat from npm."""

import json

import pytest
from support.e2e_clients import SERVER, script, wscat


def test_text_format_prints_the_answer(stack: str) -> None:
    """Plain text in, plain text out."""
    answer = "You said: hello from wscat"

    assert [answer] == ["".join(wscat(f"{stack}?format=text", ("hello from wscat", answer)))]


def test_events_are_frames_of_the_protocol(stack: str) -> None:
    """Without a format each line is a frame."""
    frames = [json.loads(line) for line in wscat(stack, "hi") if "{" in line]

    assert "start" == frames[0]["type"]
    assert "done" == frames[-1]["type"]
    for frame in frames:
        SERVER.validate(frame)


def test_text_format_prints_in_pieces(stack: str) -> None:
    """An answer that takes two seconds is printed as it streams, with a pause of 0.25 s at most."""
    order = script(chunks=40, rate=20, text="ab")
    pieces = [line for line in wscat(f"{stack}?format=text", (order, "ab" * 40)) if "ab" in line]

    assert "ab" * 40 == "".join(pieces)
    assert len(pieces) >= 2


@pytest.mark.parametrize("bad", ['{"action":"nope"}', "{broken", '{"body":5}'])
def test_text_format_explains_errors(stack: str, bad: str) -> None:
    """In brackets, with the code."""
    expected = "[error invalid_request: "

    assert expected in "".join(wscat(f"{stack}?format=text", (bad, expected)))

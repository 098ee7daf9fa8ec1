"""The real wscat from npm."""

import json

import pytest
from support.e2e_clients import SERVER, endless, wscat


def test_text_format_prints_the_answer(stack: str) -> None:
    """Plain text in, plain text out."""
    answer = "You said: hello from wscat"

    assert answer == "".join(wscat(f"{stack}?format=text", ("hello from wscat", answer)))


def test_events_are_frames_of_the_protocol(stack: str) -> None:
    """Without a format each line is a frame."""
    frames = [json.loads(line) for line in wscat(stack, "hi") if "{" in line]

    assert "start" == frames[0]["type"]
    assert "done" == frames[-1]["type"]
    for frame in frames:
        SERVER.validate(frame)


def test_text_format_prints_in_pieces(stack: str) -> None:
    """An answer is printed as it streams: it can be stopped after its first words."""
    stop = ('{"action":"stop"}', "[stopped]")
    *pieces, end = wscat(f"{stack}?format=text", (endless("ab"), "abab"), stop)

    assert "abab" in "".join(pieces)
    assert "[stopped]" == end


@pytest.mark.parametrize("bad", ['{"action":"nope"}', "{broken", '{"body":5}'])
def test_text_format_explains_errors(stack: str, bad: str) -> None:
    """In brackets, with the code."""
    expected = "[error invalid_request: "

    assert expected in "".join(wscat(f"{stack}?format=text", (bad, expected)))

"""The real wscat from npm, as people use it in a terminal."""

import json

import pytest
from support.e2e_clients import SERVER, script, wscat


def test_plain_words(stack: str) -> None:
    """Somebody types words and reads words."""
    lines = wscat(f"{stack}?format=text", "hello from wscat")

    assert "You said: hello from wscat" in "".join(lines)


def test_events(stack: str) -> None:
    """Without a format each line is a frame of the protocol."""
    frames = [json.loads(line) for line in wscat(stack, "hi") if "{" in line]

    assert "start" == frames[0]["type"]
    assert "done" == frames[-1]["type"]
    for frame in frames:
        SERVER.validate(frame)


def test_the_text_grows_on_the_screen(stack: str) -> None:
    """A paced answer appears piece by piece."""
    lines = wscat(f"{stack}?format=text", script(chunks=20, rate=40, text="ab"))
    pieces = [line for line in lines if "ab" in line]

    assert "ab" * 20 == "".join(pieces)
    assert len(pieces) >= 3  # half a second of text, at a pause of a quarter


@pytest.mark.parametrize("bad", ['{"action":"nope"}', "{broken", '{"body":5}'])
def test_mistakes_are_told(stack: str, bad: str) -> None:
    """A mistake is told in words that a person understands."""
    lines = "\n".join(wscat(f"{stack}?format=text", bad, wait=1))

    assert "[error invalid_request: " in lines

import json

import pytest

import log


def test_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A line is one JSON object that Lambda can file by its level and time."""
    log.write("INFO", "turn", posts=3, code=None)

    out = capsys.readouterr().out
    line = json.loads(out)
    assert 1 == out.count("\n")
    assert {"level": "INFO", "event": "turn", "posts": 3, "code": None} == {
        name: line[name] for name in ("level", "event", "posts", "code")
    }
    assert line["timestamp"].endswith("+00:00")


def test_digest_tells_apart_and_gives_nothing_away() -> None:
    """A session id stands in the log as something that opens nothing."""
    assert log.digest("a") != log.digest("b")
    assert log.digest("a") == log.digest("a")
    assert "secret" not in log.digest("secret")
    assert 12 == len(log.digest("secret"))

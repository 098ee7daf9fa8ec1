import json
import threading
from contextvars import copy_context

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


def test_what_it_is_about(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ids come before the fields, the newest ones alone, and reach a thread with the context."""
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3f;Parent=53995c3f;Sampled=1")
    log.about(event_id="e0", connection_id="c0")
    log.about(event_id="e1")
    context = copy_context()
    log.about()
    thread = threading.Thread(target=context.run, args=(log.write, "INFO", "x"), kwargs={"n": 1})
    thread.start()
    thread.join()
    log.write("INFO", "y")
    x, y = [list(json.loads(line).items()) for line in capsys.readouterr().out.splitlines()]

    trace = ("xray_trace_id", "1-5759e988-bd862e3f")
    assert [("event", "x"), ("event_id", "e1"), trace, ("n", 1)] == x[2:]
    assert [("event", "y"), trace] == y[2:]


@pytest.mark.parametrize("header", ["", "Sampled=0", "Root"])
def test_no_trace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    """Where Lambda names none, or in another way, the line is written without it."""
    monkeypatch.setenv("_X_AMZN_TRACE_ID", header)
    log.write("INFO", "x")

    line = json.loads(capsys.readouterr().out)
    assert "xray_trace_id" not in line


def test_digest_tells_apart_and_gives_nothing_away() -> None:
    """A session id stands in the log as something that opens nothing."""
    assert log.digest("a") != log.digest("b")
    assert log.digest("a") == log.digest("a")
    assert "secret" not in log.digest("secret")
    assert 12 == len(log.digest("secret"))

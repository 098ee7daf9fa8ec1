import json
import threading
from contextvars import copy_context

import pytest

import log


def test_an_event_is_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With the level and timestamp that Lambda's JSON log format reads."""
    log.write("INFO", "turn", posts=3, code=None)

    out = capsys.readouterr().out
    line = json.loads(out)
    assert 1 == out.count("\n")
    assert {"level": "INFO", "event": "turn", "posts": 3, "code": None} == {
        name: line[name] for name in ("level", "event", "posts", "code")
    }
    assert line["timestamp"].endswith("+00:00")


def test_ids_precede_the_fields_and_follow_the_context(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the latest ids are written; a thread that runs in the context has them too."""
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
def test_a_line_without_a_trace_id_is_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    """Lambda may set no trace header, or one of another form."""
    monkeypatch.setenv("_X_AMZN_TRACE_ID", header)
    log.write("INFO", "x")

    line = json.loads(capsys.readouterr().out)
    assert "xray_trace_id" not in line


def test_a_digest_identifies_a_secret_without_revealing_it() -> None:
    """The log has the digest of a session id, which gives no access."""
    assert log.digest("a") != log.digest("b")
    assert log.digest("a") == log.digest("a")
    assert "secret" not in log.digest("secret")
    assert 12 == len(log.digest("secret"))

"""Covers local/recordings.py."""

import json
import stat
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from deploy.url import presigned
from local import recordings
from local.auth.entry import user
from local.aws.moto_server import REGION
from local.gateway.api import Caller, Stage, connect_event, disconnect_event
from local.recordings import FolderError, Recordings, connection_of, name_of, redacted

STAGE = Stage("127.0.0.1:3001")
CALLER = Caller("L0SM9cOFvHcCIhw=", 1_795_348_799_500, "127.0.0.1", "wscat")
NOW = 1_795_348_800_042  # 2026-11-22T12:00:00.042Z
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


def handshake(target: str = "/", **headers: str) -> dict[str, Any]:
    sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return dict(connect_event(STAGE, CALLER, target, sent, NOW).content)


def test_an_event_is_kept_as_it_was(tmp_path: Path) -> None:
    """One file for each event: the very JSON that the function got, for its owner alone."""
    folder = tmp_path / "new" / "recorded"
    event = handshake("/?format=text&session_id=mine", Host="127.0.0.1:3001")

    Recordings(folder, print)(event)

    (path,) = folder.glob("*.json")
    assert event == json.loads(path.read_text())
    assert f"{name_of(event)}.json" == path.name
    assert (0o700, 0o600) == tuple(stat.S_IMODE(each.stat().st_mode) for each in (folder, path))


def test_names_tell_when_and_what() -> None:
    """UTC to the millisecond, the route, the request id; nothing that a shell would read."""
    event = handshake()
    event["requestContext"]["requestId"] = "KAy8rGm0joEF-_g="

    assert "20261122T120000042-connect-KAy8rGm0joEF-_g" == name_of(event)


def test_git_keeps_none_of_it(tmp_path: Path) -> None:
    """The folder says so itself, wherever it is."""
    Recordings(tmp_path / "recorded", print)

    assert "*" in (tmp_path / "recorded" / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize(
    ("event", "secrets"),
    [
        (handshake(f"/?token={TOKEN}&format=text"), [TOKEN]),
        (handshake(f"/?TOKEN={TOKEN}"), [TOKEN]),
        (handshake(Sec_WebSocket_Protocol=f"chat.v1, bearer.{TOKEN}"), [TOKEN]),
        (handshake(sec_websocket_protocol=f"Bearer.{TOKEN},chat.v1"), [TOKEN]),
        (handshake(Authorization=f"Bearer {TOKEN}"), [TOKEN]),
        (handshake(Cookie="sid=4711"), ["4711"]),
        (handshake(X_Amz_Security_Token="FwoGZXIvYXdzEA"), ["FwoGZXIvYXdzEA"]),
    ],
)
def test_what_opens_a_door_is_not_written(event: dict[str, Any], secrets: list[str]) -> None:
    """Tokens, signatures and cookies, in each place where the event has them."""
    written = json.dumps(redacted(event))

    assert all(secret in json.dumps(event) for secret in secrets)
    assert not any(secret in written for secret in secrets)
    assert "redacted" in written


def test_a_signature_is_not_written() -> None:
    """Of a presigned URL neither whose it is nor what it is worth is left; the rest is."""
    url = urlsplit(presigned("ws://127.0.0.1:3001", user("alice").credentials, REGION, {}, 60))
    event = handshake(f"/?{url.query}&format=text")
    asked = event["queryStringParameters"]

    kept = redacted(event)["queryStringParameters"]

    assert {name for name in asked if asked[name] != kept[name]} == {
        "X-Amz-Credential",
        "X-Amz-Signature",
    }
    assert "text" == kept["format"]


def test_the_rest_is_as_it_was() -> None:
    """Redaction changes nothing else, and not the event itself."""
    event = handshake("/?format=text", Sec_WebSocket_Protocol="chat.v1", User_Agent="wscat")
    gone = dict(disconnect_event(STAGE, CALLER, 1000, "", NOW).content)

    assert event == redacted(event)
    assert gone == redacted(gone)


def test_a_bounded_number_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of earlier runs count; the end is said once."""
    monkeypatch.setattr(recordings, "MOST_FILES", 3)
    folder, said = tmp_path / "recorded", list[str]()
    Recordings(folder, said.append)(handshake())
    again = Recordings(folder, said.append)

    for _ in range(5):
        again(handshake())

    assert 3 == len(list(folder.glob("*.json")))
    assert [f"no longer recording: {folder} holds 3 events"] == said


def test_a_disk_that_fails_is_said_once(tmp_path: Path) -> None:
    """And the gateway goes on."""
    folder, said = tmp_path / "recorded", list[str]()
    keep = Recordings(folder, said.append)
    (folder / ".gitignore").unlink()
    folder.rmdir()

    keep(handshake())
    keep(handshake())

    assert 1 == len(said)
    assert said[0].startswith("no longer recording: ")


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """The samples' own, say: nothing is written into it."""
    (tmp_path / "chat.json").write_text("{}")

    with pytest.raises(FolderError, match="holds something else"):
        Recordings(tmp_path, print)

    assert ["chat.json"] == [path.name for path in tmp_path.iterdir()]


def test_a_folder_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    """Here, because a file has its name."""
    (tmp_path / "file").touch()

    with pytest.raises(FolderError, match=r"file cannot be recorded into: "):
        Recordings(tmp_path / "file", print)


def test_a_connections_own_handshake_is_found(tmp_path: Path) -> None:
    """By its id, among those of others; None where nobody kept it."""
    folder = tmp_path / "recorded"
    keep = Recordings(folder, print)
    for connection_id in ("one=", "two="):
        event = handshake()
        event["requestContext"]["connectionId"] = connection_id
        keep(event)

    found = connection_of(folder / "x.json", "two=")

    assert found is not None
    assert "two=" == json.loads(found.read_text())["requestContext"]["connectionId"]
    assert None is connection_of(folder / "x.json", "three=")

"""Covers local/recordings.py."""

import json
import stat
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from deploy.url import presigned
from local import recordings
from local.auth.modes import user
from local.aws.account import REGION
from local.gateway.api import ConnectionInfo, Stage, connect_event, disconnect_event
from local.recordings import FolderError, Recordings, file_name, find_connect_event, redacted

STAGE = Stage("127.0.0.1:3001")
INFO = ConnectionInfo("L0SM9cOFvHcCIhw=", 1_795_348_799_500, "127.0.0.1", "wscat")
NOW = 1_795_348_800_042  # 2026-11-22T12:00:00.042Z
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"


def handshake(target: str = "/", **headers: str) -> dict[str, Any]:
    sent = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return dict(connect_event(STAGE, INFO, target, sent, NOW).content)


def test_an_event_is_written_unchanged(tmp_path: Path) -> None:
    """One file for each event: the JSON that the function received, readable by the owner only."""
    folder = tmp_path / "new" / "recorded"
    event = handshake("/?format=text&session_id=mine", Host="127.0.0.1:3001")

    Recordings(folder, print)(event)

    (path,) = folder.glob("*.json")
    assert event == json.loads(path.read_text())
    assert f"{file_name(event)}.json" == path.name
    assert (0o700, 0o600) == tuple(stat.S_IMODE(each.stat().st_mode) for each in (folder, path))


def test_a_file_name_has_time_route_and_request_id() -> None:
    """UTC with milliseconds, and no character that is special in a shell."""
    event = handshake()
    event["requestContext"]["requestId"] = "KAy8rGm0joEF-_g="

    assert "20261122T120000042-connect-KAy8rGm0joEF-_g" == file_name(event)


def test_git_ignores_the_folder(tmp_path: Path) -> None:
    """By a .gitignore of its own, wherever the folder is."""
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
def test_credentials_are_redacted(event: dict[str, Any], secrets: list[str]) -> None:
    """Tokens, signatures and cookies, wherever the event has them."""
    written = json.dumps(redacted(event))

    assert all(secret in json.dumps(event) for secret in secrets)
    assert not any(secret in written for secret in secrets)
    assert "redacted" in written


def test_a_presigned_urls_credential_and_signature_are_redacted() -> None:
    """The other parameters are unchanged."""
    url = urlsplit(presigned("ws://127.0.0.1:3001", user("alice").credentials, REGION, {}, 60))
    event = handshake(f"/?{url.query}&format=text")
    original = event["queryStringParameters"]

    copy = redacted(event)["queryStringParameters"]

    assert {name for name in original if original[name] != copy[name]} == {
        "X-Amz-Credential",
        "X-Amz-Signature",
    }
    assert "text" == copy["format"]


def test_redaction_changes_nothing_else() -> None:
    """And not the event itself."""
    event = handshake("/?format=text", Sec_WebSocket_Protocol="chat.v1", User_Agent="wscat")
    disconnect = dict(disconnect_event(STAGE, INFO, 1000, "", NOW).content)

    assert event == redacted(event)
    assert disconnect == redacted(disconnect)


def test_the_number_of_recordings_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recordings of earlier runs count; reaching the limit is reported once."""
    monkeypatch.setattr(recordings, "MAX_FILES", 3)
    folder, messages = tmp_path / "recorded", list[str]()
    Recordings(folder, messages.append)(handshake())
    again = Recordings(folder, messages.append)

    for _ in range(5):
        again(handshake())

    assert 3 == len(list(folder.glob("*.json")))
    assert [f"recording stopped: {folder} holds 3 events"] == messages


def test_a_failing_disk_is_reported_once(tmp_path: Path) -> None:
    """And recording stops, without an exception."""
    folder, messages = tmp_path / "recorded", list[str]()
    record = Recordings(folder, messages.append)
    (folder / ".gitignore").unlink()
    folder.rmdir()

    record(handshake())
    record(handshake())

    assert 1 == len(messages)
    assert messages[0].startswith("recording stopped: ")


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    """Nothing is written into it."""
    (tmp_path / "chat.json").write_text("{}")

    with pytest.raises(FolderError, match="contains other files"):
        Recordings(tmp_path, print)

    assert ["chat.json"] == [path.name for path in tmp_path.iterdir()]


def test_a_folder_that_cannot_be_created_is_reported_in_one_sentence(tmp_path: Path) -> None:
    """Here, because a file has its name."""
    (tmp_path / "file").touch()

    with pytest.raises(FolderError, match=r"file cannot be used for recordings: "):
        Recordings(tmp_path / "file", print)


def test_the_connect_event_of_a_connection_is_found(tmp_path: Path) -> None:
    """By its id, among those of other connections; None if it was not recorded."""
    folder = tmp_path / "recorded"
    record = Recordings(folder, print)
    for connection_id in ("one=", "two="):
        event = handshake()
        event["requestContext"]["connectionId"] = connection_id
        record(event)

    found = find_connect_event(folder / "x.json", "two=")

    assert found is not None
    assert "two=" == json.loads(found.read_text())["requestContext"]["connectionId"]
    assert None is find_connect_event(folder / "x.json", "three=")

"""Covers src/prompt_object.py: the system prompt in an object, as S3 serves it."""

import datetime as dt
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from botocore.config import Config
from support.closed_port import closed_port

import clients
import prompt_object
from services import build_services
from settings import SettingsError

PATH = "/system-prompt.txt?versionId=v1"
SIGNING = {"Authorization", "X-Amz-Content-SHA256", "X-Amz-Date", "X-Amz-Security-Token"}
DENIED = (
    b"<Error><Code>AccessDenied</Code><Message>arn:aws:iam::123456789012:role/x</Message></Error>"
)


@dataclass
class Bucket:
    """Versions of objects, over HTTP. `refusals` are the answers to the next requests."""

    url: str
    versions: dict[str, bytes] = field(default_factory=dict)
    refusals: list[tuple[int, bytes]] = field(default_factory=list)
    requests: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    lost: int = 0  # bytes of each body that are announced, and not sent

    def read(self, path: str = PATH) -> str:
        return prompt_object.read(self.url + path, clients.session(), pauses.append)


pauses: list[float] = []


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.requests.append((self.path, dict(self.headers)))
            status, body = 200, served.versions.get(self.path)
            if served.refusals:
                status, body = served.refusals.pop(0)
            elif body is None:
                status, body = 404, b"<Error><Code>NoSuchVersion</Code></Error>"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) + served.lost))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Prints nothing."""

    pauses.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Bucket(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield served
    server.shutdown()
    server.server_close()


def test_each_version_has_its_own_prompt(bucket: Bucket) -> None:
    """An alias that is rolled back gets the prompt of its version."""
    bucket.versions = {
        "/system-prompt.txt?versionId=v1": b"Answer in rhymes.",
        "/system-prompt.txt?versionId=v2": "Grüße höflich.\n".encode(),
    }

    assert "Answer in rhymes." == bucket.read()
    assert "Grüße höflich." == bucket.read("/system-prompt.txt?versionId=v2")


def test_a_prompt_of_64_kb_is_read_as_a_whole(bucket: Bucket) -> None:
    bucket.versions = {PATH: b"x" * 65536}

    assert "x" * 65536 == bucket.read()


def test_the_function_starts_with_the_prompt_of_the_object(bucket: Bucket) -> None:
    """It replaces SYSTEM_PROMPT; the object is read once."""
    bucket.versions = {PATH: b"Answer in rhymes."}

    app = build_services({"TABLE_NAME": "chat", "SYSTEM_PROMPT_OBJECT": bucket.url + PATH})

    assert "Answer in rhymes." == app.settings.system_prompt
    assert [PATH] == [path for path, _ in bucket.requests]


def test_the_function_does_not_start_without_its_prompt(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompt_object, "PAUSES", ())

    with pytest.raises(
        SettingsError, match=r"^SYSTEM_PROMPT_OBJECT cannot be read: 404 NoSuchVersion$"
    ):
        build_services({"TABLE_NAME": "chat", "SYSTEM_PROMPT_OBJECT": bucket.url + PATH})


def test_the_request_is_signed_as_boto3_signs_it(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the same time the signature is the same, so the same parts are signed."""
    now = dt.datetime(2026, 11, 29, tzinfo=dt.UTC)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: now)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    bucket.versions = {"/prompts/system-prompt.txt?versionId=v1": b"Answer in rhymes."}
    # A checksum of the object in the response would be requested by another signed header.
    config = Config(response_checksum_validation="when_required")
    # A session of its own: the default one may have found other credentials before.
    s3 = boto3.Session().client("s3", endpoint_url=bucket.url, config=config)

    s3.get_object(Bucket="prompts", Key="system-prompt.txt", VersionId="v1")
    bucket.read("/prompts/system-prompt.txt?versionId=v1")

    theirs, ours = (
        {name: value for name, value in headers.items() if name in SIGNING}
        for _, headers in bucket.requests
    )
    assert SIGNING == theirs.keys()
    assert theirs == ours


@pytest.mark.parametrize("status", [403, 500, 503])
def test_a_refusal_is_repeated_before_it_counts(bucket: Bucket, status: int) -> None:
    """Permissions take some seconds to apply, and S3 may be slow."""
    bucket.versions = {PATH: b"Answer in rhymes."}
    bucket.refusals = [(status, DENIED), (status, b"")]

    assert "Answer in rhymes." == bucket.read()
    assert [0.5, 1.0] == pauses


def test_a_refusal_that_stays_is_reported_with_its_code_alone(bucket: Bucket) -> None:
    """S3's message may contain the role's ARN."""
    bucket.refusals = [(403, DENIED)] * 3

    with pytest.raises(SettingsError) as refused:
        bucket.read()

    assert "SYSTEM_PROMPT_OBJECT cannot be read: 403 AccessDenied" == str(refused.value)
    assert [] == bucket.refusals


@pytest.mark.parametrize(
    ("content", "lost", "reason"),
    [
        (b"Answer", 3, "the response was cut"),
        (b" \n", 0, "the object is empty"),
        (b"\xff", 0, "'utf-8' codec"),
    ],
)
def test_what_is_no_whole_text_is_refused(
    bucket: Bucket, content: bytes, lost: int, reason: str
) -> None:
    bucket.versions, bucket.lost = {PATH: content}, lost

    with pytest.raises(
        SettingsError, match=re.escape(f"SYSTEM_PROMPT_OBJECT cannot be read: {reason}")
    ):
        bucket.read()


def test_an_endpoint_that_cannot_be_reached_is_reported() -> None:
    pauses.clear()
    with (
        closed_port() as port,
        pytest.raises(SettingsError, match="SYSTEM_PROMPT_OBJECT cannot be read: Could not"),
    ):
        prompt_object.read(f"http://127.0.0.1:{port}{PATH}", clients.session(), pauses.append)

    assert [0.5, 1.0] == pauses


def test_missing_credentials_are_reported(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(SettingsError, match="cannot be read: Unable to locate credentials"):
        bucket.read()

"""The real Terraform and AWS provider, applied to a local control plane, with real clients."""

import base64
import hashlib
from pathlib import Path

import pytest
from support.deployments import ARCHITECTURE, FIRST, MARK, USER, Site, ann, signed
from support.e2e_clients import Frame, UntilShown, script, text, wscat
from support.zips import isolated, lambda_python, unpacked
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from deploy import smoke
from local.auth.sigv4 import User
from local.aws.account import REGION

pytestmark = pytest.mark.timeout(300)  # the first test waits for the deployment


def turns(frames: list[Frame]) -> list[Frame]:
    return [turn for frame in frames for turn in frame.get("turns", ())]


def test_a_second_plan_finds_nothing_to_change(site: Site) -> None:
    """What was applied is read back unchanged."""
    assert [] == site.second_plan


def test_the_zip_on_disk_is_the_code_that_was_deployed(site: Site) -> None:
    """The version that the API invokes has the hash and architecture of the zip that runs here."""
    site.serving(FIRST)
    digest = base64.b64encode(hashlib.sha256(site.zip.read_bytes()).digest()).decode()
    function = site.read().function

    assert (digest, ARCHITECTURE) == (function.code_sha256, function.architecture)


STARTING = """
import json, sys
sys.path.insert(0, sys.argv[1])
import handler, boto3, msgspec
print(json.dumps([boto3.__file__, msgspec.__file__]))
"""


def test_the_deployed_zip_starts_without_anything_installed(site: Site, tmp_path: Path) -> None:
    """In Lambda's Python, from the zip and the standard library alone."""
    folder = unpacked(site.zip, tmp_path)
    variables = {"TABLE_NAME": "chat", "AWS_DEFAULT_REGION": REGION}
    files = isolated(lambda_python(), STARTING, folder, None, **variables)

    assert all(file.startswith(str(tmp_path)) for file in files)


def test_wscat_chats_with_the_deployment(site: Site) -> None:
    """The real wscat, with a signed URL: pong, answer, history, clear. `wscat` awaits the pong."""
    url = signed(site.serving(FIRST), {"format": "text"})
    lines = "\n".join(
        wscat(
            url,
            ("hello from wscat", "wscat"),
            # The turn is saved after its text was sent.
            UntilShown('{"action":"history"}', "model: You said: hello from wscat", "[done]"),
            ('{"action":"clear"}', "[cleared 1]"),
        )
    )

    assert lines.endswith("you: hello from wscat\nmodel: You said: hello from wscat\n[cleared 1]")


def test_the_history_has_the_turn_until_it_is_cleared(site: Site) -> None:
    """A turn, frame by frame."""
    with ann(site.serving(FIRST)) as person:
        answer = text(person.say("hello"))
        history = person.say({"action": "history"})
        cleared = person.say({"action": "clear"})[-1]["cleared"]
        after = person.say({"action": "history"})

    assert "You said: hello" == answer
    assert ["hello"] == [turn["user"] for turn in turns(history)]
    assert 1 == cleared
    assert [] == turns(after)


@pytest.mark.parametrize(
    "user",
    [None, User(arn=USER.arn, access_key=USER.access_key, secret_key="guessed")],
    ids=["no signature", "a wrong key"],
)
def test_an_unauthenticated_client_is_refused(site: Site, user: User | None) -> None:
    """By default: without a signature, or with an invalid one, the handshake ends with 403."""
    url = site.serving(FIRST)
    with pytest.raises(InvalidStatus) as refused, connect(signed(url, user=user) if user else url):
        pass

    assert 403 == refused.value.response.status_code


def test_the_smoke_test_passes(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make smoke`, with a signed URL."""
    url = site.serving(FIRST)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", USER.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", USER.secret_key)

    assert 0 == smoke.main(["--url", url, "--auth", "iam", "--region", REGION])
    assert "it works" in capsys.readouterr().out


def test_the_deployed_settings_are_used(site: Site) -> None:
    """The request to the model contains the deployed system prompt."""
    with ann(site.serving(FIRST)) as person:
        body = text(person.say(script(echo=True)))

    assert "You are a helpful assistant." in body


def test_the_deployed_template_builds_the_events(site: Site) -> None:
    """Messages have what it adds; $connect and $disconnect are proxy integrations."""
    url = site.serving(FIRST)
    site.wait()  # the events of earlier tests have arrived
    with ann(url) as person:
        person.say("hello")
    site.wait()
    kinds = {
        event["requestContext"]["eventType"]: {name: event.get(name) for name in MARK}
        for event in site.events[-3:]
    }

    assert {"CONNECT": {"template": None}, "MESSAGE": MARK, "DISCONNECT": {"template": None}} == (
        kinds
    )

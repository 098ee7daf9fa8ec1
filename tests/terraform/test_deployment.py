"""The real Terraform and AWS provider, applied to a local control plane, and spoken to."""

import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.deployments import FIRST, USER, Site, ann, signed
from support.e2e_clients import Frame, script, text, wscat
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from deploy import smoke
from local.auth.sigv4 import User
from local.aws.account import REGION

pytestmark = pytest.mark.timeout(300)  # the first to come waits for the deployment


def turns(frames: list[Frame]) -> list[Frame]:
    return [turn for frame in frames for turn in frame.get("turns", ())]


def test_a_second_plan_finds_nothing_to_change(site: Site) -> None:
    """What was applied is what is read back: nothing drifts, of moto's making or of ours."""
    assert [] == site.second_plan


def test_the_zip_on_disk_is_the_code_that_was_deployed(site: Site) -> None:
    """The version that the API invokes has the hash of the zip that the workers run."""
    site.serving(FIRST)
    digest = base64.b64encode(hashlib.sha256(site.zip.read_bytes()).digest()).decode()

    assert digest == site.read().function.code_sha256


def test_the_zip_needs_nothing_else(site: Site, tmp_path: Path) -> None:
    """The handler starts from the zip and the standard library alone, boto3 being the zip's own."""
    with zipfile.ZipFile(site.zip) as packed:
        packed.extractall(tmp_path)
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import handler, boto3; "
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program + "print(boto3.__file__)"],
        env={"TABLE_NAME": "chat", "AWS_DEFAULT_REGION": REGION},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "" == done.stderr
    assert done.stdout.startswith(str(tmp_path))


def test_a_conversation_over_wscat(site: Site) -> None:
    """The real wscat, with a signed URL, talks to the API as deployed: pong, words, memory."""
    url = signed(site.serving(FIRST), {"format": "text"})
    lines = "\n".join(
        wscat(
            url,
            '{"action":"ping"}',
            "hello from wscat",
            '{"action":"history"}',
            '{"action":"clear"}',
            wait=1,
        )
    )

    assert lines.startswith('{"type": "pong"}\n')
    assert lines.endswith("you: hello from wscat\nmodel: You said: hello from wscat\n[cleared 1]")


def test_a_conversation_frame_by_frame(site: Site) -> None:
    """A turn, what the history has of it, and nothing once it is cleared."""
    with ann(site.serving(FIRST)) as person:
        said = text(person.say("hello"))
        history = person.say({"action": "history"})
        cleared = person.say({"action": "clear"})[-1]["cleared"]
        after = person.say({"action": "history"})

    assert "You said: hello" == said
    assert ["hello"] == [turn["user"] for turn in turns(history)]
    assert 1 == cleared
    assert [] == turns(after)


@pytest.mark.parametrize(
    "who",
    [None, User(arn=USER.arn, access_key=USER.access_key, secret_key="guessed")],
    ids=["nobody", "a guessed key"],
)
def test_a_stranger_does_not_connect(site: Site, who: User | None) -> None:
    """Closed by default: without a signature, or with a wrong one, the handshake ends with 403."""
    url = site.serving(FIRST)
    with pytest.raises(InvalidStatus) as refused, connect(signed(url, user=who) if who else url):
        pass

    assert 403 == refused.value.response.status_code


def test_smoke(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make smoke` finds that all of it works."""
    url = site.serving(FIRST)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", USER.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", USER.secret_key)

    assert 0 == smoke.main(["--url", url, "--auth", "iam", "--region", REGION])
    assert "it works" in capsys.readouterr().out


def test_the_deployed_settings_are_the_functions(site: Site) -> None:
    """The model is asked with the system prompt that was deployed."""
    with ann(site.serving(FIRST)) as person:
        body = text(person.say(script(echo=True)))

    assert "You are a helpful assistant." in body

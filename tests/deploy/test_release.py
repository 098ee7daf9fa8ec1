"""Covers deploy/release.py: both architectures' zips, their digests, and the upgrade notes."""

import base64
import hashlib
import subprocess
from pathlib import Path

import pytest

from deploy import release
from deploy.wheels import WheelsError

CHANGELOG = "# Changelog\n\nForm.\n\n## [Unreleased]\n\n- New.\n\n## [0.1.0]\n\n- Old.\n"


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """A release of zips that only have their names in them."""

    def build(name: str, out: Path, architecture: str) -> tuple[Path, str]:
        out.mkdir(parents=True, exist_ok=True)
        path = out / f"{name}.zip"
        path.write_text(f"{name} for {architecture}")
        return path, "no bytecode, zlib 1"

    monkeypatch.setattr(release, "build", build)
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "of-before.zip").touch()
    return release.release(tmp_path / "release")


def test_both_functions_are_released_for_both_architectures(built: list[Path]) -> None:
    """And nothing of a release before."""
    assert [
        *("SHA256SUMS", "UPGRADING.md", "authorizer-arm64.zip", "authorizer-x86_64.zip"),
        *("lambda-arm64.zip", "lambda-x86_64.zip"),
    ] == [path.name for path in built]
    assert "lambda for x86_64" == built[-1].read_text()


def test_the_digests_are_those_that_sha256sum_checks(built: list[Path]) -> None:
    """All four."""
    done = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"],
        cwd=built[0].parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert 4 == done.stdout.count(": OK")


def test_the_notes_have_terraforms_digest_and_the_changes(built: list[Path]) -> None:
    """Of each zip; and the newest section of the changelog."""
    digest = base64.b64encode(hashlib.sha256(built[-1].read_bytes()).digest()).decode()
    text = built[1].read_text()

    assert f"| `lambda-x86_64.zip` | `{digest}` |" in text
    assert "## [Unreleased]" in text
    assert "# bedrock-stream-chat " in text


def test_the_changes_are_those_of_the_newest_section() -> None:
    """Without those before it."""
    assert "## [Unreleased]\n\n- New." == release.latest(CHANGELOG)
    assert "## [0.1.0]\n\n- Old." == release.latest(
        CHANGELOG.replace("[Unreleased]\n\n- New.\n\n## ", "")
    )
    assert "" == release.latest("# Changelog\n")


def test_a_release_without_bytecode_is_said(
    built: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """A user who deploys it elsewhere cannot see it."""
    release.release(built[0].parent)

    assert 4 == capsys.readouterr().out.count("cold starts take longer")


def test_a_release_that_cannot_be_built_leaves_the_one_before(
    built: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And fails with a sentence."""

    def refuse(*_: object) -> None:
        raise WheelsError("no index")

    monkeypatch.setattr(release, "build", refuse)
    monkeypatch.setattr(release, "FOLDER", built[0].parent)
    with pytest.raises(WheelsError):
        release.release(built[0].parent)
    with pytest.raises(SystemExit):
        release.main()

    assert all(path.is_file() for path in built)

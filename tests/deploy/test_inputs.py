"""Covers deploy/inputs.py and `package.configured`: a zip that is current is not built again."""

from pathlib import Path

import pytest

from deploy import inputs, package


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "handler.py").write_text("a = 1\n")
    return tmp_path / "src"


def test_the_digest_is_that_of_everything_that_decides(source: Path) -> None:
    """Of the sources, of what is built from them, and of the other choices."""
    first = inputs.digest("lambda", source, "arm64", "zlib 1")
    others = {
        inputs.digest("authorizer", source, "arm64", "zlib 1"),
        inputs.digest("lambda", source, "x86_64", "zlib 1"),
        inputs.digest("lambda", source, "arm64", "zlib 2"),
    }

    assert first == inputs.digest("lambda", source, "arm64", "zlib 1")
    (source / "handler.py").write_text("a = 2\n")
    others.add(inputs.digest("lambda", source, "arm64", "zlib 1"))
    assert 4 == len(others - {first})


def test_the_pinned_wheels_and_the_build_itself_count(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new version of a library is a new zip."""
    names = ("requirements-lambda.txt", "package.py", "stand_ins/six.py")
    (tmp_path / "stand_ins").mkdir()
    for name in names:
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(inputs, "FOLDER", tmp_path)
    found = {inputs.digest("lambda", source)}
    for name in names:
        (tmp_path / name).write_text("2")
        found.add(inputs.digest("lambda", source))

    assert 4 == len(found)


def test_a_zip_is_current_as_long_as_it_is_unchanged(tmp_path: Path) -> None:
    """Also one that was replaced by hand is not."""
    path = tmp_path / "lambda.zip"
    assert not inputs.is_current(path, "a")
    path.write_text("zip")
    assert not inputs.is_current(path, "a")

    inputs.note(path, "a")
    assert inputs.is_current(path, "a")
    assert not inputs.is_current(path, "b")
    path.write_text("another")
    assert not inputs.is_current(path, "a")


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the zips that are built; a package index would be needed for each."""
    built: list[str] = []

    def build(name: str, out: Path, _architecture: str) -> tuple[Path, str]:
        built.append(name)
        path = out / f"{name}.zip"
        path.write_text(f"build {len(built)}")
        return path, "made"

    monkeypatch.setattr(package, "build", build)
    monkeypatch.setattr(package, "interpreter", lambda: None)
    monkeypatch.setattr(package, "variables", lambda *_: {"architecture": "arm64", "auth": "iam"})
    return built


def configured(folder: Path, *, keep: bool = False) -> list[str]:
    return [how for _, how in package.configured([], folder, keep=keep)]


def test_a_current_zip_is_not_built_again(builds: list[str], tmp_path: Path) -> None:
    """So a plan needs no package index."""
    assert ["made"] == configured(tmp_path)
    assert ["up to date"] == configured(tmp_path)
    (tmp_path / "lambda.zip").write_text("another")
    assert ["made"] == configured(tmp_path)
    assert 2 == len(builds)


def test_to_destroy_any_zip_suffices(builds: list[str], tmp_path: Path) -> None:
    """Terraform reads it, and deploys nothing; without one it is built."""
    assert ["made"] == configured(tmp_path, keep=True)
    (tmp_path / "lambda.zip").write_text("another")
    assert ["kept"] == configured(tmp_path, keep=True)
    assert 1 == len(builds)

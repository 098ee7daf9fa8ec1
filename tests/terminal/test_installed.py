"""Covers what `pip install '.[chat]'` installs: the client alone."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from support.e2e_clients import PATIENCE, ROOT


def run(*command: str, folder: Path, **variables: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def test_only_the_client_is_installed(tmp_path: Path) -> None:
    """Its package and its command run without the rest of the repository."""
    source, installed = tmp_path / "source", tmp_path / "installed"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "bedrock_chat", source / "bedrock_chat")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps")
    offline = ("--no-build-isolation", "--no-index", "--quiet", "--target", str(installed))
    run(*pip, *offline, str(source), folder=tmp_path)
    modules = [f"bedrock_chat.{path.stem}" for path in (ROOT / "bedrock_chat").glob("[a-z]*.py")]
    imports = f"import {', '.join(modules)}; print(bedrock_chat.__file__)"

    location = run(sys.executable, "-c", imports, folder=tmp_path, PYTHONPATH=str(installed))
    assert str(installed) in location
    usage = run(
        str(installed / "bin" / "bedrock-chat"),
        "--help",
        folder=tmp_path,
        PYTHONPATH=str(installed),
    )
    assert usage.startswith("usage: bedrock-chat")
    assert {"bedrock_chat", "bin"} == {
        path.name for path in installed.iterdir() if path.suffix != ".dist-info"
    }


def names_in(node: ast.AST) -> list[str]:
    """Return the modules that a node imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [str(node.module)] if isinstance(node, ast.ImportFrom) else []


def test_all_dependencies_are_declared() -> None:
    """Each imported library is a dependency of the project or of its extra `chat`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["chat"]]
    names = {each.split(">")[0].replace("-py", "").replace("-", "_") for each in declared}
    imported = {
        name.split(".")[0]
        for path in (ROOT / "bedrock_chat").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in names_in(node)
    }
    assert imported - set(sys.stdlib_module_names) - {"bedrock_chat"} <= names

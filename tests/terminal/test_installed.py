"""Covers what `pip install '.[chat]'` puts on a person's machine: the client, alone."""

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


def test_it_is_installed_alone(tmp_path: Path) -> None:
    """The package and the command; they run where nothing else of this repository is."""
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

    said = run(sys.executable, "-c", imports, folder=tmp_path, PYTHONPATH=str(installed))
    assert str(installed) in said
    told = run(
        str(installed / "bin" / "bedrock-chat"),
        "--help",
        folder=tmp_path,
        PYTHONPATH=str(installed),
    )
    assert told.startswith("usage: bedrock-chat")
    assert {"bedrock_chat", "bin"} == {
        path.name for path in installed.iterdir() if path.suffix != ".dist-info"
    }


def names_in(node: ast.AST) -> list[str]:
    """The modules that this imports, if it is an import."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [str(node.module)] if isinstance(node, ast.ImportFrom) else []


def test_what_it_needs_is_said() -> None:
    """Each library that it imports is among what the extra `chat` or the project asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["chat"]]
    names = {each.split(">")[0].replace("-py", "").replace("-", "_") for each in asked}
    imported = {
        name.split(".")[0]
        for path in (ROOT / "bedrock_chat").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in names_in(node)
    }
    assert imported - set(sys.stdlib_module_names) - {"bedrock_chat"} <= names

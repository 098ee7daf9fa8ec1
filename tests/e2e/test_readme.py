"""Every command in the README is run, and what it shows is what comes."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.e2e_clients import PATIENCE, ROOT, SERVER, person, running, wscat

README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line and not line.startswith("#")
]


def run(command: str) -> str:
    done = subprocess.run(
        command,
        shell=True,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=6 * PATIENCE,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def serves(command: str, tmp_path: Path) -> None:
    """Starts what the README says, on a port of its own, and talks to it."""
    model = re.search(r"MODEL=(\S+)", command)
    stack = running(tmp_path / "log", model=model[1] if model else "smollm2")
    with stack as (url, _), person(url) as one:
        assert "done" == one.say("hello")[-1]["type"]


def records(command: str, _: Path) -> None:
    """This is tried there, with what was kept handled again; what can be held here is that."""
    tried = (ROOT / "tests" / "e2e" / "test_record.py").read_text()
    assert "RECORD=" in command
    assert 'running(log, AUTH="jwt", RECORD=' in tried


def chats(command: str, _: Path) -> None:
    """Tried in a real terminal by tests/terminal; what can be held here is that it is a target."""
    assert re.search(rf"^{command.removeprefix('make ')}: ", MAKEFILE, re.MULTILINE)


def talks(command: str, tmp_path: Path) -> None:
    """The wscat line is the very one that `make run` prints."""
    with running(tmp_path / "log") as (url, _):
        printed = (tmp_path / "log").read_text().replace(url, "ws://127.0.0.1:3001")
        assert f"connect: {command}\n" in printed
        assert "You said: hello" in "".join(wscat(f"{url}?format=text", "hello"))


def is_what_ci_runs(command: str, _: Path) -> None:
    """These run this very test, or run beside it: what can be held is that CI runs them."""
    script = (ROOT / ".ci" / "run").read_text()
    target = command.removeprefix("make ")
    assert re.search(rf"for target in [a-z ]*\b{target}\b", script), script
    assert 'make "$target"' in script


def invokes(command: str, _: Path) -> None:
    """The sample's frames are printed."""
    assert '"type":"done"' in run(command)


def explains(command: str, _: Path) -> None:
    """`make` alone lists every target with a sentence."""
    listed = run(command)
    for target in ("run", "test", "check", "invoke", "wscat", "package", "deploy", "destroy"):
        assert re.search(rf"^  {target} +\S", listed, re.MULTILINE), listed


def deploys(command: str, _: Path) -> None:
    """These are tried there, with a test for each target; what can be held here is that."""
    target, *settings = command.removeprefix("make ").split()
    tried = (ROOT / "tests" / "deploy" / "test_make.py").read_text()
    assert f"def test_{target}(" in tried
    assert all(f'"{target}", "{setting}"' in tried for setting in settings)


def measures(command: str, _: Path) -> None:
    """The bench runs, as far as needs no peers; what it counts is what the README promises."""
    assert "python -m bench" in run(f"{command} --dry-run")
    rows = json.loads(run(f"{sys.executable} -m bench --rows turns --quick"))
    for counted in ("turn 1,000: DynamoDB calls", "turn 1,000: bytes read from DynamoDB"):
        assert [True] == [row["met"] for row in rows if row["name"] == counted]


HOW: dict[str, Callable[[str, Path], None]] = {
    "make run": serves,
    "make chat": chats,
    "make run MODEL=scripted": serves,
    "make run MODEL=scripted RECORD=events/recorded": records,
    "npx wscat -c 'ws://127.0.0.1:3001?format=text'": talks,
    "make test": is_what_ci_runs,
    "make check": is_what_ci_runs,
    "make invoke EVENT=events/chat.json": invokes,
    "make": explains,
    "make bench": measures,
    "make plan": deploys,
    "make deploy": deploys,
    "make smoke": deploys,
    "make url": deploys,
    "make wscat DEPLOYED=1": deploys,
    "make destroy": deploys,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command: str, tmp_path: Path) -> None:
    """A command that stands in the README works; one that nobody tries may not stand there."""
    HOW[command](command, tmp_path)


def test_there_are_commands() -> None:
    """The parser finds what it should."""
    assert set(COMMANDS) == set(HOW)


def shape(frames: list[str]) -> str:
    """Frames without ids, counts and times, and without where the deltas were divided."""
    text = "\n".join(frames)
    text = re.sub(r'"(request_id|session_id)":"[^"]*"', r'"\1":"…"', text)
    text = re.sub(r'"(seq|first_token|total|[a-z_]+_tokens)":\d+', r'"\1":0', text)
    return re.sub(r'"}\n{"type":"delta","request_id":"…","seq":0,"text":"', "", text)


def test_the_session_shown(tmp_path: Path) -> None:
    """The wscat session in the README is what wscat shows, but for ids, counts and times."""
    (shown,) = re.findall(r"```console\n\$ npx wscat -c \S+\n(.*?)```", README, re.DOTALL)
    typed = [line.removeprefix("> ") for line in shown.splitlines() if line.startswith("> ")]
    expected = [line.removeprefix("< ") for line in shown.splitlines() if line.startswith("< ")]
    with running(tmp_path / "log") as (url, _):
        lines = wscat(url, *typed)
    seen = [line for line in lines if line]

    for line in seen:
        SERVER.validate(json.loads(line))
    assert shape(expected) == shape(seen)

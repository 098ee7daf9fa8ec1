"""Every command of the README works, and its session is what wscat prints."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.e2e_clients import PATIENCE, ROOT, SERVER, client, wscat

README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line and not line.startswith("#")
]


@dataclass(frozen=True)
class Served:
    """The stack that the tests of this folder share, and what `make run` has printed."""

    url: str
    log: Path
    model: str = "scripted"


def run(command: str) -> str:
    done = subprocess.run(
        command,
        shell=True,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def check_run(command: str, _: Served) -> None:
    """tests/e2e/test_run.py runs this and asks a question; only its presence is checked here."""
    test = (ROOT / "tests" / "e2e" / "test_run.py").read_text()
    assert "make run" == command
    assert 'running(tmp_path / "log", model="smollm2")' in test


def check_run_scripted(command: str, served: Served) -> None:
    """The shared stack is started by this command, on a free port; it answers a question."""
    assert f"make run MODEL={served.model}" == command
    with client(served.url) as one:
        assert "done" == one.say("hello")[-1]["type"]


def check_record(command: str, _: Served) -> None:
    """tests/e2e/test_record.py runs this; only its presence there is checked here."""
    test = (ROOT / "tests" / "e2e" / "test_record.py").read_text()
    assert "RECORD=" in command
    assert 'running(log, AUTH="jwt", RECORD=' in test


def check_chat(command: str, _: Served) -> None:
    """tests/terminal runs the client in a terminal; here only the target is checked."""
    assert re.search(rf"^{command.removeprefix('make ')}: ", MAKEFILE, re.MULTILINE)


def check_wscat(command: str, served: Served) -> None:
    """The wscat command is the one that `make run` prints, and it works."""
    printed = served.log.read_text().replace(served.url, "ws://127.0.0.1:3001")
    assert f"connect: {command}\n" in printed
    answer = "You said: hello"
    assert answer == "".join(wscat(f"{served.url}?format=text", ("hello", answer)))


def check_ci_target(command: str, _: Served) -> None:
    """These run this test, or run beside it, so only that CI runs them is checked."""
    script = (ROOT / ".ci" / "run").read_text()
    target = command.removeprefix("make ")
    assert re.search(rf"for target in [a-z ]*\b{target}\b", script), script
    assert 'make "$target"' in script


def check_invoke(command: str, _: Served) -> None:
    """The frames of the sample event are printed."""
    assert '"type":"done"' in run(command)


def check_help(command: str, _: Served) -> None:
    """`make` without a target lists every target with a description."""
    listed = run(command)
    for target in ("run", "test", "check", "invoke", "wscat", "package", "deploy", "destroy"):
        assert re.search(rf"^  {target} +\S", listed, re.MULTILINE), listed


def check_deployment_target(command: str, _: Served) -> None:
    """tests/deploy/test_make.py has a test for each of these targets; only that is checked."""
    target, *settings = command.removeprefix("make ").split()
    tests = (ROOT / "tests" / "deploy" / "test_make.py").read_text()
    assert f'"{target}"' in tests
    assert all(f'"{target}", "{setting}"' in tests for setting in settings)


def check_bench(command: str, _: Served) -> None:
    """The rows without peers are measured, and meet the goals that the README states."""
    assert "python -m bench" in run(f"{command} --dry-run")
    rows = json.loads(run(f"{sys.executable} -m bench --rows turns --quick"))
    for counted in ("turn 1,000: DynamoDB calls", "turn 1,000: bytes read from DynamoDB"):
        assert [True] == [row["met"] for row in rows if row["name"] == counted]


CHECKS: dict[str, Callable[[str, Served], None]] = {
    "make run": check_run,
    "make chat": check_chat,
    "make run MODEL=scripted": check_run_scripted,
    "make run MODEL=scripted RECORD=events/recorded": check_record,
    "npx wscat -c 'ws://127.0.0.1:3001?format=text'": check_wscat,
    "make test": check_ci_target,
    "make check": check_ci_target,
    "make invoke EVENT=events/chat.json": check_invoke,
    "make": check_help,
    "make bench": check_bench,
    "make plan": check_deployment_target,
    "make deploy": check_deployment_target,
    "make smoke": check_deployment_target,
    "make url": check_deployment_target,
    "make wscat DEPLOYED=1": check_deployment_target,
    "make destroy": check_deployment_target,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_of_the_readme_works(stack: str, stack_log: Path, command: str) -> None:
    """A command without a check fails."""
    CHECKS[command](command, Served(stack, stack_log))


def test_every_check_has_a_command() -> None:
    """The parser finds all commands, and every check belongs to one."""
    assert set(COMMANDS) == set(CHECKS)


def shape(frames: list[str]) -> str:
    """Returns frames without ids, counts, times and the boundaries of deltas."""
    text = "\n".join(frames)
    text = re.sub(r'"(request_id|session_id)":"[^"]*"', r'"\1":"…"', text)
    text = re.sub(r'"(seq|first_token|total|[a-z_]+_tokens)":\d+', r'"\1":0', text)
    return re.sub(r'"}\n{"type":"delta","request_id":"…","seq":0,"text":"', "", text)


def test_the_session_shown_is_what_wscat_prints(stack: str) -> None:
    """Except for ids, counts and times."""
    (shown,) = re.findall(r"```console\n\$ npx wscat -c \S+\n(.*?)```", README, re.DOTALL)
    typed = [line.removeprefix("> ") for line in shown.splitlines() if line.startswith("> ")]
    expected = [line.removeprefix("< ") for line in shown.splitlines() if line.startswith("< ")]
    seen = [line for line in wscat(stack, *typed) if line]

    for line in seen:
        SERVER.validate(json.loads(line))
    assert shape(expected) == shape(seen)

"""Covers local/exit_with_parent.py."""

import signal
import subprocess
import sys
from pathlib import Path

from support.pids import PATIENCE

from local.processes import module_command


def start(folder: Path, source: str) -> "subprocess.Popen[str]":
    (folder / "work.py").write_text(source)
    return subprocess.Popen(
        module_command(sys.executable, "work", "--option", "value"),
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_the_module_runs_as_with_python_m(tmp_path: Path) -> None:
    """Its arguments, its folder in sys.path, an empty standard input, and its exit status."""
    source = (
        "import sys; print(__name__, sys.argv[1:], sys.path[0], repr(sys.stdin.read()))\nexit(5)"
    )
    with start(tmp_path, source) as child:
        assert child.stdout is not None
        output = child.stdout.read()

        assert child.wait(PATIENCE) == 5
        assert output == f"__main__ ['--option', 'value'] {tmp_path} ''\n"


def test_the_module_and_its_children_are_killed_when_the_pipe_closes(tmp_path: Path) -> None:
    """Even if the module is busy."""
    source = (
        "import subprocess, sys, time\n"
        "subprocess.Popen(['sleep', '60'])\n"  # it holds our pipe open for as long as it lives
        "print('busy', flush=True)\n"
        "while True: pass\n"
    )
    with start(tmp_path, source) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "busy\n"
        child.stdin.close()

        assert child.wait(PATIENCE) == -signal.SIGKILL
        assert child.stdout.read() == ""

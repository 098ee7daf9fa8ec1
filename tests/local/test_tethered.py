"""Covers local/tethered.py."""

import signal
import subprocess
import sys
from pathlib import Path

from local.processes import tethered


def start(folder: Path, source: str) -> "subprocess.Popen[str]":
    (folder / "work.py").write_text(source)
    return subprocess.Popen(
        tethered(sys.executable, "work", "--option", "value"),
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_the_module_runs_as_if_by_python_m(tmp_path: Path) -> None:
    """Its arguments, its folder in sys.path, an empty standard input, and its exit status."""
    source = (
        "import sys; print(__name__, sys.argv[1:], sys.path[0], repr(sys.stdin.read()))\nexit(5)"
    )
    with start(tmp_path, source) as child:
        assert child.stdout is not None
        said = child.stdout.read()

        assert child.wait(10) == 5
        assert said == f"__main__ ['--option', 'value'] {tmp_path} ''\n"


def test_it_dies_with_its_parent_and_takes_its_children_along(tmp_path: Path) -> None:
    """When the pipe ends, a busy module is killed, and what it started is killed with it."""
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

        assert child.wait(10) == -signal.SIGKILL
        assert child.stdout.read() == ""

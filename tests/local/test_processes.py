"""Covers local/processes.py."""

import asyncio
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from support.gateways import eventually
from support.pids import PATIENCE

from local.processes import LINE_LIMIT_BYTES, lines, stop

ROOT = Path(__file__).resolve().parents[2]


def group_runs(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def read(data: bytes) -> list[str]:
    async def main() -> list[str]:
        stream = asyncio.StreamReader()
        stream.feed_data(data)
        stream.feed_eof()
        return [line async for line in lines(stream)]

    return asyncio.run(main())


def test_lines_are_complete_and_decoded() -> None:
    """Empty lines count, the last one needs no end, and invalid bytes are replaced."""
    assert read(b"a\n\nb\xff\nlast") == ["a", "", "b\ufffd", "last"]
    assert read(b"") == []


def test_a_very_long_line_is_passed_on_in_pieces() -> None:
    """Nothing is lost, and memory is bounded."""
    pieces = read(b"x" * (2 * LINE_LIMIT_BYTES + 9) + b"\nnext")

    assert len(pieces) > 2
    assert "".join(pieces) == "x" * (2 * LINE_LIMIT_BYTES + 9) + "next"


def test_stop_sends_sigterm_first_and_ends_the_process_group() -> None:
    """A child that obeys ends by itself; its own children are killed."""
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        "ignoring = [sys.executable, '-c', 'import signal, time;"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)']\n"
        "print(subprocess.Popen(ignoring, stdout=subprocess.PIPE).stdout.readline(), flush=True)\n"
        "time.sleep(60)\n"
    )

    async def main() -> None:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=PIPE, start_new_session=True
        )
        assert child.stdout is not None
        await child.stdout.readline()
        await stop(child, grace=PATIENCE)

        assert child.returncode == 3
        await eventually(lambda: not group_runs(child.pid))

    asyncio.run(main())


def test_stop_kills_a_child_that_ignores_sigterm() -> None:
    """After the grace period it sends SIGKILL."""
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(1, flush=True); time.sleep(60)"
    )

    async def main() -> None:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=PIPE, start_new_session=True
        )
        assert child.stdout is not None
        await child.stdout.readline()
        await stop(child, grace=0.2)

        assert child.returncode == -signal.SIGKILL

    asyncio.run(main())


def test_on_end_of_input_ignores_input() -> None:
    """The callback is called only when standard input closes."""
    code = (
        "import os, time; from local.processes import on_end_of_input\n"
        "read = os.read\n"
        "def printing(*arguments):\n"
        "    data = read(*arguments)\n"
        "    print(data, flush=True)\n"
        "    return data\n"
        "os.read = printing\n"
        "on_end_of_input(lambda: os._exit(4)); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"hello")
        child.stdin.flush()
        assert child.stdout.readline() == b"b'hello'\n"
        child.stdin.close()

        assert child.stdout.readline() == b"b''\n"
        assert child.wait(PATIENCE) == 4

"""Covers local/processes.py."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from asyncio.subprocess import PIPE
from pathlib import Path

from local.processes import LINE_LIMIT_BYTES, lines, stop

ROOT = Path(__file__).resolve().parents[2]


def read(data: bytes) -> list[str]:
    async def main() -> list[str]:
        stream = asyncio.StreamReader()
        stream.feed_data(data)
        stream.feed_eof()
        return [line async for line in lines(stream)]

    return asyncio.run(main())


def test_lines_come_whole() -> None:
    """Empty lines count, the last one needs no end, odd bytes do no harm."""
    assert read(b"a\n\nb\xff\nlast") == ["a", "", "b\ufffd", "last"]
    assert read(b"") == []


def test_a_line_without_end_is_passed_on_in_pieces() -> None:
    """Nothing is lost and memory is bounded, however much is written before a line ends."""
    pieces = read(b"x" * (2 * LINE_LIMIT_BYTES + 9) + b"\nnext")

    assert len(pieces) > 2
    assert "".join(pieces) == "x" * (2 * LINE_LIMIT_BYTES + 9) + "next"


def test_stop_asks_first_and_takes_the_whole_group() -> None:
    """A child that obeys SIGTERM ends by itself; what it had started goes too."""
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        "deaf = [sys.executable, '-c', 'import signal, time;"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)']\n"
        "print(subprocess.Popen(deaf, stdout=subprocess.PIPE).stdout.readline(), flush=True)\n"
        "time.sleep(60)\n"
    )

    async def main() -> None:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=PIPE, start_new_session=True
        )
        assert child.stdout is not None
        await child.stdout.readline()
        await stop(child, grace=10)

        assert child.returncode == 3
        for _ in range(500):
            try:
                os.killpg(child.pid, 0)
            except ProcessLookupError:
                break
            await asyncio.sleep(0.01)
        else:
            raise AssertionError("the group lives on")

    asyncio.run(main())


def test_stop_kills_who_does_not_obey() -> None:
    """After the grace period it is SIGKILL."""
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


def test_on_end_of_input_waits_for_the_end() -> None:
    """Input is no end; the end is."""
    code = (
        "import os, time; from local.processes import on_end_of_input\n"
        "on_end_of_input(lambda: os._exit(4)); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, cwd=ROOT)
    assert child.stdin is not None
    child.stdin.write(b"hello")
    child.stdin.flush()
    time.sleep(0.5)
    assert child.poll() is None
    child.stdin.close()

    assert child.wait(10) == 4

"""Many conversations at once for some minutes, with faults: `python -m bench.soak`.

200 clients (`--conversations`) hold a connection each to the local stack; each sends one question
after the other. At most `--answers` of them are answered at any moment, because each needs a
function worker of some 50 MB. Bedrock fails now and then, before its answer and inside it; posts
are refused (429, 500, and 410 though the client is there); clients drop their connection,
reconnect and resume, and stop answers.

Every frame is checked while it arrives: no gap in `seq`, one end for each request, nothing that
differs when it is sent again. In the end each conversation's history must have every turn, once, in
order, with exactly the text that was received. What is wrong is printed, and the exit status is 1.

The memory of each part is sampled (`ps`). The clients run in a process of their own, so that the
supervisor's memory is the gateway's and the Lambda runtime's. Everything is on loopback.

Does not judge memory or speed: it prints them. Workers die in the fault matrix, not here.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import secrets
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from local.gateway.connections import GONE, INTERNAL, LIMIT_EXCEEDED, ApiError
from local.stack import ROOT, Stack

ARRIVAL_SECONDS = 2.0
PAUSE_SECONDS = 2.0  # at the most, before a question
SILENCE_SECONDS = 20.0  # after so long a client asks what became of its request
SAMPLE_SECONDS = 5.0
# How often a post is refused, and how.
REFUSALS = ((LIMIT_EXCEEDED, 0.015), (INTERNAL, 0.005), (GONE, 0.001))
# The message where moto is too slow for the function (9 s): this machine is overloaded. Then there
# may be a turn or not, and the session may be held as long as a lease.
UNREACHABLE, UNSURE = "The conversation store cannot be reached.", "unsure"
MOST_TURNS = 100  # of one conversation: as many as `history` returns

Frame = dict[str, Any]


class WrongError(Exception):
    """Something was lost, doubled, out of order, or sent that should not be."""


@dataclass(frozen=True, slots=True)
class Load:
    """The options of the command: how many clients, for how long, and how fast they are."""

    conversations: int
    answers: int
    seconds: float
    seed: int
    speed: float


# -- the questions -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Order:
    """A question, the whole answer to it, and whether the stream is to fail before its end."""

    question: str
    whole: str
    fails: bool = False


def order(rng: random.Random, speed: float = 1.0) -> Order:
    """A question like any other, or one whose answer goes wrong."""
    kind = rng.choices(("words", "paced", "refused", "broken"), (3, 4, 1, 2))[0]
    if kind == "words":
        question = " ".join(secrets.token_hex(3) for _ in range(rng.randrange(1, 60)))
        return Order(question, f"You said: {question}")
    chunks, rate = rng.randrange(4, 16), rng.choice((1, 2, 4)) * speed
    script: dict[str, Any] = {"chunks": chunks, "rate": rate, "text": f"{secrets.token_hex(3)} "}
    if kind == "refused":
        error = rng.choice(("ThrottlingException", "ServiceUnavailableException"))
        script["fault"] = {"before": error, "times": 1}
    if kind == "broken":
        how = rng.choice(("cut", "truncate", "bad_crc", "modelStreamErrorException"))
        script["fault"] = {"at": rng.randrange(1, chunks), "type": how}
    return Order(f"/script {json.dumps(script)}", script["text"] * chunks, kind == "broken")


# -- a client --------------------------------------------------------------------------------------


@dataclass(slots=True)
class ReceivedFrames:
    """The frames of one request so far."""

    request_id: str
    frames: list[Frame] = field(default_factory=list)

    def ended(self) -> bool:
        """Whether its terminal frame came."""
        return bool(self.frames) and self.frames[-1]["type"] in ("done", "error")

    @property
    def text(self) -> str:
        """The text received."""
        return "".join(frame["text"] for frame in self.frames if frame["type"] == "delta")

    def take(self, frame: Frame) -> bool:
        """The next frame, or one that is sent again: whether it is new."""
        seq = frame["seq"]
        if seq < len(self.frames):
            if self.frames[seq] != frame:
                raise WrongError(f"sent differently: {frame}, before {self.frames[seq]}")
            return False
        if seq > len(self.frames) or self.ended():
            raise WrongError(f"{len(self.frames)} frames, and then {frame}")
        self.frames.append(frame)
        return True


class SimulatedClient:
    """One conversation: `run_conversation` until the time is over, then compare."""

    def __init__(
        self,
        url: str,
        seed: int,
        tally: Counter[str],
        answers: asyncio.Semaphore,
        speed: float = 1.0,
    ) -> None:
        self._url = f"{url}?session_id={secrets.token_hex(8)}"
        self._rng = random.Random(seed)  # noqa: S311 - a choice of faults, no secret
        self._tally = tally
        self._answers = answers
        self._speed = speed
        self._turns: list[tuple[str, str, str]] = []
        self._past: dict[str, ReceivedFrames] = {}
        self._stops = 0
        self._socket: ClientConnection | None = None

    async def run_conversation(self, until: float) -> None:
        """Asks one question after the other, and one at least."""
        await asyncio.sleep(self._rng.uniform(0, ARRIVAL_SECONDS) / self._speed)
        await self._connect()
        while not self._turns or (time.monotonic() < until and len(self._turns) < MOST_TURNS):
            await asyncio.sleep(self._rng.uniform(0, PAUSE_SECONDS) / self._speed)
            async with self._answers:
                await self._ask(order(self._rng, self._speed))
        await self._compare()
        await self._hang_up()

    async def _ask(self, asked: Order) -> None:
        received = ReceivedFrames(secrets.token_hex(8))
        question = {"action": "chat", "request_id": received.request_id, "body": asked.question}
        await self._send(question)
        whim = self._rng.choices(("listen", "drop", "stop"), (6, 3, 1))[0]
        at = self._rng.randrange(1, 6)
        while not received.ended():
            frame = await self._receive(received, question)
            if frame is None or not received.take(frame):
                continue
            if received.ended() or len(received.frames) != at:
                continue
            if whim == "drop":
                await self._hang_up()
                await self._resume(received)
                self._tally["drops"] += 1
            elif whim == "stop":
                await self._send({"action": "stop", "request_id": received.request_id})
                self._stops += 1
        self._past[received.request_id] = received
        self._turns.append((asked.question, received.text, self._judge(asked, received)))

    def _judge(self, asked: Order, received: ReceivedFrames) -> str:
        """The state that its turn must have."""
        end = received.frames[-1]
        self._tally["frames"] += len(received.frames)
        self._tally[f"ended: {end.get('stop_reason') or end['code']}"] += 1
        whole = asked.whole == received.text
        match end.get("stop_reason"), end.get("code"):
            case "end_turn", None if whole and not asked.fails:
                return "complete"
            case "stopped", None if asked.whole.startswith(received.text):
                return "stopped"
            case None, "model_error" if asked.fails and asked.whole.startswith(received.text):
                return "error"
            case None, "internal" if end.get("message") == UNREACHABLE:
                return UNSURE
            case None, "busy" if any(state == UNSURE for _, _, state in self._turns):
                return UNSURE
        raise WrongError(f"{asked} was answered {received.text!r} and {end}")

    async def _receive(self, received: ReceivedFrames, question: Frame) -> Frame | None:
        """The next frame of this request; None where something else came, or nothing."""
        try:
            if self._socket is None:
                raise WrongError("not connected")
            frame: Frame = json.loads(await asyncio.wait_for(self._socket.recv(), SILENCE_SECONDS))
        except (TimeoutError, ConnectionClosed):
            self._tally["silences"] += 1
            await self._resume(received)
            return None
        if "request_id" not in frame:
            raise WrongError(f"API Gateway sent {frame}")
        if frame["request_id"] != received.request_id:
            self._overheard(frame)
            return None
        if frame.get("code") == "invalid_request" and "please send it" in frame["message"]:
            self._tally["sent again"] += 1  # its event was dropped, or is still in the queue
            await self._send(question)
        elif frame.get("code") == "duplicate":  # it was in the queue
            await self._resume(received)
        else:
            return frame
        return None

    def _overheard(self, frame: Frame) -> None:
        """A frame of another request: sent again, or the failure of a stop or a resume."""
        if frame["request_id"] in self._past:
            if self._past[frame["request_id"]].take(frame):
                raise WrongError(f"after the end: {frame}")
        elif frame.get("retryable"):
            self._tally["resumes that failed"] += 1  # the silence that follows asks again
        elif frame.get("message") == "There is nothing to stop." and self._stops:
            self._stops -= 1
        else:
            raise WrongError(f"no request for {frame}")

    async def _resume(self, received: ReceivedFrames) -> None:
        self._tally["resumes"] += 1
        wish = {"request_id": received.request_id, "from_seq": len(received.frames)}
        await self._send({"action": "resume", **wish})

    async def _compare(self) -> None:
        """History has every turn, once, in order, with the text that was received."""
        kept = await self._history()
        while kept is None:
            await asyncio.sleep(1)
            kept = await self._history()
        for number, expected_turn in enumerate(self._turns):
            there = kept[0] if kept else None
            if expected_turn[2] != UNSURE and expected_turn != there:
                raise WrongError(
                    f"turn {number} was received as {expected_turn}, and history has {there}"
                )
            if there and there[0] == expected_turn[0]:
                kept = kept[1:]
        if kept:
            raise WrongError(f"history has more than was received: {kept}")
        self._tally["turns"] += len(self._turns)
        self._tally["conversations that agree"] += 1

    async def _history(self) -> list[tuple[str, str, str]] | None:
        """Question, answer and state of every turn; None where the memory could not be reached."""
        received = ReceivedFrames(secrets.token_hex(8))
        question = {"action": "history", "limit": MOST_TURNS, "request_id": received.request_id}
        await self._send(question)
        while not received.ended():
            frame = await self._receive(received, question)
            if frame:
                received.take(frame)
        if received.frames[-1]["type"] == "error":
            return None
        turns: dict[int, tuple[str, str, str]] = {}
        for turn in (turn for frame in received.frames[:-1] for turn in frame["turns"]):
            user, assistant, _ = turns.get(turn["turn"], ("", "", ""))
            turns[turn["turn"]] = user + turn["user"], assistant + turn["assistant"], turn["state"]
        return [turns[number] for number in sorted(turns)]

    # -- the wire

    async def _send(self, frame: Frame) -> None:
        while True:
            if self._socket is None:
                await self._connect()
            with contextlib.suppress(ConnectionClosed):
                if self._socket is not None:
                    await self._socket.send(json.dumps(frame))
                    return
            self._socket = None

    async def _connect(self) -> None:
        while self._socket is None:
            try:
                self._socket = await connect(self._url, max_size=None, open_timeout=60)
            except (InvalidStatus, TimeoutError):  # every worker was busy
                self._tally["connects refused"] += 1
                await asyncio.sleep(1)

    async def _hang_up(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.transport.abort()


async def simulate_clients(url: str, load: Load) -> int:
    """Everybody at once, over connections of their own. Prints the tally as JSON."""
    tally: Counter[str] = Counter()
    gate = asyncio.Semaphore(load.answers)
    until = time.monotonic() + load.seconds
    conversations_running = [
        SimulatedClient(url, load.seed + n, tally, gate, load.speed).run_conversation(until)
        for n in range(load.conversations)
    ]
    results = await asyncio.gather(*conversations_running, return_exceptions=True)
    wrong = [repr(result) for result in results if isinstance(result, BaseException)]
    print(json.dumps({"tally": dict(sorted(tally.items())), "wrong": wrong}))  # noqa: T201 - to the parent
    return 1 if wrong else 0


# -- memory ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Memory:
    """Samples of each part's resident memory in MB, with the minute that they were taken at."""

    samples: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def sample(self) -> None:
        """One sample of every part; of the workers, the mean."""
        listed = subprocess.run(
            ("ps", "-A", "-o", "pid=,ppid=,rss=,args="),  # noqa: S607 - where it is differs
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        parts: dict[str, list[float]] = {}
        for line in listed.splitlines():
            pid, parent, kilobytes, command = line.split(None, 3)
            if (part := _part(int(pid), int(parent), command)) is not None:
                parts.setdefault(part, []).append(int(kilobytes) / 1024)
        minute = (time.monotonic() - self.began) / 60
        for part, sizes in parts.items():
            self.samples.setdefault(part, []).append((minute, statistics.fmean(sizes)))

    def report(self) -> list[str]:
        """First and last sample, and the slope over the second half: what came after warming up."""
        lines = []
        for part, samples in sorted(self.samples.items()):
            later = samples[len(samples) // 2 :]
            slope = 0.0
            if len(later) > 2:
                slope = statistics.linear_regression(*zip(*later, strict=True)).slope
            first, last = samples[0][1], samples[-1][1]
            lines.append(f"  {part:20} {first:7.1f} MB  {last:7.1f} MB  {slope:+6.2f} MB/min")
        return lines


def _part(pid: int, parent: int, command: str) -> str | None:
    if pid == os.getpid():
        return "gateway, runtime"
    if parent != os.getpid():
        return None
    names = {"awslambdaric": "worker (mean)", "local.aws": "moto", "local.bedrock": "bedrock"}
    return next((name for word, name in names.items() if word in command), None)


# -- the whole -------------------------------------------------------------------------------------


def refusing(rng: random.Random, refused: Counter[str]) -> Callable[[str], ApiError | None]:
    """Refuses a post now and then."""

    def fault(_connection_id: str) -> ApiError | None:
        draw = rng.random()
        for error, share in REFUSALS:
            if draw < share:
                refused[f"posts refused: {error.status}"] += 1
                return error
            draw -= share
        return None

    return fault


async def soak(load: Load, out: Callable[[str], object]) -> int:
    """Runs the stack and the clients; prints the results. 0: nothing was wrong."""
    workers = load.answers + max(
        3, load.answers // 4
    )  # to connect, stop and resume while all answers run
    out(f"{load.conversations} conversations for {load.seconds:.0f} s, ")
    out(f"at most {load.answers} answers at once, {workers} workers, seed {load.seed}\n")
    problems: Counter[str] = Counter()

    def log(line: str) -> None:
        with contextlib.suppress(ValueError, AttributeError):
            entry = json.loads(line)
            if entry.get("level") == "ERROR":
                problems[f"{entry['event']} {entry.get('code')} {entry.get('cause')}"] += 1

    began = time.monotonic()
    async with Stack(concurrency=workers, warm=workers, say=lambda _: None, log=log) as stack:
        out(f"warm after {time.monotonic() - began:.0f} s\n")
        refused: Counter[str] = Counter()
        chance = random.Random(load.seed)  # noqa: S311 - a choice of faults, no secret
        stack.gateway.connections.post_faults = refusing(chance, refused)
        memory = Memory()
        command = ["-m", "bench.soak", "--clients", stack.url]
        for name, value in asdict(load).items():
            command += [f"--{name}", str(value)]
        child = await asyncio.create_subprocess_exec(
            sys.executable, *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        output = asyncio.ensure_future(child.communicate())
        while not output.done():
            await asyncio.to_thread(memory.sample)
            await asyncio.wait({output}, timeout=SAMPLE_SECONDS)
        results = json.loads(output.result()[0])
    for name, count in (results["tally"] | refused | problems).items():
        out(f"  {name:40} {count:7}\n")
    out("memory: first, last, slope over the second half\n")
    out("".join(f"{line}\n" for line in memory.report()))
    out("".join(f"WRONG {wrong}\n" for wrong in results["wrong"]) or "nothing was wrong\n")
    return 1 if results["wrong"] else 0


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--conversations", type=int, default=200)
    parser.add_argument("--answers", type=int, default=24, help="how many at once, at the most")
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))  # noqa: S311 - as above
    parser.add_argument(
        "--speed", type=float, default=1.0, help="how many times faster people and models are"
    )
    parser.add_argument("--clients", metavar="URL", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    load = Load(asked.conversations, asked.answers, asked.seconds, asked.seed, asked.speed)
    if asked.clients:
        return asyncio.run(simulate_clients(asked.clients, load))
    return asyncio.run(soak(load, sys.stdout.write))


if __name__ == "__main__":
    sys.exit(main())
